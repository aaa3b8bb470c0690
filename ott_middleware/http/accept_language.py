"""Chooses a language by `Accept-Language` (RFC 9110 section 12.5.4, RFC 4647 section 3.4)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

#: The longest `Accept-Language` that is parsed; those of browsers have under 200 characters.
MAX_ACCEPT_LANGUAGE = 1024

LANGUAGE_TAG = r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*"
_RANGE = re.compile(
    rf"[ \t]*(\*|{LANGUAGE_TAG})"
    r"(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?[ \t]*"
)


def choose_language(header: str | None, offered: Collection[str], default: str) -> str:
    """Return the offered language that the header prefers, or the default.

    A range that is not offered is shortened from its end (`de-AT`, then `de`). What is no range of
    languages is ignored.

    :param header: the value of `Accept-Language`, or None.
    :param offered: language tags in lower case.
    """
    # Attack: a header of 64 kB, each piece of which would be matched and sorted. One that is longer
    # than any browser's counts as absent.
    if header is None or len(header) > MAX_ACCEPT_LANGUAGE:
        return default
    weights: dict[str, float] = {}
    for piece in header.split(","):
        if found := _RANGE.fullmatch(piece):
            weights.setdefault(found[1].lower(), float(found[2] or 1))
    accepted = [tag for tag in (default, *offered) if weights.get(tag) != 0]
    # The sort is stable: of two ranges with one weight, the first is preferred.
    for wanted in sorted(filter(weights.get, weights), key=lambda tag: -weights[tag]):
        # "*" stands for each language that the header does not name.
        found_tags = (
            (tag for tag in accepted if tag not in weights)
            if wanted == "*"
            else (tag for tag in _shortened(wanted) if tag in accepted)
        )
        for tag in found_tags:
            return tag
    return default


def _shortened(tag: str) -> Iterator[str]:
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]
