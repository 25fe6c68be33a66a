"""Models: loading, finding and verifying heads, targets, ablations, weights."""
