"""Cuts the link parameter from a request: from its query, and from every copy of the target.

Proxies, servers and bridges keep copies of the request target: in headers, in variables, in the
scope that an environ was made of. A token that survives in one of them is logged, or sent to a
third party, and where the link is not redeemed (HEAD, a frame) the token can still be used.

`copy_kinds` decides by its name what may be cut from a value, `cutting_text` cuts one text. Here
is the walk through the scope or environ and all that it holds.
"""

from __future__ import annotations

import operator
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, MutableMapping
from itertools import chain
from typing import Any

from .copy_kinds import Kind, kind_of_header, kind_of_key
from .cutting_text import TextCutter
from .urls import divide, value_of

# The containers that are looked into: plain ones, since a subclass may do anything in a method.
_CONTAINERS = frozenset({dict, OrderedDict, defaultdict, list, tuple})
_DEEPEST = 4
# What an app keeps for all of its requests (the lifespan's `state`) may be large: looked through
# for each request that names the parameter, a cache of a million entries would hold up the server.
# What exceeds this number of entries is no copy of a request, and stays as it is.
_MOST_SHARED = 1000
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIRST_PIECES = re.compile(r"(?:\A|&)([^&;]*)")


def cut_request(
    carrier: MutableMapping[str, Any], query: str, name: str | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Cut the link parameters from a scope or environ, in place, and from the copies in it.

    :param carrier: the scope or environ.
    :param query: its query.
    :param name: of the parameter; None where links are off.
    :return: the percent-decoded values of the links, and of the parameter that says that the
        browser was shown a page first; each value once, in order. Where the query has neither
        parameter, nothing was changed.
    """
    if name is None or (name not in query and "%" not in query):
        return (), ()
    rest, links, seen, others = divide(query, name)
    # Each value once: a client can repeat one thousands of times.
    if len(links) + len(seen) > 1:
        links, seen = list(dict.fromkeys(links)), list(dict.fromkeys(seen))
    values = tuple(map(value_of, links)), tuple(map(value_of, seen))
    if rest != query:
        # A parser that splits at `;` finds further values inside of a link's.
        inside = "&".join(each for each in (*links, *seen) if ";" in each)
        if inside:
            others += _FIRST_PIECES.findall(inside) + divide(inside, name).others
        cut_out = (*values[0], *values[1], *map(value_of, dict.fromkeys(others)))
        Walk(name, TextCutter(name, query, rest, cut_out).cut).cut_all(carrier)
    return values


class Walk:
    """Cuts from a scope or environ of one request, in place, and from all that it holds.

    :param name: of the link parameter.
    :param cut: returns what is left of a text that mentions the name.
    """

    def __init__(self, name: str, cut: Callable[[str, Kind], str]) -> None:
        self._name, self._raw_name = name, name.encode("ascii")
        self._cut = cut
        # A request has several copies of one text: each is cut once.
        self._texts: dict[tuple[str, Kind], str] = {}
        self._pending: list[list[tuple[Any, Kind]]] = [[] for _ in range(_DEEPEST + 1)]
        self._seen: set[tuple[int, Kind]] = set()
        # The originals stay referenced: an id of one that was freed could be another's.
        self._replaced: dict[tuple[int, Kind, int], tuple[Any, Any]] = {}
        self._shared_left = _MOST_SHARED

    def cut_all(self, carrier: MutableMapping[str, Any]) -> None:
        """Cut the carrier and what is in it: each container once, from the least deep on."""
        self._seen.add((id(carrier), Kind.OTHER))
        headers = carrier.get("headers") if "query_string" in carrier else None
        # ASGI allows any iterable. One that is no list would be passed over, and keep the token.
        if type(headers) not in _CONTAINERS and isinstance(headers, Iterable):
            carrier["headers"] = list(headers)
        self._cut_mapping(carrier, Kind.OTHER, 0)
        for depth in range(1, _DEEPEST + 1):
            # Containers that are found at this depth, inside of tuples, are appended meanwhile.
            for container, kind in self._pending[depth]:
                if (id(container), kind) in self._seen:
                    continue
                self._seen.add((id(container), kind))
                if not self._may_enter(container, kind):
                    continue
                if type(container) is list:
                    for index, item in self._items(container, kind, depth):
                        container[index] = item
                else:
                    self._cut_mapping(container, kind, depth)

    def _cut_mapping(self, mapping: MutableMapping[Any, Any], kind: Kind, depth: int) -> None:
        # Most values don't name the parameter, and their own name needs no look.
        for key, value in [each for each in mapping.items() if self._is_worth_a_look(each[1])]:
            inner = kind_of_key(key)
            if inner is Kind.KEPT:
                continue
            if kind is Kind.SHARED and inner is Kind.OTHER:
                inner = Kind.SHARED
            if key == "headers" and type(value) in (list, tuple):
                replaced = self._headers(value, depth + 1)
            else:
                replaced = self._replace(value, inner, depth + 1)
            if replaced is not value:
                mapping[key] = replaced

    def _is_worth_a_look(self, value: object) -> bool:
        if type(value) in _CONTAINERS:
            return True
        return isinstance(value, (str, bytes)) and self._mentions(value)

    def _mentions(self, text: str | bytes) -> bool:
        """Return whether the parameter's name, or an escape, is in a text."""
        if isinstance(text, bytes):
            return b"%" in text or self._raw_name in text
        return "%" in text or self._name in text

    def _cut_text(self, text: str | bytes, kind: Kind) -> str | bytes:
        """Return what is left of a text; the same object if nothing was cut."""
        if not self._mentions(text):
            return text
        spelled = text.decode("latin-1") if isinstance(text, bytes) else text
        result = self._texts.get((spelled, kind))
        if result is None:
            result = self._texts[spelled, kind] = self._cut(spelled, kind)
        if result == spelled:
            return text
        return result.encode("latin-1") if isinstance(text, bytes) else result

    def _may_enter(self, container: Any, kind: Kind) -> bool:
        if kind is not Kind.SHARED:
            return True
        if len(container) > self._shared_left:
            return False
        self._shared_left -= len(container)
        return True

    def _headers(self, headers: Any, depth: int) -> Any:
        """Return a new list of the headers where one was cut: a server may need its own list.

        The headers of the deepest scope belong to it: their pairs are no deeper than their scope.
        """
        memo = (id(headers), Kind.OTHER, 0)
        if memo not in self._replaced:
            items = headers
            if not self._are_without_the_name(headers):
                items = [self._header(item, depth) for item in headers]
            changed = any(map(operator.is_not, items, headers))
            self._replaced[memo] = headers, items if changed else headers
        return self._replaced[memo][1]

    def _are_without_the_name(self, headers: Any) -> bool:
        """Return whether no header can name the parameter, by one search in all of them.

        Attack: 16,000 short headers. With calls for each the server would need 10 ms.
        """
        if not {tuple, list}.issuperset(map(type, headers)):
            return False
        try:
            return not self._mentions(b"\0".join(chain.from_iterable(headers)))
        except TypeError:
            return False  # something else than bytes is in a pair

    def _header(self, item: Any, depth: int) -> Any:
        if not _is_pair(item):
            return self._replace(item, Kind.OTHER, depth)
        value = self._value_of_pair(item, Kind.OTHER, depth)
        return item if value is item[1] else type(item)((item[0], value))

    def _value_of_pair(self, pair: Any, kind: Kind, depth: int) -> Any:
        if not self._is_worth_a_look(pair[1]):
            return pair[1]
        inner = kind_of_header(pair[0])
        if inner is Kind.KEPT:
            return pair[1]
        return self._replace(pair[1], kind if inner is Kind.OTHER else inner, depth)

    def _replace(self, value: Any, kind: Kind, depth: int) -> Any:
        """Return what a value becomes; a mapping or list stays, and is cut in place later."""
        if isinstance(value, (str, bytes)):
            return self._cut_text(value, kind)
        if depth > _DEEPEST:
            return value
        if type(value) is tuple:
            memo = (id(value), kind, depth)
            if memo not in self._replaced:
                changed = self._items(value, kind, depth) if self._may_enter(value, kind) else ()
                items = list(value)
                for index, item in changed:
                    items[index] = item
                self._replaced[memo] = value, tuple(items) if changed else value
            return self._replaced[memo][1]
        if type(value) in _CONTAINERS:
            self._pending[depth].append((value, kind))
        return value

    def _items(self, items: Any, kind: Kind, depth: int) -> list[tuple[int, Any]]:
        """Return what items of a list or tuple become, by index, where they change."""
        if kind in (Kind.OTHER, Kind.SHARED) and _is_pair(items):
            # A name and its value, as in the headers of a nested request.
            new = [items[0], self._value_of_pair(items, kind, depth + 1)]
        else:
            new = [self._replace(item, kind, depth + 1) for item in items]
        return [(index, item) for index, item in enumerate(new) if item is not items[index]]


def _is_pair(items: Any) -> bool:
    """Return whether two items are a header's name and value; no two URLs are."""
    if type(items) not in (list, tuple) or len(items) != 2:
        return False
    name = items[0].decode("latin-1") if isinstance(items[0], bytes) else items[0]
    return isinstance(name, str) and _HEADER_NAME.fullmatch(name) is not None
