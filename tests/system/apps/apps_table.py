"""Writes the table of docs/apps.md: python tests/system/apps/apps_table.py"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "apps.md"
BEGIN, END = "<!-- the table, from tests/system/apps -->\n", "<!-- end of the table -->\n"

# The tests' own helpers, which the rows use.
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from app_rows import App  # noqa: E402  (the folders are put on the path above)
from heavy_apps import HEAVY  # noqa: E402
from light_apps import LIGHT  # noqa: E402

APPS: tuple[App, ...] = (*LIGHT, *HEAVY)


def table() -> str:
    """Return the table as Markdown."""
    lines = ["| App | Family | Line | The two sites share |", "|---|---|---|---|"]
    for app in sorted(APPS, key=lambda each: (each.family.lower(), each.name.lower())):
        version = app.requires[0].partition("==")[2]
        lines.append(f"| {app.name} {version} | {app.family} | `{app.line}` | {app.shares} |")
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """Return the page with the table of now."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
