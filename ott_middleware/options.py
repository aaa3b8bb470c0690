"""The options: frozen values, all of them checked when they are built.

Every `ConfigurationError` names the option, the value and the cure; a secret is never shown.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from .backends.registry import AnyBackend, backend_of
from .crypto import Secret
from .errors import ConfigurationError, RequestError
from .http.messages import Request, Response
from .http.origins import HandoffTarget, Origin, OriginPattern
from .sessions.base import SessionAdapter
from .sessions.cookie import CookieSession
from .sessions.detect import adapter_of
from .sessions.hosts import layers_with_hosts

if TYPE_CHECKING:
    from .tokens.protocol import TokenService
from .tokens.options import GenerateToken, StoreToken, TokenOptions

logger = logging.getLogger("ott_middleware")


OnInvalid = Callable[[Request, RequestError], "Response | Awaitable[Response]"]


class OptionValues(TypedDict, total=False):
    """The options of `OTTMiddleware` as keyword arguments; see `Options` for what they mean."""

    session: str | Sequence[str] | SessionAdapter
    backend: AnyBackend | None
    tokens: TokenService | None
    secret: Secret | None
    expires_in: float | timedelta
    disable_client_request: bool
    generate_token: GenerateToken | None
    store_token: StoreToken
    disable_set_session_cookie: bool
    set_ott_header_on_new_session: bool
    revoke_on_sign_out: bool
    base_path: str
    query_param: str | None
    trusted_origins: Iterable[str]
    handoff_targets: Iterable[str]
    public_origin: str | Iterable[str] | None
    on_invalid: str | OnInvalid
    on_switch: str
    max_per_session: int | None


_TOKEN_OPTIONS = frozenset(f.name for f in dataclasses.fields(TokenOptions))
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
# Not "audience": the generate path has a parameter of that name, which would be cut as a link's,
# and a token would be bound to nothing that was meant to be bound.
_QUERY_PARAM = re.compile(r"(?!audience\Z)[A-Za-z0-9._~-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `OTTMiddleware` can be told. All keyword only, the same for ASGI and WSGI.

    :ivar session: a cookie name, a list of them, a `SessionAdapter`, or `"auto"`: the adapter of
        the wrapped app's framework (Django, Flask, or Starlette's SessionMiddleware).
    :ivar backend: where tokens wait: a `Backend`, an object with `put` and `take`, or a URL
        (`memory://`, `sqlite:///path`, `redis://…`, `postgresql://…`; see `register_backend` for
        others). Default: a `MemoryBackend` of this middleware's own.
    :ivar tokens: a ready `TokenService`, instead of `backend` and the token options.
    :ivar secret, expires_in, generate_token, store_token, max_per_session: see `TokenOptions`.
    :ivar token_options: these five, as one value.
    :ivar disable_client_request: the generate path answers 400; the handle still generates.
    :ivar disable_set_session_cookie: verify returns the session and sets no cookie.
    :ivar set_ott_header_on_new_session: a response of the app that signs a user in carries a token
        in `set-ott`. A request that carried a link is offered none.
    :ivar revoke_on_sign_out: a response of the app that ends a session revokes its live tokens: it
        deletes the cookie, under any path or domain, without leaving one of that name; it has
        `Clear-Site-Data` with `"cookies"` or `"*"`; or the adapter no longer finds the session.
        Each response to a signed-in user is checked for that, and each new token costs one more
        look at the session. Needs an adapter that can verify sessions.
    :ivar base_path: prefix of the two paths, as `"/api/auth"`.
    :ivar query_param: the link parameter's name; None turns links off.
    :ivar trusted_origins: this site's own front ends, whose pages may call:
        `https://app.example.com`, `https://*.example.com`, `http://localhost:*`, `app://name`.
        Such a page may do all that the visitor may; do not list another site here.
    :ivar handoff_targets: the other sites where links may point, and that tokens may be bound to:
        an origin, or one with a path prefix (`https://b.example/app/`), which limits links; the
        token is bound to the whole origin. Wildcards count for links only. This site's own origins
        need not be named.
    :ivar public_origin: this site's own origin as browsers see it, or a list of all of them; of
        several, the one that the request's `Host` names counts. A token that is bound to an origin
        can only be redeemed at a site that is configured to be that origin. Without the option
        these are the exact host names that the framework is configured with, and any host name of
        this machine (`localhost`, `127.0.0.1`).
    :ivar on_invalid: what a dead link gets: `"error"`, `"continue"`, or
        `(request, error) -> Response`, sync or async.
    :ivar on_switch: a live link for another user than the signed-in one: `"keep"` or
        `"replace"`. Applies where the adapter vouches.
    """

    session: str | Sequence[str] | SessionAdapter = "auto"
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
    on_invalid: str | OnInvalid = "error"
    on_switch: str = "keep"
    # What the above come to.
    adapter: SessionAdapter = field(init=False)
    trusted: tuple[OriginPattern, ...] = field(init=False)
    targets: tuple[HandoffTarget, ...] = field(init=False)
    own: tuple[Origin, ...] = field(init=False)
    host_layers: tuple[Any, ...] = field(init=False, default=(), repr=False)

    @classmethod
    def build(cls, values: Mapping[str, Any], app: object = None) -> Options:
        """Options from keyword arguments.

        :param app: what is wrapped, for `session="auto"`.
        :raises ConfigurationError: an unknown option, or a bad value.
        """
        known = {f.name for f in dataclasses.fields(cls) if f.init} | _TOKEN_OPTIONS
        known.discard("token_options")
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                raise ConfigurationError(
                    f"{name}: no such option"
                    + (f"; did you mean {near[0]!r}?" if near else f"; there are {sorted(known)}")
                )
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
            # Around Django, Flask or Starlette their host names count for any session adapter.
            object.__setattr__(built, "host_layers", layers_with_hosts(app))
        return built

    def __post_init__(self) -> None:
        trusted = _patterns("trusted_origins", self.trusted_origins)
        derived = {
            "adapter": _adapter(self.session),
            "trusted": trusted,
            "targets": _targets(self.handoff_targets),
            "own": _public_origins(self.public_origin),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)
        self._check_targets()
        for name in (
            "disable_client_request",
            "disable_set_session_cookie",
            "set_ott_header_on_new_session",
            "revoke_on_sign_out",
        ):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"{name}: {getattr(self, name)!r}; use True or False")
        _match("base_path", self.base_path, _BASE_PATH, "use '' or a path like '/api/auth'")
        if self.query_param is not None:
            _match("query_param", self.query_param, _QUERY_PARAM, "use a name like 'ott', or None")
        if self.backend is not None:
            object.__setattr__(self, "backend", backend_of(self.backend))
        if not callable(self.on_invalid):
            _one_of("on_invalid", self.on_invalid, ("error", "continue"), " or a function")
        _one_of("on_switch", self.on_switch, ("keep", "replace"))
        if self.tokens is not None:
            for name in ("generate", "agenerate", "verify", "averify", "revoke", "arevoke"):
                if not callable(getattr(self.tokens, name, None)):
                    raise ConfigurationError(
                        f"tokens: {self.tokens!r} has no {name}(); pass a OneTimeTokens, or an "
                        "object with all methods of TokenService"
                    )

    def _check_targets(self) -> None:
        for target in self.targets:
            # Whoever is handed over to there would be this site: the two must be told apart.
            if target.origin.exact in self.own:
                raise ConfigurationError(
                    f"handoff_targets: {target.origin} is in public_origin too; leave it out here, "
                    "since this site's own origins may always be linked to"
                )
        shared = [
            str(target.origin)
            for target in self.targets
            if any(target.origin.overlaps(trusted) for trusted in self.trusted)
        ]
        if shared:
            logger.warning(
                "handoff_targets: %s also in trusted_origins, whose pages may fetch tokens that "
                "are bound to nothing, and be this site's visitor by them; leave it out of one of "
                "the two",
                ", ".join(shared),
            )


