"""Query strings, paths and origins: pure functions, and the rules that keep them on this host.

The strings are those of `ott_middleware.http`: one character a byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote, unquote_to_bytes

from .client_text import MAX_SPELLED_PATH
from .errors import ConfigurationError, InvalidOrigin, MissingOrNullOrigin
from .http import Request

_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#\\]*")
_ORIGIN = re.compile(
    # Longer than any host name: 64 kB of labels in `Host` or `Origin` are not looked at.
    r"(?=.{1,512}\Z)"
    r"(?P<scheme>[a-z][a-z0-9+.\-]*)://"
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_\-]+(?:\.[a-z0-9_\-]+)*\.?|)"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}


# A token has at most 512 characters, and a percent-encoded one three times as many.
_LONGEST_VALUE = 3 * 512


def is_named(key: str, name: str) -> bool:
    """Whether a parameter's key, as sent, is a spelling of that name."""
    # By a pattern, since decoding each of the thousands of keys that a client can send would take
    # the server tens of milliseconds.
    return key == name or ("%" in key and _spelling(name)(key) is not None)


@lru_cache(maxsize=16)
def _spelling(name: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(letters_of(name)).fullmatch


def value_of(spelled: str) -> str:
    """A parameter's value, percent-decoded unless it is too long for any token."""
    # Without the limit, a value of 64 kB would be decoded to be refused.
    if "%" not in spelled or len(spelled) > _LONGEST_VALUE:
        return spelled
    return unquote(spelled, "latin-1")


def cut(query: str, name: str) -> tuple[str, tuple[str, ...]]:
    """Cut every parameter of that name from a query.

    Parameters are separated by `&`. Parsers that split at `;` too (`cgi` of old Pythons, some
    servers' own) would find the token in `a=1;ott=T`: it is cut there as well, but is no link, so
    that the value is not among those returned.

    :param query: as sent; what is kept is kept byte for byte, in order.
    :param name: ASCII; a percent-encoded spelling of it counts.
    :return: the rest of the query, and the percent-decoded values of the links in order.
    """
    rest, links, _ = divide(query, name)
    return rest, tuple(map(value_of, links))


def divide(query: str, name: str) -> tuple[str, list[str], list[str]]:
    """Return the rest of a query, the values of that name, and those behind a `;`, as sent."""
    return _cutter(name, "&").divide(query)


def cut_target(target: str, name: str) -> str:
    """What was requested, without the parameters of that name, otherwise byte for byte.

    A request target has no fragment (RFC 9112 section 3.2). Servers that are sent one all the same
    differ in whether it belongs to the query: the name is cut on either side of a `#`.
    """
    path, question_mark, query = target.partition("?")
    # Behind a `#` a parameter begins as behind an `&`, which stands there only for the cut.
    rest = _cutter(name, "&#").divide(query.replace("#", "#&"))[0].replace("#&", "#")
    if rest == query:
        return target
    return path + (question_mark if rest.partition("#")[0] else "") + rest


class _Cutter:
    """Cuts one parameter from queries, by regular expressions alone.

    A client can send tens of thousands of parameters. A loop over them in Python would take the
    server tens of milliseconds for a request of 64 kB.

    :param name: of the parameter.
    :param ends: the characters that end a parameter.
    """

    def __init__(self, name: str, ends: str) -> None:
        letters = letters_of(name)
        link = rf"&{letters}(?:=([^{ends}]*))?(?=[{ends}]|\Z)"
        piece = rf";{letters}(?:=([^{ends};]*))?(?=[{ends};]|\Z)"
        self._links, self._pieces = re.compile(link), re.compile(piece)
        # Neighbours are cut at once.
        self._cut_links = re.compile(f"(?:{link})+")
        self._cut_pieces = re.compile(f"(?:{piece})+")
        # The first piece has no `;` before it. It has no value either: with one, it is a link.
        self._first_piece = re.compile(rf"&{letters};")

    def divide(self, query: str) -> tuple[str, list[str], list[str]]:
        rest = f"&{query}"
        links = self._links.findall(rest)
        if links:
            rest = self._cut_links.sub("", rest)
        others: list[str] = self._pieces.findall(rest)
        if others:
            # Where all pieces behind the first are cut, the first may be left as a link would be.
            rest = self._links.sub("", self._cut_pieces.sub("", rest))
        rest = self._first_piece.sub("&", rest)
        return rest.removeprefix("&"), links, others


@lru_cache(maxsize=16)
def _cutter(name: str, ends: str) -> _Cutter:
    return _Cutter(name, ends)


def cut_url(url: str, name: str) -> str:
    """A URL without the parameters of that name in its query, otherwise byte for byte."""
    before, hash_mark, fragment = url.partition("#")
    return cut_target(before, name) + hash_mark + fragment


def add_parameter(url: str, name: str, value: str) -> str:
    """A URL with one parameter of that name: this one, the last of its query."""
    before, hash_mark, fragment = cut_url(url, name).partition("#")
    joint = "&" if "?" in before else "?"
    return f"{before}{joint}{name}={value}{hash_mark}{fragment}"


#: What the paths of this package contain, under whatever prefix.
PATH_MARK = "/one-time-token/"

#: Stands for the link parameter's name where links are off: no server lets it into a query.
NO_PARAM = "\0"


def letters_of(name: str) -> str:
    """A pattern that matches every percent-encoded spelling of a name."""
    return "".join(f"(?:{re.escape(each)}|%(?i:{ord(each):02x}))" for each in name)


def spellings_of(name: str) -> str:
    """A pattern that finds in `"&" + query` a parameter that `cut` would cut, and nothing else.

    It knows no `;`: a query that has one is searched with `&` in the place of each. The pattern
    begins with a character, not with a choice: such a pattern is searched ten times as fast.
    """
    return rf"&{letters_of(name)}(?:[=&]|\Z)"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def path_of(target: str) -> str:
    """The path of a request target, absolute form included (RFC 9112 section 3.2.2)."""
    # The authority is the client's to choose: it never decides where a redirect goes.
    match = _AUTHORITY.match(target)
    return target[match.end() if match else 0 :].partition("?")[0].partition("#")[0]


def browser_path(spelled: str | None, mount: bytes, path: bytes) -> str:
    """The path that the browser asked for, percent-encoded, safe as a `Location`.

    :param spelled: the request target as it was sent, where the server tells. It is believed as far
        as it says the same as `mount` and `path`, and preserves their spelling (`%2F`, say).
    :param mount: the prefix that the application is mounted at, percent-decoded.
    :param path: the rest, percent-decoded.
    """
    if spelled is not None:
        # No browser sends a "#", but servers differ in whether it ends the path.
        for raw in (path_of(spelled.replace("#", "%23")), path_of(spelled)):
            # Attack: 64 kB of escapes, decoded twice to be compared. Without its spelling such a
            # path is encoded as any other.
            if len(raw) > MAX_SPELLED_PATH:
                continue
            said = _text(unquote_to_bytes(raw.encode("latin-1")))
            if said == _text(mount + path):
                return on_this_host(_quote_spelled(raw))
            if said == _text(path):
                return on_this_host(_quote(mount) + _quote_spelled(raw))
    return on_this_host(_quote(mount + path))


def on_this_host(path: str) -> str:
    r"""A percent-encoded path as a `Location` that cannot name another host.

    Browsers take `//host` and, since they read `\` as `/` and drop tabs and newlines, several
    other spellings for a network-path reference (RFC 3986 section 4.2; WHATWG URL, relative slash
    state). By now all of these but the plain second slash are percent-encoded; that one is, here.
    """
    if not path.startswith("/"):
        path = "/" + path
    return "/%2F" + path[2:] if path.startswith("//") else path


# What `pchar` of RFC 3986 allows as it stands, and the slash; never `\`, a control or a space.
_SAFE = "/:@!$&'()*+,;=~"


def _quote(path: bytes) -> str:
    # Attack: a path of 64 kB of which quote() looks at each byte, for 4 ms. A path that is longer
    # than any that a browser sends is encoded as a whole, at once; it names the same resource.
    if len(path) > MAX_SPELLED_PATH and not path.isalnum():
        return f"%{path.hex('%').upper()}".replace("%2F", "/")
    return quote(path, safe=_SAFE)


def _quote_spelled(path: str) -> str:
    return quote(path.encode("latin-1"), safe=_SAFE + "%")


@dataclass(frozen=True, slots=True)
class Origin:
    """A web origin (RFC 6454), normalised: lower case, without the scheme's own port."""

    scheme: str
    host: str
    port: str

    @classmethod
    def parse(cls, text: str | None) -> Origin | None:
        """An origin by its serialisation; None for anything else, `null` included."""
        # Not only lower(): it makes "k" of the Kelvin sign, and a host of what is none.
        match = _ORIGIN.fullmatch(text.lower()) if text and text.isascii() else None
        if match is None:
            return None
        scheme, host, port = match["scheme"], match["host"], match["port"] or ""
        if not host and scheme in _DEFAULT_PORTS:
            return None
        if port:
            if int(port) > 65535:
                return None
            port = "" if _DEFAULT_PORTS.get(scheme) == str(int(port)) else str(int(port))
        return cls(scheme, host, port)

    @classmethod
    def of_url(cls, url: str | None) -> Origin | None:
        """The origin of an absolute URL; None for anything else."""
        match = _AUTHORITY.match(url) if url else None
        return cls.parse(match[0]) if match else None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}" + (f":{self.port}" if self.port else "")

    def covers(self, named: Origin) -> bool:
        """Whether this origin, as the app sees itself, is the one that was named.

        Behind a proxy that ends TLS, an app at `https://H` sees `http://H`: the same place. The
        reverse never is: what was meant for `http://H` could be read by anyone on the way.
        """
        secured = Origin.parse(f"https{str(self)[4:]}") if self.scheme == "http" else None
        return named in (self, secured)


