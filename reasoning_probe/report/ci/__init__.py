"""Output for CI systems: Markdown, GitHub annotations, JUnit."""
