"""How an item becomes the text that the model reads: templates, chat, few-shot examples, choices."""
