"""Origins (RFC 6454), the patterns that options name, and the Origin rule.

One module, though it is long: the rule compares what the rest parses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import ConfigurationError, InvalidOrigin, MissingOrNullOrigin
from ..reasons import quote
from .idn import encode_host
from .messages import Request
from .urls import _AUTHORITY, resolved_path

_ORIGIN = re.compile(
    # Attack: 64 kB of labels in `Host` or `Origin`. No host name is over this length.
    r"(?=.{1,512}\Z)"
    r"(?P<scheme>[a-z][a-z0-9+.\-]*)://"
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_\-]+(?:\.[a-z0-9_\-]+)*\.?|)"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}
# A WebSocket's URL has a scheme of its own, and leads to the server of the page's origin.
_SCHEMES_OF_SOCKETS = {"ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True)
class Origin:
    """A web origin (RFC 6454), normalised: lower case, without the scheme's own port."""

    scheme: str
    host: str
    port: str

    @classmethod
    def parse(cls, text: str | None) -> Origin | None:
        """Return the origin that a text is the serialisation of; None for others, and `null`.

        `ws` and `wss` are parsed as `http` and `https`.
        """
        # Attack: the Kelvin sign, of which lower() makes "k": the text would pass for a host that
        # it is not. Only ASCII is parsed.
        match = _ORIGIN.fullmatch(text.lower()) if text and text.isascii() else None
        if match is None:
            return None
        scheme, host, port = match["scheme"], match["host"], match["port"] or ""
        scheme = _SCHEMES_OF_SOCKETS.get(scheme, scheme)
        if not host and scheme in _DEFAULT_PORTS:
            return None
        if port:
            if int(port) > 65535:
                return None
            port = "" if _DEFAULT_PORTS.get(scheme) == str(int(port)) else str(int(port))
        return cls(scheme, host, port)

    @classmethod
    def of_url(cls, url: str | None) -> Origin | None:
        """Return the origin of an absolute URL; None for any other text."""
        match = _AUTHORITY.match(url) if url else None
        return cls.parse(match[0]) if match else None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}" + (f":{self.port}" if self.port else "")

    def covers(self, named: Origin) -> bool:
        """Return whether this origin, as the app sees itself, is the one that was named.

        Behind a proxy that ends TLS, an app at `https://H` sees `http://H`: the same site. The
        reverse does not hold: text for `http://H` can be read by any attacker on the network.
        """
        return named == self or (self.scheme == "http" and named == self.secured())

    def secured(self) -> Origin:
        """Return the origin of the same host and port by https."""
        return Origin("https", self.host, "" if self.port == "443" else self.port)


class SeenOrigin(str):
    """An origin as the app itself sees it, which a TLS proxy may have changed: see `covers`."""

    __slots__ = ()


class NamedOrigin(str):
    """An origin that a server named in its request: only a token bound to that origin is valid."""

    __slots__ = ()


