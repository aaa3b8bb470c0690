"""The languages of the pages, and the choice of one by `Accept-Language`.

`register_language` adds a language.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from ..errors import ConfigurationError
from .page_texts import ENGLISH, FRENCH, GERMAN, JAPANESE, SPANISH, PageTexts

Direction = Literal["ltr", "rtl"]

#: The longest `Accept-Language` that is parsed; those of browsers have under 200 characters.
MAX_ACCEPT_LANGUAGE = 1024

_TAG = r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*"
_RANGE = re.compile(
    rf"[ \t]*(\*|{_TAG})"
    r"(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?[ \t]*"
)


@dataclass(frozen=True, slots=True)
class Language:
    """One language of the pages.

    :ivar tag: its tag (BCP 47), for `lang` and `Content-Language`.
    :ivar direction: `rtl` for a script that is written from right to left.
    :ivar texts: its texts. A page with a text missing is shown in another language.
    """

    tag: str
    direction: Direction = "ltr"
    texts: PageTexts = field(default_factory=PageTexts)


#: By tag, in lower case. The first is shown where the visitor accepts none of them.
LANGUAGES = {
    "en": Language("en", texts=ENGLISH),
    "de": Language("de", texts=GERMAN),
    "fr": Language("fr", texts=FRENCH),
    "es": Language("es", texts=SPANISH),
    "ja": Language("ja", texts=JAPANESE),
}


def language_for(accept_language: str | None, *needed: str) -> Language:
    """Return the visitor's preferred language, of those that have all the needed texts."""
    able = [tag for tag, each in LANGUAGES.items() if each.texts.keys() >= set(needed)]
    return LANGUAGES[choose_language(accept_language, able, "en")]


def choose_language(header: str | None, offered: Collection[str], default: str) -> str:
    """Return the offered language that the header prefers, or the default.

    A range that is not offered is shortened from its end (`de-AT`, then `de`). What is no range of
    languages is ignored. (RFC 9110 section 12.5.4, RFC 4647 section 3.4.)

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
            else (tag for tag in _shorten(wanted) if tag in accepted)
        )
        for tag in found_tags:
            return tag
    return default


def _shorten(tag: str) -> Iterator[str]:
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]


def register_language(tag: str, texts: PageTexts, *, direction: Direction = "ltr") -> None:
    """Add a language to the pages, or change texts of one that is there.

    :param tag: its tag (BCP 47): `"it"` serves `it-CH` as well, `"pt-BR"` nothing but `pt-BR`.
    :param texts: as in `ott_middleware.http.page_texts.ENGLISH`. A page whose texts are not all
        there is shown in the visitor's next language.
    :param direction: `"rtl"` for a script that is written from right to left.
    :raises ConfigurationError: that is no tag, no such text, or a text of the wrong type.
    """
    if not isinstance(tag, str) or not re.fullmatch(_TAG, tag):
        raise ConfigurationError(f"tag: {tag!r} is no language; use a tag like 'it' or 'pt-BR'")
    if direction not in ("ltr", "rtl"):
        raise ConfigurationError(f"direction: {direction!r}; use 'ltr' or 'rtl'")
    if not isinstance(texts, Mapping):
        raise ConfigurationError(f"texts: a {type(texts).__name__}; pass a dict like ENGLISH")
    for name, text in texts.items():
        _check_text(name, text)
    before = LANGUAGES.get(tag.lower())
    known = before.texts if before else PageTexts()
    LANGUAGES[tag.lower()] = Language(tag, direction, cast(PageTexts, {**known, **texts}))


def _check_text(name: str, text: Any) -> None:
    model = cast(Mapping[str, Any], ENGLISH).get(name)
    if model is None:
        near = difflib.get_close_matches(str(name), ENGLISH, 1)
        raise ConfigurationError(
            f"texts: {name!r} is none of the pages' texts; "
            + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(ENGLISH)}")
        )
    wanted = 1 if isinstance(model, str) else 2
    pieces = (text,) if isinstance(text, str) else text
    if (
        not isinstance(pieces, (tuple, list))
        or len(pieces) != wanted
        or not all(isinstance(piece, str) and piece.strip() for piece in pieces)
    ):
        cure = "a text" if wanted == 1 else "a pair of a title and a text"
        raise ConfigurationError(f"texts: {name!r} is {text!r}; use {cure}")
