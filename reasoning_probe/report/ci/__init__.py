"""What CI systems read: Markdown, GitHub annotations, JUnit."""
