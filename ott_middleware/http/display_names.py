"""How a page names a user: short, on one line, and told apart from users of the same name."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

# A user's own words first, then what a site gives but once.
_NAMES = ("name", "username", "email", "id")
_UNIQUE = ("email", "username", "id")
_LONGEST = 48
# No language stacks more marks on one letter.
_MOST_MARKS = 4
# Each name is isolated: a right-to-left name leaves the order of the sentence as it is.
_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"


def display_name(user: Mapping[str, Any] | None, user_id: str | None) -> str | None:
    """Return how a page names a user, or None if nothing names the user.

    :param user: the fields of a session's user, which the site lets be shown.
    :param user_id: of the session, where the user has no field with a name.
    """
    fields = {"id": user_id, **(user or {})}
    shown = {name: text for name in _NAMES if (text := _clean(fields.get(name)))}
    if not shown:
        return None
    first = next(iter(shown))
    # Attack: an attacker takes the victim's name as their own, and the page says that the link is
    # for the victim. A name that a user has chosen is shown with one that is unique at the site.
    more = [name for name in _UNIQUE if name in shown and shown[name] != shown[first]]
    second = f" ({_isolate(shown[more[0]])})" if more and first not in _UNIQUE else ""
    return _isolate(shown[first]) + second


def _isolate(text: str) -> str:
    return f"{_ISOLATE}{text}{_END_ISOLATE}"


def _clean(value: object) -> str:
    """Return a field as text on one line, cut; empty if it is no text and no number."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    # Attack: a name with controls that turn the direction of text around, with line breaks or with
    # a tower of marks rewrites the sentence around it. Controls are left out, else the page could
    # be made to name the two users the other way round.
    kept: list[str] = []
    marks = 0
    for each in str(value)[: 8 * _LONGEST]:
        category = unicodedata.category(each)
        marks = marks + 1 if category.startswith("M") else 0
        if marks <= _MOST_MARKS:
            kept.append(" " if each.isspace() else "" if category.startswith("C") else each)
    text = " ".join("".join(kept).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"
