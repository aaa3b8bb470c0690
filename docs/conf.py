"""How the documentation is built: `python -m sphinx -W --keep-going -b html docs docs/_build/html`."""

from __future__ import annotations

import ott_middleware

project = "ott_middleware"
author = "The ott_middleware developers"
copyright = "The ott_middleware developers"
release = version = ott_middleware.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# Docstrings are read in editors and terminals first: `word` in them is code.
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

# Every name that a signature or a text refers to must be documented.
nitpicky = True
