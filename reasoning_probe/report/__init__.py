"""Reports: pure functions of a stored run, to HTML, Markdown, plain text and pictures."""
