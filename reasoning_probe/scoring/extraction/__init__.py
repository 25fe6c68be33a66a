"""Extraction of an answer from a response: a small pure function for each way to state one."""
