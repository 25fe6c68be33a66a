"""The engine: baseline answers, and the same answers with heads switched off."""

ENGINE_VERSION = 3
"""Part of every stored outcome's key: raise it with a change that may change an answer or a log-probability."""

INVARIANT, SETTLE, BATCH = "invariant", "settle", "batch"
NUMERICS = ("auto", INVARIANT, SETTLE, BATCH)
"""What keeps an answer independent of its batch; :mod:`reasoning_probe.engine.numerics` says how."""
