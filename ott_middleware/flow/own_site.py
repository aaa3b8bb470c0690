"""Which site this is: the origins that are its own, and those that it hands visitors over to.

There are two notions of an own origin, and they must not be mixed up:

- for the Origin rule: the scheme and Host of the request will do. A page is of the same origin as
  its request, whatever the site is called.
- for bound tokens: the origin must be *configured*. Host, Origin and a body are the client's to
  choose. A site that was sent a link could claim to be the target here, and get this site's cookie.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any

from ..errors import ConfigurationError, InvalidTarget, SessionUnavailable
from ..hooks import hook_failed
from ..http.idn import encode_host
from ..http.messages import Request
from ..http.origins import Origin, SeenOrigin, is_loopback, origin_of_host, own_origin
from ..http.urls import values_named
from ..http.whatwg_url import WebURL
from ..options import Options, warn_of_shared_cookies
from ..sessions.hosts import exact_hosts, hosts_of

logger = logging.getLogger("ott_middleware")

_AUDIENCE = "audience"
_NO_URL = (
    "not an absolute URL: a link needs the scheme and the host of the site that it leads to; pass "
    "one like 'https://b.example/welcome'"
)
_is_socket = re.compile(r"wss?:", re.IGNORECASE).match
# One origin may be spelled in two ways.
_MOST_AUDIENCES = 2
_DEFAULT_PORTS = {"http": "80", "https": "443"}
# What has been warned of in this process.
_warned: list[Origin] = []


class OwnSite:
    """The site that a middleware serves.

    :raises ConfigurationError: a handoff target is this site itself.
    """

    def __init__(self, options: Options) -> None:
        self._own = options.own
        self._query_param = options.query_param
        self._adapter = options.adapter
        self._layers = options.host_layers
        self._targets = options.targets
        exact = (target.origin.exact for target in options.targets)
        self._target_origins = frozenset(origin for origin in exact if origin is not None)
        for origin in () if self._own else sorted(self._target_origins, key=str):
            if self._is_named_now(origin):
                raise ConfigurationError(
                    f"handoff_targets: {origin} is this site's own by the host names that its "
                    "framework allows; leave it out of one of the two, or pass public_origin= with "
                    "this site's origins"
                )

    def _is_named_now(self, origin: Origin) -> bool:
        # Every name of this machine counts as own, so that here it proves nothing: two sites of
        # one machine may be told apart by their ports.
        try:
            return not is_loopback(origin.host) and self._is_named(origin)
        except SessionUnavailable:
            return False  # asked again, and reported, when a token is redeemed

    def same_origin(self, request: Request) -> Origin | None:
        """Return the own origin for the Origin rule."""
        if len(self._own) > 1:
            return origin_of_host(request, self._own)
        return own_origin(request, self._own[0] if self._own else None)

    def scheme(self, request: Request) -> str:
        """Return the scheme that browsers see."""
        own = self.same_origin(request) if self._own else None
        if own is not None:
            return own.scheme
        # No own origin: where all that are listed are https, cookies stay Secure. Where all are
        # http, what the server says stands: it may be https after all.
        if self._own and all(each.scheme == "https" for each in self._own):
            return "https"
        return request.scheme

    def configured_origin(self, request: Request) -> str | None:
        """Return the origin that this site is configured to be at this request, or None.

        Tokens that are bound to that origin, and no others, can be redeemed here for a session.
        """
        seen = self.same_origin(request)
        if seen is None or self._own:
            return None if seen is None else str(seen)
        if not self._is_own(seen, request):
            return None
        # An Origin with the scheme that the app sees says that there is no TLS proxy: a page that
        # came by http must not redeem what was meant for https.
        insecure = Origin.parse(request.header("origin")) == seen
        return str(seen) if insecure else SeenOrigin(seen)

    def _is_own(self, origin: Origin, request: Request) -> bool:
        """Return whether the origin of a Host is an own one without `public_origin`."""
        # The app may see http where the browser sees https: a target in either scheme is a target.
        # Without this, a target on the same machine could come with its own Host and be this site.
        seen_as = {origin, origin.secured()}
        if seen_as & self._target_origins:
            return False
        if not is_loopback(origin.host):
            return self._is_named(origin)
        # A wildcard (`http://localhost:*`) says nothing about a single origin: the port at which
        # the server listens tells this site from the other ones.
        port = origin.port or _DEFAULT_PORTS.get(origin.scheme)
        return port == str(listening_port(request)) or not any(
            target.origin.matches(each) for target in self._targets for each in seen_as
        )

    def _is_named(self, origin: Origin) -> bool:
        """Return whether the framework's configuration names the host of an origin."""
        # A name without a port stands for the scheme's own port: at any other port of the same
        # host there may be another site, and only the client says which one it asked. (A proxy may
        # add its own port, which is that of https, to the Host of a request that is http here.)
        default = not origin.port or (origin.scheme, origin.port) == ("http", "443")
        host = origin.host if default else f"{origin.host}:{origin.port}"
        try:
            return host in (
                exact_hosts(self._adapter.own_hosts()) | exact_hosts(hosts_of(self._layers))
            )
        except Exception as error:
            # Nothing was taken yet: the link is still good when the adapter is.
            name = f"{type(self._adapter).__name__}.own_hosts or the app's host names"
            raise hook_failed(name, error, hint="return a list of names") from error

    def is_own(self, origin: Origin, request: Request) -> bool:
        """Return whether a token may be bound to an origin since it is this site's own."""
        if self._own:
            return origin in self._own
        seen = self.same_origin(request)
        if seen is not None and seen.covers(origin) and self._is_own(seen, request):
            return True
        # Another name of this site; never http where the browser came by https.
        return (
            origin.scheme in ("https", request.scheme)
            and origin not in self._target_origins
            and self._is_named(origin)
        )

    def link_target(
        self,
        url: object,
        request: Request,
        audience: str | None = None,
        channel: str = "handoff",
    ) -> tuple[str, Origin]:
        """Return a URL that may be linked to, with its host name in ASCII, and its origin.

        :param audience: the origin that the app wants the token to be bound to, if it names one.
        :param channel: of the token.
        :raises InvalidTarget: no absolute URL; neither a target nor this site's own; or the
            audience is another origin.
        :raises ConfigurationError: links are turned off.
        """
        if self._query_param is None:
            raise ConfigurationError(
                "query_param: is None, which turns links off; leave it out, or use generate()"
            )
        url = _absolute_url(url)
        origin = Origin.of_url(url)
        if origin is None:
            raise InvalidTarget(_NO_URL)
        if channel != "websocket" and _is_socket(url):
            raise InvalidTarget(
                f"channel: {channel!r}, and the URL is a WebSocket's; pass channel='websocket'"
            )
        # A link is as good as a password to the site that it points to.
        allowed = any(target.allows(origin, url) for target in self._targets)
        if not (allowed or self.is_own(origin, request)):
            raise InvalidTarget(
                f"{origin}: name it (and where there is a path prefix, that path) in "
                "handoff_targets, or in public_origin if it is this site's own"
            )
        if allowed:
            self._warn_of_shared_cookies(origin, request)
        # Attack: a token that is bound to another site than the one that it is sent to leaks to the
        # first and is good at the second. A link is bound to the origin that it points to.
        if audience is not None and Origin.parse(encode_host(audience)) != origin:
            raise InvalidTarget(
                f"audience: {audience!r} is not the origin of the URL, {origin}; leave it out"
            )
        return url, origin

    def allows_handoff(self, url: WebURL, request: Request, *, own: bool) -> bool:
        """Return whether a navigation may hand its visitor over to a URL.

        :param own: whether a URL of this site is allowed.
        """
        # Attack: any page may link here, with a target of its choice. A wildcard, which counts for
        # links that the app makes, would let it choose a host that an attacker controls.
        listed = any(
            target.origin.exact == url.origin and target.allows(url.origin, str(url))
            for target in self._targets
        )
        if listed:
            self._warn_of_shared_cookies(url.origin, request)
        return listed or (own and self.is_own(url.origin, request))

    def named_audience(self, request: Request) -> str | None:
        """Return the origin that a generate request wants its token to be bound to, or None.

        :raises InvalidTarget: an audience is named, and a token can't be bound to it.
        """
        distinct = values_named(request.query, _AUDIENCE)
        if distinct is None:
            return None
        # Attack: 4 KiB of international names, for which the codec takes a long time.
        if len(distinct) > _MOST_AUDIENCES:
            distinct.clear()
        origins = {Origin.parse(encode_host(_utf8(value))) for value in distinct}
        origin = origins.pop() if len(origins) == 1 else None
        if origin is None or not (origin in self._target_origins or self.is_own(origin, request)):
            raise InvalidTarget(
                why="audience: names no origin, or two"
                if origin is None
                else f"audience: {origin} is neither in handoff_targets nor this site's own"
            )
        if origin in self._target_origins:
            self._warn_of_shared_cookies(origin, request)
        return str(origin)

    def _warn_of_shared_cookies(self, target: Origin, request: Request) -> None:
        """Warn, once a process, of a token for another site on the host of this one."""
        own = self.same_origin(request)
        if own is not None and own.host == target.host and not own.covers(target):
            warn_of_shared_cookies(str(target))

    def warn_of_set_up(self, bound_to: Origin, own: str | None) -> None:
        """Warn, once a process, where the set-up may be why a bound token was refused.

        :param bound_to: the origin that the token is bound to.
        :param own: what `configured` returned for the request.
        """
        if self._own:
            if own is None:
                _warn_once(
                    "a token bound to %s was refused: the Host of the request names none of "
                    "public_origin; let the proxy pass the browser's Host on, or pass one origin",
                    bound_to,
                )
            return
        seen = Origin.parse(own)
        # A proxy that does not pass Host on asks by a loopback name. That name is an own one, but
        # not the one that browsers know.
        if seen is None or (is_loopback(seen.host) and not is_loopback(bound_to.host)):
            _warn_once(
                "a token bound to %s was refused: nothing says which site this is, and a request's "
                "Host proves nothing; pass public_origin= with this site's own origin, or a list "
                "of them, as browsers see them",
                bound_to,
            )


def _absolute_url(url: object) -> str:
    """Return the URL that a link is to lead to, with its host name in ASCII.

    :raises InvalidTarget: it is no text, or no absolute URL.
    """
    if not isinstance(url, str):
        raise InvalidTarget(f"the URL is a {type(url).__name__}; pass a str: str(url), or await it")
    # Browsers drop tabs and newlines and read a backslash as a slash: such a URL could point
    # to another host, or to another path, than the one that is checked here.
    if not url.isprintable() or "\\" in url:
        raise InvalidTarget(_NO_URL)
    # Checked in the form that the link has: what reads the link may encode the name otherwise.
    return encode_host(url)


def _utf8(value: str) -> str:
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


def _warn_once(message: str, bound_to: Origin) -> None:
    if not _warned:
        _warned.append(bound_to)
        logger.warning(message, bound_to)


def listening_port(request: Request) -> Any:
    """Return the port that the server says it listens at, or None."""
    server = request.carrier.get("server")
    if isinstance(server, Iterable) and not isinstance(server, str):
        return [*server, None, None][1]
    return request.carrier.get("SERVER_PORT")
