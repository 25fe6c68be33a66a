"""Readers of questions: from the text of a generated question back to its numbers, its events or its argument."""
