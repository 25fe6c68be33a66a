"""The settings of Sphinx for the documentation: ``sphinx-build -W -b html docs site``."""

from __future__ import annotations

import importlib.metadata

project = "reasoning-probe"
author = "The reasoning-probe developers"
copyright = "2026, the reasoning-probe developers"
release = importlib.metadata.version("reasoning-probe")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
exclude_patterns = ["site", "tools", "measurements", "notebooks"]
html_theme = "furo"
html_title = "reasoning-probe"
html_static_path = ["_static"]
html_css_files = ["long_tables.css"]
html_js_files = ["long_tables.js"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
