"""The fast path: baselines verified and decoded for all heads at once, on one shared KV cache."""
