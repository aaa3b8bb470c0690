"""Repair what Sphinx writes that assistive technology misreads, as axe-core found it."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx


def readable(html: str) -> str:
    """Return the HTML with levels for the captions, and without lists that are none."""
    # The caption of a table of contents: a heading without a level is read as one of any.
    html = html.replace(
        'class="caption" role="heading">', 'class="caption" role="heading" aria-level="2">'
    )
    # A long signature has one parameter a line, as the definitions of no term.
    html = re.sub(r'<dl>(?=\s*<dd><em class="sig-param)', '<dl role="none">', html)
    return re.sub(r'<dd>(?=<em class="sig-param)', '<dd role="none">', html)


def repair(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    for part in ("body", "furo_navigation_tree"):
        if part in context:
            context[part] = readable(context[part])


def setup(app: Sphinx) -> dict[str, bool]:
    # After the theme has put its parts there.
    app.connect("html-page-context", repair, priority=900)
    app.add_js_file("scrolling.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
