"""Access tokens of API clients: a source of one-time tokens for clients that hold no cookie."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from ..concurrency import blocks, is_async
from ..copies import copy_unchecked
from ..errors import ConfigurationError, NoAccount
from ..http.cookies import Cookie
from ..http.messages import Request
from .app_context import in_app_context
from .base import CallApp, Session, SessionAdapter
from .missing_user import authorization_scheme, list_cookies
from .validated import Info, ValidatedSessions

Validate = Callable[[str], "Info | Awaitable[Info]"]

# RFC 6750 section 2.1. The scheme is of any case (RFC 9110 section 11.1). Two headers, which
# servers join by a comma, are no token: which of them the app reads is not known.
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*)")
_MAX_TOKEN = 8192
_MAX_HEADER = _MAX_TOKEN + 64
# The token of a session on its way. No cookie can hold a semicolon: an adapter of another site that
# would set this as one fails.
_IN_TRANSIT = "bearer;"


class BearerSession(SessionAdapter):
    """Finds the user of a request by its access token (`Authorization: Bearer …`, RFC 6750).

    For an API whose clients (an app of a phone, a script, a front end that keeps a JWT) have no
    session cookie. They generate one-time tokens, for a WebSocket of this site or for a link to
    another site. The access token stays at this site: it is in no one-time token, and the
    sessions' `token` is empty.

    No cookie is set. The verify path responds with the session and the user alone. A link opened in
    a browser cannot sign in: it is refused before its token is taken. A call with a token in its
    URL (an `EventSource`, say, which cannot send a header) reaches the app with the handle's
    `session`. Only tokens of a site with a `BearerSession` are accepted. Where such sites share a
    backend, the ids of their users must have one issuer.

    The present `Authorization` header is not asked for again when a one-time token is redeemed: an
    access token that was revoked meanwhile is found out when the one-time token has expired.
    Let `expires_at` tell when the access token ends; a one-time token is not valid after that.

    :param validate: takes the access token, and returns None unless it is valid, else a mapping
        that may hold `id` (of the session; `jti` or `sid` of a JWT), `user_id`, `user` (a mapping;
        all of it goes to other sites with a token) and `expires_at` (an aware datetime). It must
        check the signature, the end, and the token's *audience*: a token that was issued for
        another service is valid otherwise, and that service could act as its users here. Without an
        `id` the session's id is made of the `user_id`, and names all sessions of the user; where
        that is not known either, it is a hash of the access token. May be `async def`. If it
        raises, the middleware responds with 503: return None for a token that is not valid.
    :raises ConfigurationError: `validate` is no function.
    """

    vouches = True
    uses_cookies = False

    def __init__(self, *, validate: Validate) -> None:
        if not callable(validate) or isinstance(validate, type):
            raise ConfigurationError(
                f"validate: {validate!r}; pass a function of the access token, which returns a "
                "mapping of its user, or None"
            )
        self._validate = validate
        self._sessions = ValidatedSessions(
            type(self).__name__, "validate=", "the access token", ("bearer",)
        )
        self.suspends = is_async(validate)
        self.blocks = blocks(validate)

    def bind(self, call_app: CallApp) -> None:
        self._validate = in_app_context(self._validate, call_app)

    def current(self, request: Request) -> Session | Awaitable[Session | None] | None:
        token = read_bearer_token(request)
        if token is None:
            return None
        return self._sessions.ask(self._validate, token, "")

    def expose(self, session: Session) -> Session:
        return copy_unchecked(session, token=_IN_TRANSIT)

    def resolve(self, session: Session) -> Session:
        # Attack: user 7 of another site, which shares the backend, opens a socket here and is taken
        # for this site's user 7. Only sessions of access tokens are accepted; without this line,
        # whatever a site says of its users would hold here.
        if session.token != _IN_TRANSIT:
            raise NoAccount(
                why=f"{type(self).__name__}: the token is of a site with another kind of session, "
                "and here users are known by access tokens alone"
            )
        return copy_unchecked(session, token="")

    def explain_missing_user(self, request: Request) -> str | None:
        name, scheme = type(self).__name__, authorization_scheme(request)
        if scheme is None:
            cookies = list_cookies(request, ())
            if not cookies:
                return None
            found = f"no Authorization header, and has the cookies {cookies}"
            cure = "if one of them holds the session: session=CookieSession('its name', validate=)"
        elif scheme != "Bearer":
            found = f"an Authorization header ({scheme})"
            cure = "send the access token as `Authorization: Bearer ...`"
        elif read_bearer_token(request) is None:
            found = "an Authorization header (Bearer) that is not one token of at most 8 KiB"
            cure = "send one header, with one token of the characters that RFC 6750 names"
        else:
            return None
        return f"{name}: no user was found in a request for a token: it has {found}; {cure}"

    def establish(self, session: Session, request: Request) -> list[Cookie]:
        return []


def read_bearer_token(request: Request) -> str | None:
    """Return the access token of a request; None if there is none, or more than one."""
    header = request.header("authorization")
    if header is None or len(header) > _MAX_HEADER:
        return None
    match = _BEARER.fullmatch(header)
    return match[1] if match is not None and len(match[1]) <= _MAX_TOKEN else None
