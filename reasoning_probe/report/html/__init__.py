"""The HTML page: ``findings.py`` draws it; ``page.py`` puts it into a page of its own, pytest-html into the report."""