class SeenOrigin(str):
    """An origin as the app itself sees it, which a TLS proxy may have changed: see `covers`."""

    __slots__ = ()


class NamedOrigin(str):
    """An origin that a server named in its request: only a token bound to that origin will do."""

    __slots__ = ()


def own_origin(request: Request, public_origin: Origin | None) -> Origin | None:
    """Return this site's own origin by the Origin rule: the configured one, else scheme and Host.

    That a page is of the same origin as its request needs no more, but a Host is no proof of which
    site this is.
    """
    if public_origin is not None:
        return public_origin
    host = request.header("host")
    return Origin.parse(f"{request.scheme}://{host}") if host else None


def origin_of_host(request: Request, public_origins: Iterable[Origin]) -> Origin | None:
    """Return the one of several public origins that the request's Host names, or None."""
    host = request.header("host")
    named = [own for own in public_origins if Origin.parse(f"{own.scheme}://{host}") == own]
    # One host may be listed with both schemes: the scheme of the request decides then.
    same_scheme = (own for own in named if own.scheme == request.scheme)
    return next(same_scheme, named[0] if named else None)


_LOOPBACK = re.compile(
    r"(?:.+\.)?localhost|\[::1\]|127(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}"
)


def is_loopback(host: str) -> bool:
    """Return whether a host (of an `Origin`) can only be this machine (RFC 6761 section 6.3)."""
    return _LOOPBACK.fullmatch(host.removesuffix(".")) is not None


