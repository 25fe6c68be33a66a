"""How a session was started, for ``run.json``: its command, the time, the commit and the prompts."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reasoning_probe.results.outcome import BASELINE

if TYPE_CHECKING:
    from reasoning_probe.results.record import InvocationRecord
    from reasoning_probe.results.run import Run

COMMIT_VARIABLES = ("GITHUB_SHA", "CI_COMMIT_SHA", "CIRCLE_SHA1", "BUILD_SOURCEVERSION", "BITBUCKET_COMMIT")
"""Variables in which CI systems name the commit."""
_PATIENCE_S = 5


def invocation(config: pytest.Config, run: Run) -> InvocationRecord:
    """Return the record of the session of *config*, whose outcomes are *run*'s."""
    started = datetime.now(timezone.utc) - timedelta(seconds=run.summary["timing"].get("total_s") or 0.0)
    return {
        "command": shlex.join(["pytest", *map(str, config.invocation_params.args)]),
        "started": started.isoformat(timespec="seconds"),
        "commit": commit(config.rootpath),
        "prompts": prompt_digests(run),
    }


def commit(folder: Path) -> str | None:
    """Return the commit that *folder*'s tests are of: as the CI system says, else as git does; ``None`` without one."""
    for name in COMMIT_VARIABLES:
        if value := os.environ.get(name):
            return value[:64]
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return None
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() or None


def prompt_digests(run: Run) -> dict[str, str]:
    """Return by dataset the SHA-256 of the baseline's prompts, in the order of the items' names."""
    prompts: dict[str, list[tuple[str, str]]] = {}
    for outcome in run.outcomes:
        if outcome.target == BASELINE:
            prompts.setdefault(outcome.dataset, []).append((outcome.item, outcome.prompt))
    return {
        dataset: hashlib.sha256(repr(sorted(pairs)).encode("utf-8", "backslashreplace")).hexdigest()
        for dataset, pairs in prompts.items()
    }
