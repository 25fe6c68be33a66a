"""Sources of items: files, the Hugging Face hub, tasks of lm-evaluation-harness."""
