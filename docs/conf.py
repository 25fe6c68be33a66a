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
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