def own_origin(request: Request, public_origin: Origin | None) -> Origin | None:
    """Return this site's own origin by the Origin rule: the configured one, else scheme and Host.

    A Host is enough to compare the origin of a page with that of its request, but no proof of which
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
        """:raises ConfigurationError: the text is no origin, or would trust the whole web."""

        def refuse(cure: str) -> ConfigurationError:
            return ConfigurationError(f"{option}: {text!r} is not an origin; {cure}")

        example = "write one like 'https://app.example.com', without a path"
        if not str(text).isascii():
            example += " (this international name as 'xn--…')"
        if not isinstance(text, str):
            raise refuse(example)
        plain = encode_host(text)
        if any_port := plain.endswith(":*"):
            plain = plain[:-2]
        scheme, mark, host = plain.partition("://")
        if subdomains := host.startswith("*."):
            host = host[2:]
        origin = Origin.parse(f"{scheme}{mark}{host}")
        if origin is None:
            raise refuse(example)
        # Attack: a wildcard right above a top-level domain trusts an attacker that registers a name
        # below it. Both spellings of the domain, with and without a dot at the end, are refused.
        if subdomains and "." not in origin.host[:-1] and origin.host != "localhost":
            raise refuse("name the domain that the wildcard stands in, as 'https://*.example.com'")
        return cls(origin.scheme, origin.host, "*" if any_port else origin.port, subdomains)

    def matches(self, origin: Origin) -> bool:
        """Return whether the origin matches this entry."""
        # Attack: evil-example.com. The dot is part of the comparison, so that only subdomains match
        # a wildcard.
        host = (
            origin.host.endswith("." + self.host) if self.subdomains else origin.host == self.host
        )
        return host and origin.scheme == self.scheme and self.port in ("*", origin.port)

    def __str__(self) -> str:
        host = f"*.{self.host}" if self.subdomains else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port else "")

    @property
    def exact(self) -> Origin | None:
        """The only origin that matches; None for an entry with a wildcard."""
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

    :ivar origin: the target's origin; a wildcard counts for links only.
    :ivar prefix: the path that the path of a link must equal or be below; None for any path.
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
        # A link's path is compared as the browser resolves it: any other spelling never matches.
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
        # /app does not allow /application, which may be another app.
        inside = self.prefix if self.prefix.endswith("/") else self.prefix + "/"
        return path == self.prefix or path.startswith(inside)


def is_among(origin: Origin, patterns: Iterable[OriginPattern]) -> bool:
    """Return whether one of the patterns matches."""
    return any(pattern.matches(origin) for pattern in patterns)


def check_same_origin(request: Request, own: Origin | None) -> None:
    """Refuse a form that was not posted by a page of this very origin.

    Attack: a page of another site, or of a subdomain, posts a form of this site's pages, and so
    signs its visitor in as the attacker. These lines go by what the browser says of the page. They
    are stricter than the Origin rule: a form is never posted by a client that is no browser, so
    that a request that does not tell its page is refused.

    :raises InvalidOrigin: the page is of another origin, trusted or not.
    :raises MissingOrNullOrigin: the origin of the page is not known.
    """
    site = request.header("sec-fetch-site")
    origin, referer = request.header("origin"), request.header("referer")
    if site not in (None, "same-origin", "none"):
        raise InvalidOrigin(why=f"Sec-Fetch-Site of a form is {quote(site)}, not same-origin")
    if origin == "null":
        raise MissingOrNullOrigin(why="the page has no origin of its own (Origin: null)")
    if origin is None and referer is None:
        if site != "same-origin":
            raise MissingOrNullOrigin(why="a form was posted with neither Origin nor Referer")
        return
    source = Origin.parse(origin) if origin is not None else Origin.of_url(referer)
    if source is None or own is None or not own.covers(source):
        raise InvalidOrigin(
            why=f"a form was posted by a page of {source or 'no origin'}, not of this site's own "
            f"({own or 'not known'})"
        )


def check_origin(request: Request, own: Origin | None, trusted: Iterable[OriginPattern]) -> None:
    """Apply the Origin rule: refuse requests that a page of an untrusted origin caused.

    `Origin` (RFC 6454 section 7), else `Referer`, else Fetch Metadata (W3C Fetch Metadata Request
    Headers) names the page that caused the request. A request without all three does not come from
    a browser, so that it carries no visitor's cookies without the visitor's knowledge.

    :raises InvalidOrigin: the origin is known and not trusted.
    :raises MissingOrNullOrigin: a browser sent the request and the origin is not known.
    """
    site = request.header("sec-fetch-site")
    origin, referer = request.header("origin"), request.header("referer")
    if origin == "null":
        # Sandboxed frames and some redirects send null: only Fetch Metadata, which pages cannot
        # forge, tells then.
        if site != "same-origin":
            raise MissingOrNullOrigin(why="the page has no origin of its own (Origin: null)")
        return
    if origin is not None or referer is not None:
        source = Origin.parse(origin) if origin is not None else Origin.of_url(referer)
        if source is None:
            name = "Origin" if origin is not None else "Referer"
            raise InvalidOrigin(why=f"{name} holds no origin")
        if not ((own and own.covers(source)) or is_among(source, trusted)):
            raise InvalidOrigin(
                why=f"{source} is neither this site's own origin ({own or 'not known'}) nor in "
                "trusted_origins"
            )
        return
    if site not in (None, "same-origin", "none"):
        raise MissingOrNullOrigin(
            why="a browser sent neither Origin nor Referer, and Sec-Fetch-Site is " + quote(site)
        )
