"""Cuts the middleware's sub-protocols from a WebSocket's scope, and from every copy of them."""

from __future__ import annotations

import operator
from collections.abc import MutableMapping
from typing import Any, Final

from .copy_kinds import Kind, kind_of_header
from .cutting import Walk
from .subprotocols import others

_GONE: Final = object()


def cut_protocols(scope: MutableMapping[str, Any], name: str) -> None:
    """Cut `ott` and `ott.TOKEN` from the offered sub-protocols of a scope, wherever it has them.

    Lists are replaced and never changed: a server may keep its own, to compare the app's choice
    with what the client offers.

    :param name: of the link parameter.
    """

    def cut(text: str, kind: Kind) -> str:
        """Return the value of a header without the sub-protocols of that name."""
        if kind is not Kind.PROTOCOLS:
            return text
        offered = text.split(",")
        left = others(offered, name)
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
