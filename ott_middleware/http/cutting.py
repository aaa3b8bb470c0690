"""Cuts the link parameter from a request: from its query, and from every copy of the target.

Proxies, servers and bridges keep copies of the request target: in headers, in variables, in the
scope that an environ was made of. A token that survives in one of them is logged, or sent to a
third party, and where the link is not redeemed (HEAD, a frame) the token is still live.

But a cut is also a change that the client steers: it chooses both the link's value and, often, the
text around a copy. Where a proxy says that the user is `admin?ott=A`, a cut would make an
administrator of them. So values that tell identities, decisions or the body are never touched, a
value that by its name is a copy of the target loses every parameter of that name, and any other
value only the very parameter that the query had, inside what looks like a URL.
"""

from __future__ import annotations

import enum
import re
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from itertools import chain
from typing import Any

from .urls import cut, cut_target, divide, is_named, letters_of, value_of


class _Kind(enum.Enum):
    """What a value is, by the name that it stands under."""

    KEPT = "never touched"
    QUERY = "a query"
    TARGET = "a request target"
    URL = "a header with a URL of the request, possibly several joined by commas"
    OTHER = "anything else"
    SHARED = "anything else, in what all requests of a server share"


# Names are folded before they are matched: upper case, with underscores for dashes.

# Headers and variables that are never touched. The words at the end are those that proxies use for
# what an app believes about the user: `X-Forwarded-User`, `X-Auth-Request-Email`,
# `X-Goog-Authenticated-User-Id`, `X-Forwarded-Client-Cert`, `X-Forwarded-Access-Token`.
_KEPT = re.compile(
    r"\A(?:"
    r"ORIGIN|VIA|FORWARDED|PROXY|TRANSFER_ENCODING"
    r"|X_FORWARDED_(?:FOR|PROTO|PROTOCOL|SCHEME|PORT|SERVER|SSL)"
    r"|(?:PROXY|CONTENT|SEC_FETCH|REMOTE|SSL|X_SSL|AUTH|SERVER|X_CLIENT_CERT)_.*"
    # Modules of web servers for OpenID Connect and SAML: an identity may be a URL there.
    r"|(?:OIDC|MELLON|SHIB)_.*"
    r")\Z"
    r"|(?:\A|[_.])(?:COOKIE2?|AUTHORIZATION|HOST|IP|METHOD|METHOD_OVERRIDE"
    r"|(?:USER|PRINCIPAL|ACCOUNT|IDENTITY|PROFILE)(?:_ID|_NAME|_EMAIL|_LOGIN|_UR[IL])?"
    r"|USERNAME|USERID|LOGIN|EMAIL|SUB|NAME_?ID|UID|UPN|EPPN|DN|WEBID|CLAIMED_ID|OPENID"
    r"|PERSISTENT_ID"
    r"|GROUPS?|ROLES?|SUBJECT|CERT|TOKEN|API_KEY|SECRET|PASSWORD)\Z",
    re.DOTALL,
)
# Keys of scopes and environs that are never touched. The path stands percent-decoded there: a `?`
# in it belongs to the path, and what is routed must be what was asked for.
_KEPT_KEYS = frozenset(
    {
        *("METHOD", "PATH", "ROOT_PATH", "APP_ROOT_PATH", "PATH_PARAMS", "SCHEME", "TYPE"),
        *("CLIENT", "SERVER", "USER", "AUTH", "SESSION"),
        *("REQUEST_METHOD", "PATH_INFO", "ORIG_PATH_INFO", "PATH_TRANSLATED", "SCRIPT_NAME"),
    }
)
_KEPT_NAMESPACES = ("wsgi.", "wsgiorg.")
_TARGETS = frozenset({"RAW_PATH", "RAW_URI", "REQUEST_URI", "UNENCODED_URL"})
_QUERY = re.compile(r".*QUERY_?STRING\Z|X_(?:.+_)?QUERY\Z", re.DOTALL)
_URL = re.compile(
    r"(?:REFERR?ER|X_(?:.+_)?(?:UR[IL]|ORIGINAL_PATH)|X_REWRITE_.+)\Z",
    re.DOTALL,
)
# Servers repeat the prefix with each internal redirect (Apache's mod_rewrite).
_REDIRECTS = re.compile(r"\A(?:REDIRECT_)+")


