"""What a run found: outcomes, statistics, summary, gate, and the files that hold them."""
