"""Cuts the link parameters of a request from one text, which may be a copy of its target.

A value that by its name is a copy of the target loses every parameter of the link's name. Any other
value loses only the very parameters that the query had, inside what looks like a URL.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .copy_kinds import Kind
from .urls import CONFIRM, SEEN, cut_target, divide, letters_of, value_of

_SHORTEST = 16
_PREFIX = letters_of(CONFIRM)
_TOKEN = re.compile(rf"(?:{re.escape(CONFIRM)})?[A-Za-z0-9_-]{{{_SHORTEST},512}}")
# What each copy of a value ends with, escaped or not. (An escaped dot is among the characters.)
_LONG_VALUE = re.compile(rf"=(?:{_PREFIX})?[A-Za-z0-9_%-]{{{_SHORTEST}}}")
_prefix = re.compile(_PREFIX).match
# Where in a piece a URL begins. The scheme has none of the characters before it: each is read once.
_URL_BEGINS = re.compile(r"(?:\A|[,;=|(\[{<\"'])(?=/|[A-Za-z][A-Za-z0-9+.\-]*://)")
_BEGINS_AS_TARGET = re.compile(r"[?/]|[A-Za-z][A-Za-z0-9+.\-]*://")


@lru_cache(maxsize=16)
def _patterns(name: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    r"""Return patterns of a piece, a part of a URL and a parameter with a possible copy of a link.

    A possible copy has the name and at least as many characters as the shortest token. A piece ends
    at white space: `\s` would take bytes of UTF-8 for blanks. Each pattern begins where a piece,
    part or parameter begins, so that each character is read once.
    """
    value = rf"(?:{_PREFIX})?[A-Za-z0-9_%-]{{{_SHORTEST},}}"
    copy = rf"{letters_of(name)}(?:{letters_of(SEEN)})?={value}"
    return (
        re.compile(rf"(?<![^ \t\r\n])[^ \t\r\n]*?[?&;]{copy}[^ \t\r\n]*"),
        re.compile(rf"(\A|[?#])((?:[^?#]*?[&;])??{copy}[^?#]*)"),
        re.compile(rf"[&;]{copy}"),
    )


class TextCutter:
    """Cuts the link parameters of one request from texts.

    :param name: of the parameter.
    :param query: the request's query, before the cut.
    :param rest: the query after the cut.
    :param values: the values that were cut.
    """

    def __init__(self, name: str, query: str, rest: str, values: tuple[str, ...]) -> None:
        self._name = name
        self._query, self._rest = query, rest
        # A client could make any text disappear by a link of that value: only what may be a token,
        # and is long enough to be no word, is looked for.
        self._values = frozenset(value for value in values if _TOKEN.fullmatch(value))
        self._piece, self._part, self._parameter = _patterns(name)
        # Each piece of a text, part of a URL and parameter is cut once: a client can send
        # thousands.
        self._pieces: dict[str, str] = {}
        self._parts: dict[str, str] = {}
        self._left: dict[str, str] = {}

    def cut(self, text: str, kind: Kind) -> str:
        """Return a text without the link parameters."""
        if kind is Kind.QUERY:
            if text == self._query:
                return self._rest
            rest = divide(text, self._name).rest
            # A proxy may repeat the query with its `?`, or with all that stands before it: the name
            # of the first parameter would be `?ott`, and the token stay.
            return cut_target(rest, self._name) if _BEGINS_AS_TARGET.match(rest) else rest
        if kind is Kind.TARGET:
            path, mark, query = text.partition("?")
            # A query that was cut already is not cut again: 64 kB of links would take 4 ms.
            if query == self._query and "#" not in text:
                return path + (mark if self._rest else "") + self._rest
            return cut_target(text, self._name)
        # Repeated headers are joined by commas: what follows the first URL is cut as other text is.
        text = cut_target(text, self._name) if kind is Kind.URL else text
        # The client chose the parameter's value, so it could take any `ott=A` out of what a proxy
        # says about it. Only what is behind a `?`, `&` or `;` of a URL is cut.
        # Attack: a header of 64 kB that is all marks, separators and blanks. A loop over the parts
        # between them takes 25 ms. The patterns, in C, match only what has a possible copy. One
        # that is quick to look for tells first whether there is any.
        if not self._values or not _LONG_VALUE.search(text):
            return text
        return self._piece.sub(self._cut_piece, text)

    def _cut_piece(self, found: re.Match[str]) -> str:
        piece = found[0]
        result = self._pieces.get(piece)
        if result is None:
            begins = _URL_BEGINS.search(piece)
            at = len(piece) if begins is None else begins.end()
            result = piece[:at] + self._part.sub(self._cut_part, piece[at:])
            self._pieces[piece] = result
        return result

    def _cut_part(self, found: re.Match[str]) -> str:
        """Return a part of a URL without the copies: the path, or a query or fragment."""
        result = self._parts.get(found[0])
        if result is None:
            mark, part = found.groups()
            # Only a `?` begins with a parameter.
            rest = self._parameter.sub(self._cut_parameter, f"&{part}" if mark == "?" else part)
            follows = ""
            if mark == "?":
                # What followed a copy at the very beginning stands before the mark from now on.
                follows = re.split("[&;]", rest, maxsplit=1)[0]
                rest = rest[len(follows) + 1 :]
            result = self._parts[found[0]] = follows + (mark if rest else "") + rest
        return result

    def _cut_parameter(self, found: re.Match[str]) -> str:
        """Return what is left of a separator and parameter: both, or the text behind a copy."""
        parameter = found[0]
        left = self._left.get(parameter)
        if left is None:
            spelled = parameter.partition("=")[2]
            before = _prefix(spelled)
            prefix, begins = (CONFIRM, before.end()) if before else ("", 0)
            plain = spelled[begins:].partition("%")[0]
            left = parameter
            if prefix + plain in self._values:
                left = spelled[begins + len(plain) :]
            elif value_of(spelled) in self._values:
                left = ""
            self._left[parameter] = left
        return left
