"""Numbers, text, files and names: what every layer may use."""
