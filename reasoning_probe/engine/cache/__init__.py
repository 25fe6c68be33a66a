"""The outcome store: what was computed once is read from there by later runs."""
