"""Reads the sub-protocols that a WebSocket's client offers: the link parameter's name, and a token.

A page offers `["ott", "ott.TOKEN"]` beside the sub-protocols of the app (RFC 6455 section 1.9). The
server's acceptance names `ott`, never the token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from .urls import letters_of

# What a server may strip from a sub-protocol.
_BLANKS = [each for each in map(chr, range(0x3001)) if each.isspace()]


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


def others(offered: Iterable[str], name: str) -> list[str]:
    """Return a list of sub-protocols without those of the middleware."""
    is_own = _own_pattern(name).search
    return [each for each in offered if not ((name in each or "%" in each) and is_own(each))]


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