def _adapter(session: object) -> SessionAdapter:
    if isinstance(session, SessionAdapter):
        return session
    names = [session] if isinstance(session, str) else session
    if isinstance(session, str) and session in ("", "auto"):
        raise ConfigurationError(
            f"session: {session!r}; pass the session cookie's name, or an adapter (only "
            "OTTMiddleware, which has the app, can find one)"
        )
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
        raise ConfigurationError(
            f"session: {session!r}; pass a cookie name, a list of them, or a session adapter"
        )
    return CookieSession(*names)


def _patterns(option: str, given: object) -> tuple[OriginPattern, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError(f"{option}: {given!r}; pass a list of origins")
    return tuple(OriginPattern.parse(option, text) for text in given)


def _targets(given: object) -> tuple[HandoffTarget, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError(f"handoff_targets: {given!r}; pass a list of origins")
    return tuple(HandoffTarget.parse("handoff_targets", text) for text in given)


def _public_origins(given: object) -> tuple[Origin, ...]:
    if given is None:
        return ()
    texts = (
        given if isinstance(given, Iterable) and not isinstance(given, (str, bytes)) else [given]
    )
    # Each origin once, in the order of the list.
    origins = tuple(dict.fromkeys(map(_public_origin, texts)))
    if not origins:
        raise ConfigurationError("public_origin: is an empty list; name an origin, or leave it out")
    return origins


def _public_origin(text: object) -> Origin:
    origin = Origin.parse(text) if isinstance(text, str) else None
    if origin is None or origin.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"public_origin: {text!r}; use scheme and host, as 'https://app.example.com' "
            "(an international name as 'xn--…')"
        )
    return origin


def _match(option: str, value: object, pattern: re.Pattern[str], cure: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ConfigurationError(f"{option}: {value!r}; {cure}")


def _one_of(option: str, value: object, allowed: tuple[str, ...], more: str = "") -> None:
    if value not in allowed:
        words = ", ".join(map(repr, allowed))
        raise ConfigurationError(f"{option}: {value!r}; use one of {words}{more}")