def _kind_of_header(folded: str) -> _Kind:
    # What is never touched is asked first: a name that is of two kinds is an identity.
    if _KEPT.search(folded):
        return _Kind.KEPT
    if _QUERY.match(folded):
        return _Kind.QUERY
    return _Kind.URL if _URL.match(folded) else _Kind.OTHER


def _fold(name: object) -> str:
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    return name.upper().replace("-", "_") if isinstance(name, str) else ""


def _kind_of_key(key: object) -> _Kind:
    """Return the kind of what a scope or environ, or a mapping in one, holds under a key."""
    folded = _fold(key)
    if folded.lower().startswith(_KEPT_NAMESPACES):
        return _Kind.KEPT
    # REDIRECT_REMOTE_USER is an identity as REMOTE_USER is.
    variable = _REDIRECTS.sub("", folded)
    if variable in _KEPT_KEYS:
        return _Kind.KEPT
    kind = _kind_of_header(variable.removeprefix("HTTP_"))
    if kind is _Kind.OTHER and (variable in _TARGETS or variable != folded):
        return _Kind.TARGET
    return _Kind.SHARED if variable == "STATE" else kind


# The containers that are looked into: plain ones, whose methods do nothing but what is expected.
_CONTAINERS = frozenset({dict, OrderedDict, defaultdict, list, tuple})
_DEEPEST = 4
# What an app keeps for all of its requests (the lifespan's `state`) may be large: looked through
# for each request that names the parameter, a cache of a million entries would hold up the server.
# What exceeds this number of entries is no copy of a request, and stays as it is.
_MOST_SHARED = 1000

_SHORTEST = 16
_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{_SHORTEST},512}}")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Where in a piece a URL begins. The scheme has none of the characters before it: each is read once.
_URL_BEGINS = re.compile(r"(?:\A|[,;=|(\[{<\"'])(?=/|[A-Za-z][A-Za-z0-9+.\-]*://)")
_FIRST_PIECES = re.compile(r"(?:\A|&)([^&;]*)")
_BEGINS_AS_TARGET = re.compile(r"[?/]|[A-Za-z][A-Za-z0-9+.\-]*://")
# A piece ends at white space. No `\s`: it would take bytes of UTF-8 for blanks.
_BLANKS = " \t\r\n"
_PIECE = re.compile(r"[^ \t\r\n]*")
_PART = re.compile(r"[^?#]*")
# In a URL of so many characters neighbours that are the same copy of a link are cut at once, up to
# this number of spellings.
_MANY = 1024
_MOST_SPELLINGS = 8
_RUNS = (re.compile(r"[A-Za-z0-9_-]*"), re.compile(r"[A-Za-z0-9_%-]*"))


def cut_request(carrier: MutableMapping[str, Any], query: str, name: str) -> tuple[str, ...]:
    """Cut the link parameters from a scope or environ, in place, and from the copies in it.

    :param carrier: the scope or environ.
    :param query: its query.
    :param name: of the parameter.
    :return: the percent-decoded values of the links in order, each once. Where the query has no
        parameter of that name, nothing was changed.
    """
    rest, spelled, others = divide(query, name)
    # Each once: a client can repeat one value thousands of times.
    links = tuple(map(value_of, dict.fromkeys(spelled)))
    if rest != query:
        # A parser that splits at `;` finds further values inside of a link's.
        inside = "&".join(each for each in dict.fromkeys(spelled) if ";" in each)
        if inside:
            others += _FIRST_PIECES.findall(inside) + divide(inside, name)[2]
        values = (*links, *map(value_of, dict.fromkeys(others)))
        _Cutter(name, query, rest, values).cut_all(carrier)
    return links