@dataclass(frozen=True, slots=True)
class OriginPattern:
    """One entry of `trusted_origins`: an origin, with `*.` before its host or `*` for its port."""

    scheme: str
    host: str
    port: str
    subdomains: bool

    @classmethod
    def parse(cls, option: str, text: object) -> OriginPattern:
        """:raises ConfigurationError: the text is no origin, or would trust everyone."""

        def refuse(cure: str) -> ConfigurationError:
            return ConfigurationError(f"{option}: {text!r} is not an origin; {cure}")

        example = "write one like 'https://app.example.com', without a path"
        if not isinstance(text, str):
            raise refuse(example)
        plain = text
        if any_port := plain.endswith(":*"):
            plain = plain[:-2]
        scheme, mark, host = plain.partition("://")
        if subdomains := host.startswith("*."):
            host = host[2:]
        origin = Origin.parse(f"{scheme}{mark}{host}")
        if origin is None:
            raise refuse(example)
        # A wildcard right above a top-level domain would trust whoever registers a name there; so
        # would one above its other spelling, with a dot at the end.
        if subdomains and "." not in origin.host[:-1] and origin.host != "localhost":
            raise refuse("name the domain that the wildcard stands in, as 'https://*.example.com'")
        return cls(origin.scheme, origin.host, "*" if any_port else origin.port, subdomains)

    def matches(self, origin: Origin) -> bool:
        """Whether the origin is this one, or below it."""
        # The dot is part of the comparison: evil-example.com is not below example.com.
        host = (
            origin.host.endswith("." + self.host) if self.subdomains else origin.host == self.host
        )
        return host and origin.scheme == self.scheme and self.port in ("*", origin.port)

    def __str__(self) -> str:
        host = f"*.{self.host}" if self.subdomains else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port else "")

    @property
    def exact(self) -> Origin | None:
        """The one origin that matches; None where there is a wildcard."""
        if self.subdomains or self.port == "*":
            return None
        return Origin(self.scheme, self.host, self.port)

    def overlaps(self, other: OriginPattern) -> bool:
        """Return whether an origin could match both patterns."""
        if self.scheme != other.scheme or not (
            self.port == other.port or "*" in self.port + other.port
        ):
            return False
        return self._has_host_of(other) or other._has_host_of(self)

    def _has_host_of(self, other: OriginPattern) -> bool:
        if not self.subdomains:
            return not other.subdomains and self.host == other.host
        host = "." + other.host if other.subdomains else other.host
        return host.endswith("." + self.host)


