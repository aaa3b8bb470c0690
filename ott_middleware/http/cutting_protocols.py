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
    _ProtocolWalk(name).cut_all(scope)


class _ProtocolCutter:
    """Cuts the sub-protocols of that name from the values of headers."""

    def __init__(self, name: str) -> None:
        self.name, self._raw_name = name, name.encode("ascii")

    def mentions(self, text: str | bytes) -> bool:
        if isinstance(text, bytes):
            return b"%" in text or self._raw_name in text
        return "%" in text or self.name in text

    def cut(self, text: str | bytes, kind: Kind) -> str | bytes:
        if kind is not Kind.PROTOCOLS or not self.mentions(text):
            return text
        spelled = text.decode("latin-1") if isinstance(text, bytes) else text
        offered = spelled.split(",")
        left = others(offered, self.name)
        if len(left) == len(offered):
            return text
        result = ",".join(left).strip()
        return result.encode("latin-1") if isinstance(text, bytes) else result


class _ProtocolWalk(Walk):
    """Cuts the sub-protocols of that name from a scope."""

    def __init__(self, name: str) -> None:
        super().__init__(_ProtocolCutter(name))

    def _replace(self, value: Any, kind: Kind, depth: int) -> Any:
        if kind is not Kind.PROTOCOLS or type(value) not in (list, tuple):
            return super()._replace(value, kind, depth)
        # Attack: tens of thousands of them. Most don't name the middleware's, and each text is cut
        # once; a call for each would take the server tens of milliseconds.
        texts = {each for each in value if isinstance(each, (str, bytes)) and self._mentions(each)}
        cut = {each: self._texts.cut(each, kind) or _GONE for each in texts}
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