@lru_cache(maxsize=16)
def _candidates(name: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return patterns of what may be a copy of a link: behind a mark, and at a parameter's start.

    A copy has the name and, at the least, as many characters as the shortest token.
    """
    copy = rf"(?=({letters_of(name)}=[A-Za-z0-9_%-]{{{_SHORTEST},}}))"
    return re.compile(f"[?&;]{copy}"), re.compile(rf"(?:\A|[&;]){copy}")


class _Cutter:
    """Cuts one request's link parameters.

    :param name: of the parameter.
    :param query: the request's query, before the cut.
    :param rest: the query after the cut.
    :param values: the values that were cut.
    """

    def __init__(self, name: str, query: str, rest: str, values: tuple[str, ...]) -> None:
        self._name, self._raw_name = name, name.encode("ascii")
        # A client could make any text disappear by a link of that value: only what may be a token,
        # and is long enough to be no word, is looked for.
        self._values = frozenset(value for value in values if _TOKEN.fullmatch(value))
        self._candidates, self._starts = _candidates(name)
        self._is_copy: dict[str, bool] = {}
        # A request has several copies of one text, the query first of all: each is cut once.
        self._texts = {(query, _Kind.QUERY): rest}
        self._query, self._rest = query, rest
        self._pending: list[list[tuple[Any, _Kind]]] = [[] for _ in range(_DEEPEST + 1)]
        self._seen: set[tuple[int, _Kind]] = set()
        # The originals stay referenced: an id of one that was freed could be another's.
        self._replaced: dict[tuple[int, _Kind, int], tuple[Any, Any]] = {}
        self._shared_left = _MOST_SHARED

    def cut_all(self, carrier: MutableMapping[str, Any]) -> None:
        """Cut the carrier and what is in it: each container once, from the least deep on."""
        self._seen.add((id(carrier), _Kind.OTHER))
        headers = carrier.get("headers") if "query_string" in carrier else None
        # ASGI allows any iterable. One that is no list would be passed over, and keep the token.
        if type(headers) not in _CONTAINERS and isinstance(headers, Iterable):
            carrier["headers"] = list(headers)
        self._cut_mapping(carrier, _Kind.OTHER, 0)
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

    def _cut_mapping(self, mapping: MutableMapping[Any, Any], kind: _Kind, depth: int) -> None:
        for key, value in list(mapping.items()):
            # Most values don't name the parameter, and their own name needs no look.
            if not self._is_worth_a_look(value):
                continue
            inner = _kind_of_key(key)
            if inner is _Kind.KEPT:
                continue
            if kind is _Kind.SHARED and inner is _Kind.OTHER:
                inner = _Kind.SHARED
            if key == "headers" and type(value) in (list, tuple):
                replaced = self._headers(value, depth + 1)
            else:
                replaced = self._replace(value, inner, depth + 1)
            if replaced is not value:
                mapping[key] = replaced

    def _is_worth_a_look(self, value: object) -> bool:
        if isinstance(value, (str, bytes)):
            return self._mentions(value)
        return type(value) in _CONTAINERS

    def _may_enter(self, container: Any, kind: _Kind) -> bool:
        if kind is not _Kind.SHARED:
            return True
        if len(container) > self._shared_left:
            return False
        self._shared_left -= len(container)
        return True

    def _headers(self, headers: Any, depth: int) -> Any:
        """Return a new list of the headers where one was cut: a server may need its own list.

        The headers of the deepest scope belong to it: their pairs are no deeper than their scope.
        """
        memo = (id(headers), _Kind.OTHER, 0)
        if memo not in self._replaced:
            items = (
                headers if self._are_without_the_name(headers) else self._cut_each(headers, depth)
            )
            changed = any(new is not old for new, old in zip(items, headers, strict=True))
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

    def _cut_each(self, headers: Any, depth: int) -> list[Any]:
        return [
            self._pair(item, depth) if _is_pair(item) else self._replace(item, _Kind.OTHER, depth)
            for item in headers
        ]

    def _pair(self, pair: Any, depth: int) -> Any:
        value = self._value_of_pair(pair, _Kind.OTHER, depth)
        return pair if value is pair[1] else type(pair)((pair[0], value))

    def _value_of_pair(self, pair: Any, kind: _Kind, depth: int) -> Any:
        if not self._is_worth_a_look(pair[1]):
            return pair[1]
        inner = _kind_of_header(_fold(pair[0]))
        if inner is _Kind.KEPT:
            return pair[1]
        return self._replace(pair[1], kind if inner is _Kind.OTHER else inner, depth)

    def _replace(self, value: Any, kind: _Kind, depth: int) -> Any:
        """Return what a value becomes; a mapping or list is itself, and is changed later."""
        if isinstance(value, (str, bytes)):
            return self._cut_text(value, kind) if self._mentions(value) else value
        if depth > _DEEPEST:
            return value
        if type(value) is tuple:
            memo = (id(value), kind, depth)
            if memo not in self._replaced:
                self._replaced[memo] = value, self._tuple(value, kind, depth)
            return self._replaced[memo][1]
        if type(value) in _CONTAINERS:
            self._pending[depth].append((value, kind))
        return value

    def _tuple(self, value: tuple[Any, ...], kind: _Kind, depth: int) -> tuple[Any, ...]:
        if not self._may_enter(value, kind):
            return value
        changed = self._items(value, kind, depth)
        if not changed:
            return value
        items = list(value)
        for index, item in changed:
            items[index] = item
        return tuple(items)

    def _items(self, items: Any, kind: _Kind, depth: int) -> list[tuple[int, Any]]:
        """Return what items of a list or tuple become, by index, where they change."""
        if kind in (_Kind.OTHER, _Kind.SHARED) and _is_pair(items):
            # A name and its value, as in the headers of a nested request.
            new = [items[0], self._value_of_pair(items, kind, depth + 1)]
        else:
            new = [self._replace(item, kind, depth + 1) for item in items]
        return [(index, item) for index, item in enumerate(new) if item is not items[index]]

    # Texts.

    def _mentions(self, text: str | bytes) -> bool:
        """Whether the parameter's name, or an escape, is in a text."""
        if isinstance(text, bytes):
            return b"%" in text or self._raw_name in text
        return "%" in text or self._name in text

    def _cut_text(self, text: str | bytes, kind: _Kind) -> str | bytes:
        spelled = text.decode("latin-1") if isinstance(text, bytes) else text
        result = self._texts.get((spelled, kind))
        if result is None:
            result = self._texts[spelled, kind] = self._cut(spelled, kind)
        if result == spelled:
            return text
        return result.encode("latin-1") if isinstance(text, bytes) else result

    def _cut(self, text: str, kind: _Kind) -> str:
        if kind is _Kind.QUERY:
            rest = cut(text, self._name)[0]
            # A proxy may repeat the query with its `?`, or with all that stands before it: the name
            # of the first parameter would be `?ott`, and the token stay.
            return cut_target(rest, self._name) if _BEGINS_AS_TARGET.match(rest) else rest
        if kind is _Kind.TARGET:
            path, mark, query = text.partition("?")
            # A query that was cut already is not cut again: 64 kB of links would take 4 ms.
            if query == self._query and "#" not in text:
                return path + (mark if self._rest else "") + self._rest
            return cut_target(text, self._name)
        # Repeated headers are joined by commas: what comes after the first is found as in others.
        return self._cut_known(cut_target(text, self._name) if kind is _Kind.URL else text)

    def _cut_known(self, text: str) -> str:
        """Cut the parameters that the query had from the URLs in a text.

        The client chose the parameter's value, so it could take any `ott=A` out of what a proxy
        says about it. Only what is behind a `?`, `&` or `;` of a URL is cut.
        """
        # Attack: a header of 64 kB that is all marks, separators and blanks. A loop over the parts
        # between them takes 25 ms. Only the surroundings of what may be a copy of a link are looked
        # at in Python; the patterns and searches find them in C.
        if not self._values or not self._mentions(text):
            return text
        done = 0
        cut_ones: list[str] = []
        known: dict[str, str] = {}
        while copy := self._next_copy(text, done):
            begin = 1 + max(text.rfind(blank, done, copy.start()) for blank in _BLANKS)
            begin, end = max(begin, done), _end_of(_PIECE, text, copy.end())
            piece = text[begin:end]
            if piece not in known:
                known[piece] = self._cut_piece(piece)
            cut_ones += text[done:begin], known[piece]
            done = end
        return "".join((*cut_ones, text[done:])) if done else text

    def _next_copy(self, text: str, begin: int) -> re.Match[str] | None:
        for candidate in self._candidates.finditer(text, begin):
            if self._cuts(candidate[1]):
                return candidate
        return None

    def _cuts(self, spelling: str) -> bool:
        """Return whether a parameter is a copy of a link: of each spelling it is found out once."""
        is_copy = self._is_copy.get(spelling)
        if is_copy is None:
            is_copy = self._is_copy[spelling] = self._left_of(spelling) != spelling
        return is_copy

    def _cut_piece(self, piece: str) -> str:
        begins = _URL_BEGINS.search(piece)
        if begins is None:
            return piece
        url = self._without_neighbours(piece[begins.end() :])
        done, cut_ones = 0, [piece[: begins.end()]]
        known: dict[str, tuple[str, str, str]] = {}
        while copy := self._next_copy(url, done):
            # The mark of the part that the copy is in: the path alone has none.
            mark = max(url.rfind("?", done, copy.end()), url.rfind("#", done, copy.end()))
            begin, end = max(mark, done), _end_of(_PART, url, copy.end())
            part = begin if mark < 0 else begin + 1
            if url[begin:end] not in known:
                known[url[begin:end]] = self._without(url[begin:part], url[part:end])
            cut_ones += url[done:begin], *known[url[begin:end]]
            done = end
        return "".join((*cut_ones, url[done:]))

    def _without_neighbours(self, url: str) -> str:
        """Return a URL without those copies of the links that stand between equal separators.

        Attack: thousands of copies. Each would be looked at in Python.
        """
        if len(url) < _MANY:
            return url
        spellings = set(self._starts.findall(url))
        if len(spellings) > _MOST_SPELLINGS:
            return url
        for spelling in spellings:
            if self._left_of(spelling):
                continue  # no copy, or one that something follows
            for separator in "&;":
                copy = f"{separator}{spelling}{separator}"
                # Of copies in a row each round replaces every other one.
                while copy in url:
                    url = url.replace(copy, separator)
        return url

    def _without(self, mark: str, part: str) -> tuple[str, str, str]:
        """Return a part of a URL without the parameters that the query had.

        :param mark: what stands before the part: only a `?` begins with a parameter.
        :return: what followed a parameter at the very beginning; the mark, unless nothing is left
            behind it; the rest.
        """
        follows = ""
        kept: list[str] = []
        first = mark != "?"
        for parameters in self._around_copies(part, "&"):
            rest: list[str] = []
            for each in self._around_copies(parameters, ";"):
                left = each if first else self._left_of(each)
                first = False
                if left == each:
                    rest.append(each)
                elif rest:
                    rest[-1] += left
                elif kept:
                    kept[-1] += left
                else:
                    follows += left
            if rest:
                kept.append(";".join(rest))
        whole = "&".join(kept)
        return follows, mark if whole or not part else "", whole

    def _around_copies(self, text: str, separator: str) -> list[str]:
        """Split a text at separators, but what has no copy of a link is left in one."""
        done, pieces = 0, []
        for copy in self._starts.finditer(text):
            at = copy.end()
            if at < done or not self._cuts(copy[1]):
                continue
            begin = max(text.rfind(separator, done, at) + 1, done)
            end = text.find(separator, at)
            if end < 0:
                end = len(text)
            if begin > done:
                pieces.append(text[done : begin - 1])
            pieces.append(text[begin:end])
            done = end + 1
        if done <= len(text):
            pieces.append(text[done:])
        return pieces

    def _left_of(self, parameter: str) -> str:
        """Return what is left of a parameter: itself, or nothing, or the comma that follows it."""
        key, _, spelled = parameter.partition("=")
        if len(spelled) >= _SHORTEST and is_named(key, self._name):
            for run in _RUNS:
                match = run.match(spelled)
                if match and value_of(match[0]) in self._values:
                    return spelled[match.end() :]
        return parameter


def _end_of(pattern: re.Pattern[str], text: str, begin: int) -> int:
    found = pattern.match(text, begin)
    return found.end() if found is not None else begin


def _is_pair(items: Any) -> bool:
    """Whether these are a header's name and value; no two URLs are."""
    if type(items) not in (list, tuple) or len(items) != 2:
        return False
    name = items[0].decode("latin-1") if isinstance(items[0], bytes) else items[0]
    return isinstance(name, str) and _HEADER_NAME.fullmatch(name) is not None