_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~!$&'()+,;=:@\-]+)+/?")


@dataclass(frozen=True, slots=True)
class HandoffTarget:
    """One entry of `handoff_targets`.

    :ivar origin: the origin; wildcards count for links only.
    :ivar prefix: what the path of a link must begin with; None for any path.
    """

    origin: OriginPattern
    prefix: str | None = None

    @classmethod
    def parse(cls, option: str, text: object) -> HandoffTarget:
        """:raises ConfigurationError: the text is no origin, or its path can be no prefix."""
        scheme, mark, rest = text.partition("://") if isinstance(text, str) else ("", "", "")
        host, slash, path = rest.partition("/")
        if not slash:
            return cls(OriginPattern.parse(option, text))
        origin, prefix = OriginPattern.parse(option, f"{scheme}{mark}{host}"), slash + path
        if prefix == "/":
            return cls(origin)
        # Compared as text with what a browser makes of a URL: another spelling would never match.
        if (
            origin.scheme not in ("http", "https")
            or not _PREFIX.fullmatch(prefix)
            or {".", ".."} & set(prefix.split("/"))
        ):
            raise ConfigurationError(
                f"{option}: {text!r} has no path that can be a prefix; write one like "
                "'https://b.example/app/', without a query, escapes and dot segments"
            )
        return cls(origin, prefix)

    def allows(self, origin: Origin, url: str) -> bool:
        """Return whether a link may point to a URL of that origin."""
        if not self.origin.matches(origin):
            return False
        if self.prefix is None:
            return True
        path = resolved_path(url)
        if path is None:
            return False
        # /app is no prefix of /application: another app may live there.
        inside = self.prefix if self.prefix.endswith("/") else self.prefix + "/"
        return path == self.prefix or path.startswith(inside)


def resolved_path(url: str) -> str | None:
    """Return the path that a browser requests for an absolute URL (WHATWG URL, path state).

    None where a server may see another path than the browser: one that decodes `%2F` or `%5C`, or
    cuts parameters from a segment, would find a dot segment that the browser did not resolve.

    :param url: without a backslash, and without what browsers drop (tabs, newlines).
    """
    segments: list[str] = []
    parts = path_of(url).split("/")[1:] or [""]
    for part in parts:
        dots = part.lower().replace("%2e", ".")
        if dots == ".." and segments:
            segments.pop()
        elif dots not in (".", ".."):
            segments.append(part)
    if parts[-1].lower().replace("%2e", ".") in (".", ".."):
        segments.append("")
    path = "/" + "/".join(segments)
    return None if _hides_dots(path) else path


def _hides_dots(path: str) -> bool:
    raw = path.encode("utf-8", "surrogatepass")
    # Each round undoes one layer of escapes; no honest URL has more than a few.
    for _ in range(4):
        decoded = unquote_to_bytes(raw).replace(b"\\", b"/")
        if any(each.partition(b";")[0].strip() == b".." for each in decoded.split(b"/")):
            return True
        if any(byte < 0x20 for byte in decoded):
            return True
        if decoded == raw:
            return False
        raw = decoded
    return True


def is_among(origin: Origin, patterns: Iterable[OriginPattern]) -> bool:
    """Whether one of the patterns matches."""
    return any(pattern.matches(origin) for pattern in patterns)


def check_origin(request: Request, own: Origin | None, trusted: Iterable[OriginPattern]) -> None:
    """The Origin rule: refuse what a page of an untrusted origin made the browser send.

    `Origin` (RFC 6454 section 7), else `Referer`, else Fetch Metadata (W3C Fetch Metadata Request
    Headers) tells who asks. A request with none of them comes from no browser, and nobody's
    cookies ride along unasked.

    :raises InvalidOrigin: the origin is known and not trusted.
    :raises MissingOrNullOrigin: a browser asks and the origin is not known.
    """
    site = request.header("sec-fetch-site")
    origin, referer = request.header("origin"), request.header("referer")
    if origin == "null":
        # Sandboxed frames and some redirects send null; only the browser's own word helps then.
        if site != "same-origin":
            raise MissingOrNullOrigin
        return
    if origin is not None or referer is not None:
        source = Origin.parse(origin) if origin is not None else Origin.of_url(referer)
        if source is None or not ((own and own.covers(source)) or is_among(source, trusted)):
            raise InvalidOrigin
        return
    if site not in (None, "same-origin", "none"):
        raise MissingOrNullOrigin
