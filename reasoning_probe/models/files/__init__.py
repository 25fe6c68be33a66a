"""A model's files, which are looked at before a library opens them: they are input, and may come from anybody."""
