"""Cards: what is known of each head that matters, on one dataset under one ablation."""
