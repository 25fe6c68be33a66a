"""Items: the datasets, files and generators that they come from, and the prompts that ask them."""
