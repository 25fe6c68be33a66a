"""A model's name that the hub does not know, or that cannot be asked for: one line in seconds, with the near name."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reasoning_probe.models import hub
from reasoning_probe.models.errors import ModelError
from reasoning_probe.models.loading import ModelSource
from tests.helpers.planted_model import COLOUR_PROBE, COLOURS
from tests.helpers.project import Project


class SilentHub:
    """A hub on this machine that takes every connection; it answers with *reply*, or never."""

    def __init__(self, reply: bytes = b"") -> None:
        self.reply, self.connections = reply, 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.kept: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            self.kept.append(connection)
            if self.reply:
                connection.recv(65536)
                connection.sendall(self.reply)
                connection.close()


@pytest.fixture
def silent_hub() -> Iterator[SilentHub]:
    server = SilentHub()
    yield server
    server.server.close()


def online(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """Have processes started from here on ask the hub at *url*, with an empty cache."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    for name, value in {"HF_ENDPOINT": url, "HF_HOME": str(cache), "HF_HUB_CACHE": str(cache / "hub")}.items():
        monkeypatch.setenv(name, value)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("options", [[], ["--ablate-heads"], ["-n", "2"]], ids=["plain", "heads", "xdist"])
def test_a_hub_that_never_answers_costs_no_more_than_its_deadline(
    project: Project, monkeypatch: pytest.MonkeyPatch, silent_hub: SilentHub, tmp_path: Path, options: list[str]
) -> None:
    """What the session takes beside it is measured by the same session offline, which asks nobody."""
    project.write("colours.jsonl", COLOURS)
    project.write("test_colours.py", COLOUR_PROBE)
    misspelt = replace(project, model=Path("gtp2"))
    online(monkeypatch, silent_hub.url, tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    seconds = []
    for mode in ("offline", "online"):
        if mode == "online":
            assert silent_hub.connections == 0
            monkeypatch.delenv("HF_HUB_OFFLINE")
        started = time.perf_counter()
        result = misspelt.run_anew(*options)
        seconds.append(time.perf_counter() - started)
        line = "cannot load the model gtp2: .*the hub has no such model or cannot be reached: check the name.*gpt2[?]"
        assert result.ret == 4
        result.stderr.re_match_lines([f".*{line}"]) if result.errlines else result.stdout.re_match_lines([f".*{line}"])
    assert silent_hub.connections >= 1
    assert seconds[1] - seconds[0] < hub.DEADLINE_S + 1.5


REPLIES = {
    "no such model": (b"404 Not Found", b"RepoNotFound", "no such model or cannot be reached: check the name .did you"),
    "no such revision": (b"404 Not Found", b"RevisionNotFound", "the hub has no revision v9 of it: check the name"),
    "a hub in trouble": (b"503 Service Unavailable", b"", "no such model or cannot be reached"),
    "a gated model": (b"403 Forbidden", b"GatedRepo", ""),
    "no config there": (b"404 Not Found", b"EntryNotFound", ""),
}


@pytest.mark.parametrize("case", REPLIES)
def test_what_the_hub_says_is_told(monkeypatch: pytest.MonkeyPatch, case: str, tmp_path: Path) -> None:
    import huggingface_hub

    status, code, line = REPLIES[case]
    header = b"X-Error-Code: " + code + b"\r\n" if code else b""
    server = SilentHub(b"HTTP/1.1 " + status + b"\r\n" + header + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_url", lambda *_, **__: f"{server.url}/gtp2/resolve/main/config.json")
    source = ModelSource("gtp2@v9", "gtp2", revision="v9")
    if line:
        with pytest.raises(ModelError, match=line):
            hub.check_hub(source)
    else:  # loading explains it better
        hub.check_hub(source)
    assert server.connections >= 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gtp2", "gpt2"),
        ("distilgtp2", "distilgpt2"),
        ("tiny-reasonner", "tiny-reasoner"),
        ("smolm2", "smollm2"),
        ("Qwen/Qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B"),
        ("qwen3-0.6b", "Qwen/Qwen3-0.6B"),
        ("llama-3.2-1b", "meta-llama/Llama-3.2-1B"),
        ("nobody/no-such-model", ""),
    ],
)
def test_the_near_name_is_suggested(name: str, meant: str) -> None:
    with pytest.raises(ModelError) as error:
        hub.check_hub(ModelSource(name, name))
    assert (f"(did you mean {meant}" in str(error.value)) == bool(meant)
    assert ("did you mean" in str(error.value)) == bool(meant)


def test_a_model_in_the_cache_is_not_asked_for_and_is_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    snapshot = tmp_path / "models--lab--our-model" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({}), encoding="utf-8")
    refs = tmp_path / "models--lab--our-model" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40, encoding="utf-8")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.file_download.constants, "HF_HUB_CACHE", str(tmp_path))
    hub.check_hub(ModelSource("lab/our-model", "lab/our-model"))
    with pytest.raises(ModelError, match=r"did you mean lab/our-model\?"):
        hub.check_hub(ModelSource("lab/our-modle", "lab/our-modle"))
