"""Reads the sub-protocols that a WebSocket's client offers: the link parameter's name, and a token.

A page offers `["ott", "ott.TOKEN"]` beside the sub-protocols of the app (RFC 6455 section 1.9). The
server's acceptance names `ott`, never the token.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote


class Offer(NamedTuple):
    """What a client offers of the middleware's own sub-protocols.

    :ivar named: whether it offers the one that the acceptance may name.
    :ivar tokens: the values behind the name and a dot, in order, each as often as it was sent.
    """

    named: bool
    tokens: tuple[str, ...]


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
    begins = f"{name}."

    def is_own(each: str) -> bool:
        each = each.strip()
        return each == name or each.startswith(begins)

    # Daphne percent-decodes the header before the split, so that the header itself has escapes.
    return [
        each
        for each in offered
        if not (any(map(is_own, unquote(each).split(","))) if "%" in each else is_own(each))
    ]
