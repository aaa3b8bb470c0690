"""The options: their documentation, their defaults and their checks.

Every `ConfigurationError` names the option, the value and what to write instead; it never shows a
secret. Longer than 300 lines, since the docstrings of the options are their page of the
documentation.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .apps import check_app
from .backends.registry import AnyBackend, backend_of
from .errors import ConfigurationError, RequestError
from .events import OnEvent
from .http.addresses import Network, TrustedProxies
from .http.messages import Request, Response
from .http.origin_options import parse_list, parse_public_origins
from .http.origins import HandoffTarget, Origin, OriginPattern
from .http.page_texts import PageName
from .http.pages import ShowPage
from .issuer_options import Issuer, Protected, check_issuer_options
from .page_options import check_page_options
from .rate_options import Rate, parse_rates
from .sessions.base import SessionAdapter
from .sessions.cookie import CookieSession
from .sessions.detect import adapter_of
from .sessions.hosts import layers_with_hosts
from .tokens.options import TokenOptions, TokenOptionValues

if TYPE_CHECKING:
    from .tokens.protocol import TokenService

logger = logging.getLogger("ott_middleware")

OnReplay = Literal["ignore", "revoke"]
OnSwitch = Literal["ask", "keep", "replace"]
OnInvalid = Callable[[Request, RequestError], "Response | Awaitable[Response]"]


class OptionValues(TokenOptionValues, total=False):
    """The options of `OTTMiddleware`: keyword arguments, the same for ASGI and WSGI."""

    session: Literal["auto"] | str | Sequence[str] | SessionAdapter
    """How to find the session of a request: a `SessionAdapter`, the name of the session cookie, a
    list of such names, or `"auto"`, which chooses the adapter for the framework of the wrapped app
    (Django, Flask, or Starlette's `SessionMiddleware`). Default: `"auto"`."""

    backend: AnyBackend | None
    """Where tokens are stored until they are redeemed: a `Backend`, an object with `put` and
    `take`, or a URL (`memory://`, `sqlite:///path`, `redis://…`, `postgresql://…`, or one of
    `register_backend`). Default: `None`, a new `MemoryBackend` for this middleware."""

    tokens: TokenService | None
    """A ready `TokenService`, instead of `backend` and the options of tokens. Default: `None`, a
    `OneTimeTokens` made from these options."""

    disable_client_request: bool
    """Whether only the app can make tokens, by its handle: the generate path responds with 400.
    Default: `False`."""

    disable_set_session_cookie: bool
    """Whether the verify path only returns the session, and sets no cookie. Default: `False`."""

    set_ott_header_on_new_session: bool
    """Whether a response of the app that signs a user in has a token in its header `set-ott`.
    The response to a request that carried a link gets none. Default: `False`."""

    revoke_on_sign_out: bool
    """Whether a response of the app that ends a session revokes the unused tokens of that session.
    Such a response deletes the session cookie (under any path or domain, without setting another
    cookie of that name), or has `Clear-Site-Data` with `"cookies"` or `"*"`, or the adapter does
    not find the session any more. Costs: each response to a signed-in user is checked, and each new
    token looks at the session once more. Needs an adapter that can verify sessions.
    Default: `False`."""

    base_path: str
    """Prefix of the two paths `/one-time-token/generate` and `/one-time-token/verify`, for example
    `"/api/auth"`. Default: `""`."""

    query_param: str | None
    """Name of the link parameter, which carries the token in a URL, and of the sub-protocol of
    WebSockets. `None` turns links off, and tokens of WebSockets. Default: `"ott"`."""

    trusted_origins: Iterable[str]
    """Origins of this site's own front ends. Their pages may call the two paths, and may do
    all that the visitor may: do not list another site here. Forms: `https://app.example.com`,
    `https://*.example.com`, `http://localhost:*`, `app://name`. Default: `()`."""

    handoff_targets: Iterable[str]
    """The other sites that links may point to, and that tokens may be bound to: an origin, or an
    origin with a path prefix (`https://b.example/app/`). The prefix limits links; the token is
    bound to the whole origin. Wildcards count for `link()` only. This site's own origins need not
    be listed. Default: `()`."""

    public_origin: str | Iterable[str] | None
    """This site's own origin as browsers see it, for example `"https://app.example.com"` (or
    `"https://bücher.example"`: options take international names as they are), or a list
    of all its origins: then the one that the `Host` header of the request names counts. A token
    that is bound to an origin can only be redeemed at a site that is configured with that origin.
    Default: `None`, the exact host names that the framework is configured with, and any host name
    of this machine (`localhost`, `127.0.0.1`)."""

    on_invalid: Literal["error", "continue"] | OnInvalid
    """What the visitor gets if a link cannot be redeemed (it was used or has expired, its session
    has ended, there is no account here): `"error"`, an error page; `"continue"`, the page of the
    app, without a sign-in; or the response of a function `(request, error) -> Response`, sync or
    async. `error.code` and `error.reason` say why. Default: `"error"`."""

    rate_limit: str | None
    """How often a client may try to redeem a token: `"20/minute"`, `"5/10 minutes"`, or several of
    these with `;` between. Above it a request gets 429 with `Retry-After`, and no token is used.
    Clients are told apart by their address, IPv6 by /64. Needs the extra `limits`. Default: `None`,
    no limit."""

    trusted_proxies: Iterable[str | Network]
    """The networks of this site's proxies, whose `X-Forwarded-For` tells the address of the client:
    `["10.0.0.0/8"]`; `"unix"` stands for a proxy at a Unix socket. Leave it out where a layer
    outside (`ProxyFix`, `--proxy-headers`) tells the client already. Default: `()`, the peer is the
    client."""

    on_event: OnEvent | None
    """A function of an `Event` (a token was generated or redeemed, a request was refused, a
    session's tokens were revoked), sync or async, for audits and metrics. It is called in a thread
    of its own: it neither holds up a response nor breaks one. Default: `None`."""

    on_replay: OnReplay
    """What a replay does: a used token that is presented again within ten minutes, by another
    browser than the one that used it. `"ignore"`, nothing (`on_event` tells of it); or `"revoke"`:
    the unused tokens of the session that the first use established are revoked, and the session
    itself is ended where the adapter began it on the server and can delete it. Whoever finds a used
    link can then sign its user out. Needs a `secret`, and a backend that can revoke tokens.
    Default: `"ignore"`."""

    on_switch: Literal["ask", "keep", "replace"]
    """Which user is signed in when a valid link is for another user than the signed-in one:
    `"ask"`, whom the visitor chooses on a page; `"keep"`, the signed-in user; or `"replace"`, the
    user of the link. Where no page can be shown (a call, the verify path, a WebSocket), `"ask"`
    responds with 409 `SESSION_SWITCH`. Applies where the adapter can verify the present session;
    a verified session of an unknown user counts as another user's. With `tokens=` of your own,
    `"ask"` acts as `"keep"`. Default: `"ask"`."""

    site_name: str | None
    """Name of this site, shown on the pages of the middleware. Default: `None`; the page of a
    confirm link then shows the host name."""

    login_url: str | None
    """Where users of this site sign in: a path as browsers see it (`"/login"`), or a URL. Pages
    about a link that did not work have a "Sign in" button with this URL, which carries the
    visitor's page as `next=` (a path and query of this site). A visitor who opens `generate?to=`
    without a session is sent here. Default: `None`, no button."""

    issuer: str | None
    """Turns on pull handoff: the site that signs in the visitors of this one, by the URL of its
    origin and `base_path` (`"https://a.example"`, `"https://a.example/api/auth"`). This site then
    sends a visitor there, with a cookie that the token which comes back needs. Needs `secret`.
    Default: `None`."""

    issuer_only: bool
    """Whether, with `issuer`, this site refuses links that any browser could open, so that no
    visitor is signed in by opening a link of another user. `False` accepts them as well. Confirm
    links, which ask first, work in any case. Default: `True`."""

    protected: Protected | None
    """With `issuer`: a function that returns whether a page is for signed-in users only. A visitor
    without a session who opens such a page is sent to the issuer at once. It is sync, and must not
    wait. Default: `None`: the app calls `handle.handoff()`."""

    pages: Mapping[PageName, ShowPage] | None
    """Functions that build pages in place of the built-in ones, by the page's name: `used`,
    `no_account`, `not_signed_in`, `session_ended`, `refused`, `too_many`, `unavailable`,
    `continue_to`, `handoff_failed`, `cookies_blocked`, `confirm`, `switch`. A function takes a
    `Page` and returns HTML or a `Response`; it is sync, and must not wait. Default: `None`, the
    built-in pages."""


# Targets that were warned of in this process.
_warned_of_cookies: list[str] = []
_TOKEN_OPTIONS = frozenset(f.name for f in dataclasses.fields(TokenOptions))
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
# `audience` is refused: the generate path has a parameter of that name. It would be cut out as the
# token of a link, and the new token would be bound to no site. So are the path's other parameters.
_QUERY_PARAM = re.compile(r"(?!(?:audience|channel|to|code_challenge)\Z)[A-Za-z0-9._~-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a middleware, checked and with defaults.

    `OptionValues` says what each option means. The five options of tokens are one value here,
    `token_options`.
    """

    session: Literal["auto"] | str | Sequence[str] | SessionAdapter = "auto"
    # A URL may hold a password: the backend takes its place, and shows none.
    backend: AnyBackend | None = field(default=None, repr=False)
    tokens: TokenService | None = None
    token_options: TokenOptions = field(default_factory=TokenOptions)
    disable_client_request: bool = False
    disable_set_session_cookie: bool = False
    set_ott_header_on_new_session: bool = False
    revoke_on_sign_out: bool = False
    base_path: str = ""
    query_param: str | None = "ott"
    trusted_origins: Iterable[str] = ()
    handoff_targets: Iterable[str] = ()
    public_origin: str | Iterable[str] | None = None
    on_invalid: Literal["error", "continue"] | OnInvalid = "error"
    rate_limit: str | None = None
    trusted_proxies: Iterable[str | Network] = ()
    on_event: OnEvent | None = None
    on_replay: OnReplay = "ignore"
    on_switch: OnSwitch = "ask"
    site_name: str | None = None
    login_url: str | None = None
    issuer: str | None = None
    issuer_only: bool = True
    protected: Protected | None = None
    pages: Mapping[PageName, ShowPage] | None = None
    # Derived from the values above.
    adapter: SessionAdapter = field(init=False)
    trusted: tuple[OriginPattern, ...] = field(init=False)
    targets: tuple[HandoffTarget, ...] = field(init=False)
    own: tuple[Origin, ...] = field(init=False)
    pull_issuer: Issuer | None = field(init=False)
    rates: tuple[Rate, ...] = field(init=False)
    proxies: TrustedProxies = field(init=False)
    host_layers: tuple[Any, ...] = field(init=False, default=(), repr=False)

    @classmethod
    def build(cls, values: Mapping[str, Any], app: object = None) -> Options:
        """Check keyword arguments and build the options from them.

        :param app: the wrapped app, for `session="auto"` and for the host names of its framework.
        :raises ConfigurationError: an option is unknown, or a value is bad.
        """
        known = OptionValues.__annotations__
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                raise ConfigurationError(
                    f"{name}: no such option"
                    + (f"; did you mean {near[0]!r}?" if near else f"; there are {sorted(known)}")
                )
        if app is not None:
            check_app(app)
        if app is not None and values.get("session", "auto") == "auto":
            values = {**values, "session": adapter_of(app)}
        of_tokens = {name: value for name, value in values.items() if name in _TOKEN_OPTIONS}
        if values.get("tokens") is not None:
            both = sorted(of_tokens) + (["backend"] if values.get("backend") is not None else [])
            if both:
                raise ConfigurationError(
                    f"tokens: given together with {', '.join(both)}; give these to the service"
                )
        others = {name: value for name, value in values.items() if name not in _TOKEN_OPTIONS}
        built = cls(token_options=TokenOptions(**of_tokens), **others)
        if app is not None:
            # The host names of Django, Flask or Starlette count with any session adapter.
            object.__setattr__(built, "host_layers", layers_with_hosts(app))
        return built

    def __post_init__(self) -> None:
        derived = {
            "adapter": _parse_session(self.session),
            "trusted": parse_list("trusted_origins", self.trusted_origins, OriginPattern.parse),
            "targets": parse_list("handoff_targets", self.handoff_targets, HandoffTarget.parse),
            "own": parse_public_origins(self.public_origin),
            "pull_issuer": None if self.issuer is None else Issuer.parse(self.issuer),
            "rates": parse_rates(self.rate_limit),
            "proxies": TrustedProxies.parse(self.trusted_proxies),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)
        self._check_handoff_targets()
        for each in dataclasses.fields(self):
            if each.type == "bool" and not isinstance(getattr(self, each.name), bool):
                raise ConfigurationError(
                    f"{each.name}: {getattr(self, each.name)!r}; use True or False"
                )
        _check_match("base_path", self.base_path, _BASE_PATH, "use '' or a path like '/api/auth'")
        if self.query_param is not None:
            cure = "use a name like 'ott', or None"
            _check_match("query_param", self.query_param, _QUERY_PARAM, cure)
        if self.backend is not None:
            object.__setattr__(self, "backend", backend_of(self.backend))
        if not callable(self.on_invalid):
            _check_one_of("on_invalid", self.on_invalid, ("error", "continue"), " or a function")
        # A class could be called: it would make an object of each event, and do nothing with it.
        if self.on_event is not None and (
            isinstance(self.on_event, type) or not callable(self.on_event)
        ):
            raise ConfigurationError(f"on_event: {self.on_event!r}; pass a function of the event")
        _check_one_of("on_replay", self.on_replay, ("ignore", "revoke"))
        _check_one_of("on_switch", self.on_switch, ("ask", "keep", "replace"))
        check_issuer_options(
            self.pull_issuer, self.own, self.query_param, self.issuer_only, self.protected
        )
        check_page_options(self.site_name, self.login_url, self.pages)
        if isinstance(self.tokens, type):
            raise ConfigurationError(
                f"tokens: the class {self.tokens.__name__}; pass an object: "
                f"{self.tokens.__name__}(...)"
            )
        if self.tokens is not None:
            for name in ("generate", "agenerate", "verify", "averify", "revoke", "arevoke"):
                if not callable(getattr(self.tokens, name, None)):
                    raise ConfigurationError(
                        f"tokens: {self.tokens!r} has no {name}(); pass a OneTimeTokens, or an "
                        "object with all methods of TokenService"
                    )

    @property
    def refuses_links(self) -> bool:
        """Whether a handoff token is redeemed only in the browser that it was made for."""
        return self.pull_issuer is not None and self.issuer_only

    def _check_handoff_targets(self) -> None:
        for target in self.targets:
            # A token that is bound to an origin may be redeemed at each site of that origin. If a
            # target had this site's own origin, its tokens could be redeemed here as well.
            if target.origin.exact in self.own:
                raise ConfigurationError(
                    f"handoff_targets: {target.origin} is in public_origin too; leave it out here, "
                    "since this site's own origins may always be linked to"
                )
        for target in self.targets:
            # `public_origin` and a target with one host are two ports, or two schemes, of it.
            if target.origin.exact and target.origin.host in {own.host for own in self.own}:
                warn_of_shared_cookies(str(target.origin))
        shared = [
            str(target.origin)
            for target in self.targets
            if any(target.origin.overlaps(trusted) for trusted in self.trusted)
        ]
        if shared:
            logger.warning(
                "handoff_targets: %s also in trusted_origins: its pages may fetch tokens that are "
                "bound to no site, and act as the visitor at this site; leave it out of one of the "
                "two",
                ", ".join(shared),
            )


def warn_of_shared_cookies(target: str) -> None:
    """Warn, once a process, of a handoff target on the host of this site."""
    if _warned_of_cookies:
        return
    _warned_of_cookies.append(target)
    logger.warning(
        "handoff_targets: %s has the host name of this site, and browsers send cookies to all "
        "ports of a host: the two sites overwrite each other's cookies of one name, so that a "
        "sign-in at one ends the session at the other. Give one of them another host name "
        "(localhost and 127.0.0.1 are two), or its session cookie another name.",
        target,
    )


def _parse_session(session: object) -> SessionAdapter:
    if isinstance(session, SessionAdapter):
        return session
    names = [session] if isinstance(session, str) else session
    if isinstance(session, str) and session in ("", "auto"):
        raise ConfigurationError(
            f"session: {session!r}; pass the session cookie's name, or an adapter (only "
            "OTTMiddleware, which has the app, can find one)"
        )
    if isinstance(session, type) and issubclass(session, SessionAdapter):
        raise ConfigurationError(
            f"session: the class {session.__name__}; pass an object: {session.__name__}(...)"
        )
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
        raise ConfigurationError(
            f"session: {session!r}; pass a cookie name, a list of them, or a session adapter"
        )
    return CookieSession(*names)


def _check_match(option: str, value: object, pattern: re.Pattern[str], cure: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ConfigurationError(f"{option}: {value!r}; {cure}")


def _check_one_of(option: str, value: object, allowed: tuple[str, ...], more: str = "") -> None:
    if value not in allowed:
        words = ", ".join(map(repr, allowed))
        raise ConfigurationError(f"{option}: {value!r}; use one of {words}{more}")
