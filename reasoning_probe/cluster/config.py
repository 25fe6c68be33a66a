"""Where a sweep runs, as ``--probe-engine`` names it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClusterSpec:
    """A Ray cluster at ``address`` (``None``: the one that Ray finds or starts), and the resources of each replica.

    ``gpus`` of ``None`` means one if the cluster has any, else none.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float | None = None


def parse_engine(text: str) -> ClusterSpec | None:
    """Return the cluster that ``ray`` or ``ray=ADDRESS`` names; ``None`` for ``local``. Raises ``ValueError``.

    >>> parse_engine("ray=10.0.0.1:6379")
    ClusterSpec(address='10.0.0.1:6379', cpus=1.0, gpus=None)
    """
    name, equals, address = text.strip().partition("=")
    if name == "local" and not equals:
        return None
    host, colon, port = address.rpartition(":")
    valid = address == "auto" or (host and colon and port.isascii() and port.isdigit() and "/" not in address)
    if name != "ray" or (equals and not valid):
        raise ValueError(f"cannot read the engine {text[:60]!r}: write local, ray, or ray=HOST:PORT of the head node")
    return ClusterSpec(address or None)
