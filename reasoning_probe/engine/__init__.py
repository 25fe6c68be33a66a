"""The engine: baseline answers, and the same answers with heads switched off."""
