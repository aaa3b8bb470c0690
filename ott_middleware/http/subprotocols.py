"""Reads the sub-protocols that a WebSocket's client offers: the link parameter's name, and a token.

A page offers `["ott", "ott.TOKEN"]` beside the sub-protocols of the app (RFC 6455 section 1.9). The
server's acceptance names `ott`, never the token. Both are cut from the scope, and from every copy
of them, before the app sees it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from .copy_kinds import Kind, kind_of_header
from .cutting import Walk
from .urls import letters_of

# What a server may strip from a sub-protocol.
_BLANKS = [each for each in map(chr, range(0x3001)) if each.isspace()]
_GONE: Final = object()


class Offer(NamedTuple):
    """What a client offers of the middleware's own sub-protocols.

    :ivar named: whether it offers the one that the acceptance may name.
    :ivar tokens: the values behind the name and a dot, in order, each as often as it was sent.
    """

    named: bool
    tokens: tuple[str, ...]

    def __repr__(self) -> str:
        # An error reporter records the local variables of a failing adapter's callers.
        return f"{type(self).__name__}(named={self.named})"


NO_OFFER = Offer(False, ())


def read_offer(offered: Iterable[str], name: str) -> Offer:
    """Return what a list of sub-protocols has for the middleware.

    :param name: of the link parameter.
    """
    # Servers differ in whether they strip the blanks.
    listed = [each.strip() for each in offered]
    begins = f"{name}."
    tokens = [each[len(begins) :] for each in listed if each.startswith(begins)]
    return Offer(name in listed, tuple(tokens))


def cut_protocols(scope: MutableMapping[str, Any], name: str) -> None:
    """Cut `ott` and `ott.TOKEN` from the offered sub-protocols of a scope, wherever it has them.

    Lists are replaced and never changed: a server may keep its own, to compare the app's choice
    with what the client offers.

    :param name: of the link parameter.
    """
    is_own = _own_pattern(name).search

    def cut(text: str, kind: Kind) -> str:
        """Return the value of a header without the sub-protocols of that name."""
        if kind is not Kind.PROTOCOLS:
            return text
        offered = text.split(",")
        left = [each for each in offered if not ((name in each or "%" in each) and is_own(each))]
        return text if len(left) == len(offered) else ",".join(left).strip()

    _ProtocolWalk(name, cut).cut_all(scope)


class _ProtocolWalk(Walk):
    """Cuts the sub-protocols of that name from a scope."""

    def _replace(self, value: Any, kind: Kind, depth: int) -> Any:
        if kind is not Kind.PROTOCOLS or type(value) not in (list, tuple):
            return super()._replace(value, kind, depth)
        # Attack: tens of thousands of them. Most don't name the middleware's, and each text is cut
        # once; a call for each would take the server tens of milliseconds.
        texts = {each for each in value if isinstance(each, (str, bytes)) and self._mentions(each)}
        cut = {each: self._cut_text(each, kind) or _GONE for each in texts}
        replace = super()._replace
        left = [
            cut.get(each, each) if isinstance(each, (str, bytes)) else replace(each, kind, depth)
            for each in value
        ]
        if all(map(operator.is_, left, value)):
            return value
        return type(value)([each for each in left if each is not _GONE])

    def _headers(self, headers: Any, depth: int) -> Any:
        left = super()._headers(headers, depth)
        if left is headers:
            return headers
        # A header without any sub-protocol would be no offer of one, but a malformed header.
        return [each for each in left if each[1] or kind_of_header(each[0]) is not Kind.PROTOCOLS]


@lru_cache(maxsize=16)
def _own_pattern(name: str) -> re.Pattern[str]:
    """Return a pattern that finds a sub-protocol of the middleware in a text.

    Daphne percent-decodes the header before the split, so that the header itself has escapes.
    """
    # Attack: 64 kB of `%,`. One search in C tells for each text whether it is one; decoded, the
    # texts would take the server a third of a second.
    escapes = "|".join(quote(each, safe="").removeprefix("%") for each in _BLANKS)
    blank, comma = rf"\s*(?:%(?i:{escapes})\s*)*", "(?:,|%2[Cc])"
    return re.compile(
        rf"(?:\A|{comma}){blank}{letters_of(name)}(?:\.|%2[Ee]|{blank}(?:\Z|{comma}))"
    )
