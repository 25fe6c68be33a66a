"""Items and where they come from: datasets, files, generators, and the prompts that ask them."""
