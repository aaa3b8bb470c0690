"""Writes the table of docs/mistakes.md: python tests/system/mistakes/page.py"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "mistakes.md"
BEGIN, END = "<!-- the table, from tests/system/mistakes -->\n", "<!-- end of the table -->\n"

# The rows use the tools of the tests.
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from mistake import Mistake  # noqa: E402  (the folder is put on the path above)


def mistakes() -> dict[str, tuple[Mistake, ...]]:
    """Return the rows of each file in this folder that has any."""
    found = {}
    for file in sorted(HERE.glob("*.py")):
        if file.stem not in ("page", "mistake") and not file.stem.startswith("test_"):
            found[file.stem] = tuple(importlib.import_module(file.stem).MISTAKES)
    return found


def table() -> str:
    """Return the table as Markdown."""
    lines = ["| What was done | The message or the log says |", "|---|---|"]
    for rows in mistakes().values():
        lines += [f"| {row.done} | `{row.cure}` |" for row in rows]
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """Return the page with the table of now."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
