"""Shows the attributes of a class, which docstrings list as `:ivar name: text`, with their types.

Docstrings may describe several of them at once, as `:ivar a, b: text`, and so for `:param`.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from ott_middleware.errors import RequestError

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_IVAR = re.compile(r":[ci]var (\w+(?:, \w+)*): (.*)")
_SEVERAL = re.compile(r":param (\w+(?:, \w+)+): (.*)")
# Sphinx splits a field at white space. This one is none to Python; browsers break lines there.
_NARROW = ",\u200b"


def annotation_of(cls: type, name: str) -> str:
    """Return the type of an attribute, as the code writes it; "" where it has no annotation."""
    for each in cls.__mro__:
        kind = inspect.get_annotations(each).get(name)
        if kind is not None:
            return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
        member = each.__dict__.get(name)
        if isinstance(member, property) and member.fget is not None:
            return str(member.fget.__annotations__.get("return", ""))
    return ""


def several_names(
    app: Sphinx, what: str, name: str, obj: Any, options: object, lines: list[str]
) -> None:
    """Keep `:param a, b: text` as one entry: Sphinx would take `a,` for the type of `b`."""
    for at, line in enumerate(lines):
        match = _SEVERAL.fullmatch(line)
        if match is not None:
            lines[at] = f":param {match[1].replace(', ', _NARROW)}: {match[2]}"


def list_attributes(
    app: Sphinx, what: str, name: str, obj: Any, options: object, lines: list[str]
) -> None:
    """Replace each `:ivar` and `:cvar` of a class by an entry with the type as its signature."""
    if not isinstance(obj, type):
        return
    entries: list[str] = []
    rest: list[str] = []
    at = 0
    while at < len(lines):
        match = _IVAR.fullmatch(lines[at])
        at += 1
        if match is None:
            rest.append(lines[at - 1])
            continue
        for each in match[1].split(", "):
            kind = annotation_of(obj, each)
            entries += ["", f".. py:attribute:: {each}", "   :no-index:"]
            entries += [f"   :type: {kind}"] if kind else []
        entries += ["", f"   {match[2][0].upper()}{match[2][1:]}"]
        while at < len(lines) and lines[at].startswith(" "):
            entries.append(f"   {lines[at].strip()}")
            at += 1
    if entries:
        lines[:] = [*rest, *entries, ""]


def hide_arguments_of_errors(
    app: Sphinx, what: str, name: str, obj: Any, options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """Leave out the arguments of an error that are those of `RequestError`."""
    if not (isinstance(obj, type) and issubclass(obj, RequestError)) or obj is RequestError:
        return None
    return None if "__init__" in obj.__dict__ else ("", returns)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", several_names)
    app.connect("autodoc-process-docstring", list_attributes)
    app.connect("autodoc-process-signature", hide_arguments_of_errors, priority=400)
    return {"parallel_read_safe": True}
