"""Writes the entries of the page of the options from the code: type, default, text.

The page has a comment, `<!-- options: MODULE CLASS -->`, where the entries of that `TypedDict`
belong. The texts are its docstrings; the defaults are those of the dataclass with the same fields.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import itertools
import re
import textwrap
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ott_middleware.options import Options, OptionValues
from ott_middleware.tokens import TokenService
from ott_middleware.tokens.options import TokenOptions

from .option_notes import NOTES

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_MARK = re.compile(r"^<!-- options: ([\w.]+) (\w+) -->$", flags=re.MULTILINE)


def docstrings(values: type) -> dict[str, str]:
    """Return the docstring under each key of a `TypedDict`, in the order of the code."""
    source = ast.parse(textwrap.dedent(inspect.getsource(values)))
    (body,) = (node.body for node in source.body if isinstance(node, ast.ClassDef))
    return {
        key.target.id: inspect.cleandoc(text.value.value)
        for key, text in itertools.pairwise(body)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def defaults() -> dict[str, str]:
    """Return the default of each option, as Python writes it."""
    fields = (*dataclasses.fields(Options), *dataclasses.fields(TokenOptions))
    return {each.name: repr(each.default) for each in fields if each.init}


def types() -> dict[str, str]:
    """Return the type of each option, with the package's own names for types written out."""
    hints = typing.get_type_hints(OptionValues, localns={"TokenService": TokenService})
    return {name: _type(hint) for name, hint in hints.items()}


def _type(hint: Any) -> str:
    # Imported here, so that the tests of the entries need no Sphinx.
    from sphinx.util.typing import stringify_annotation

    text = re.sub(r"~|\b(?:[a-z_]+\.)+(?=\w)", "", stringify_annotation(hint, "smart"))
    return text.replace("Literal['auto'] | str", "str")


def entry(name: str, text: str, kind: str, default: str) -> str:
    """Return the Markdown of one option."""
    note = NOTES[name]
    rest = re.sub(r"\s*\bDefault: (?s:.*)$", "", text)
    behind = re.search(r"\bDefault:\s+(?s:(.*))$", text)
    said = " ".join(behind[1].split()) if behind else f"`{default}`."
    unit = [f"- Unit: {note.unit}"] if note.unit else []
    lines = [
        f"### `{name}`",
        "",
        f"- Type: `{kind}`",
        *unit,
        f"- Default: {said}",
        "",
        rest,
        "",
        f"*Why:* {note.why}",
        "",
        "```python",
        f"OTTMiddleware(app, {note.example})",
        "```",
        "",
    ]
    return "\n".join(lines)


def entries(values: type) -> str:
    """Return the Markdown of all options that a `TypedDict` lists itself."""
    known, kinds = defaults(), types()
    return "\n".join(
        entry(name, text, kinds[name], known[name]) for name, text in docstrings(values).items()
    )


def write_entries(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the entries into a page that is read (the event `source-read`)."""
    source[0] = _MARK.sub(
        lambda mark: entries(getattr(importlib.import_module(mark[1]), mark[2])), source[0]
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", write_entries)
    # A page is read again after the code or the notes changed.
    for module in (Path(__file__), Path(__file__).with_name("option_notes.py")):
        app.add_config_value(f"stamp_{module.stem}", module.stat().st_mtime, "env")
    return {"parallel_read_safe": True}
