"""Any app's session cookies, carried over as they are: for apps without an adapter of their own."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..concurrency import blocks, is_async
from ..errors import ConfigurationError
from ..http.cookies import (
    Cookie,
    CookieAttributes,
    CookieName,
    CookieOptions,
    deletion,
    is_cookie_value,
)
from ..http.messages import Request
from .app_context import in_app_context
from .base import MAX_UNVERIFIED, CallApp, Session, SessionAdapter, names_of
from .by_cookies import by_cookies_alone
from .cookie_names import attributes_by_name, delete_copies, fit_headers
from .missing_user import describe_missing_user
from .probe import AppProbe
from .validated import Info, ValidatedSessions

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("ott_middleware")

Values = Mapping[str, str]
Validate = Callable[[Values], "Info | Awaitable[Info]"]


class CookieSession(SessionAdapter):
    """Carries the values of named cookies from the generating request to the redeeming browser.

    Both sites must share one session store: the cookies mean on one site what they mean on the
    other. Pass `probe` or `validate`, which decide whether a user is signed in; they are asked when
    a token is generated and again when it is redeemed. Without them any value that is not empty
    counts as a session, and the adapter cannot verify any. Then:

    - Cookies of more than 4 KiB together are no session.
    - Tokens are counted for the client's network (/32 of IPv4, /56 of IPv6; at most 1,000, the
      oldest makes way), not by `max_per_session`, and `revoke(session_id)` does not find them.
    - `revoke_on_sign_out` is refused.

    **Session fixation.** Source and target share the session's key, so it must not be a key that an
    attacker knows. If an app keeps the key of a session at sign-in, an attacker can send a link
    that puts a session of the attacker into a victim's browser; once the victim signs in there, the
    attacker's browser is signed in as the victim. `probe` and `validate` keep out attackers that
    have no account, and no others. The cure is in the app: it must give a new key at sign-in, as
    Django's `login()` does, or keep the session in a signed cookie. Then pass `renews_key=True`.
    Until then a warning says so at each start.

    The bare name (`session="sessionid"`, which is `CookieSession("sessionid")`) is safe only where
    the app gives a new key at sign-in, and both sites share the session store.

    :param names: the cookies; what a request has of them is carried. `"access_token_*"` stands for
        the numbered parts of a cookie that was too long for one: `access_token_0`, `access_token_1`
        and so on. A `CookieName` has attributes of its own.
    :param validate: takes the cookies' values by name and returns None unless a user is signed in,
        else a mapping that may hold `id`, `user_id`, `user` (a mapping) and `expires_at` (an aware
        datetime). It must return None for an anonymous session, even if the store knows the
        session. Without an `id` the session's id is made of the `user_id`, and names all sessions
        of the user; where that is not known either, it is a hash of the values. An `id` that is a
        cookie's value is refused. May be `async def`.
    :param probe: a path of the wrapped app that responds with 2xx to signed-in users, and with
        another status to all others, anonymous sessions included. It is asked in process, by a GET
        with only `Cookie`, `Host` and `Accept`; a JSON object in the response becomes the `user`,
        and that object's `id` the `user_id`. For an app that responds with 2xx to all visitors,
        pass the path and a text that its page shows to signed-in users alone:
        `("/prefs", "Sign out")`. The text is looked for in the first 64 KiB. Choose a page that
        shows nothing that visitors write.
    :param expose: the fields that the `user` has, beside its `id`, of those that `validate` or
        `probe` tell of. Default: all of them.
    :param renews_key: whether the app gives a session a new key at sign-in, so that no key from
        before a sign-in is signed in after it. True turns the warning of session fixation off.
    :param domain, path, secure, samesite, max_age, partitioned, httponly: the attributes of the
        cookies on the target site; see `CookieOptions`.
    :raises ConfigurationError: a name or an attribute that browsers drop; both hooks at once.
    """

    def __init__(
        self,
        *names: str | CookieName,
        validate: Validate | None = None,
        probe: str | tuple[str, str] | None = None,
        expose: Iterable[str] | None = None,
        renews_key: bool = False,
        **cookie: Unpack[CookieOptions],
    ) -> None:
        if not names:
            raise ConfigurationError("session: name the cookie, as CookieSession('sessionid')")
        named = [each if isinstance(each, CookieName) else CookieName(each) for each in names]
        self._attributes, self._numbered = attributes_by_name(named, cookie)
        if validate is not None and not callable(validate):
            raise ConfigurationError(f"validate: {validate!r}; pass a function of the values")
        if validate is not None and probe is not None:
            raise ConfigurationError("validate and probe: pass one of them; both decide the same")
        if not isinstance(renews_key, bool):  # "no" would count as yes
            raise ConfigurationError(f"renews_key: {renews_key!r}; use True or False")
        self.cookie_names = tuple(self._attributes)
        self.strict = any(each.strict for each in self._attributes.values())
        exposed = None if expose is None else names_of("expose", expose)
        self._ask: Callable[[Values], Any] | None = validate if probe is None else AppProbe(probe)
        self._sessions = ValidatedSessions(
            type(self).__name__,
            "validate=" if validate is not None else "probe=",
            "a cookie's value",
            ("cookie", json.dumps(sorted(self.cookie_names))),
            exposed,
        )
        self.vouches = self._ask is not None
        self.suspends = validate is not None and is_async(validate)
        # Without a probe or `validate`, all that is needed is in the request. Under ASGI a probe
        # suspends.
        self.blocks = self._ask is not None and blocks(self._ask)
        self._warn_of_risks(", ".join(repr(each.name) for each in named), renews_key)

    def _warn_of_risks(self, names: str, renews_key: bool) -> None:
        warnings: list[str] = []
        if not self.vouches:
            warnings.append(
                "any value counts as a session; pass validate= or probe= to have dead cookies "
                "refused"
            )
        if not renews_key:
            # Attack: a link plants a session with a key that the attacker knows; the victim signs
            # in to it. The adapter can only share the key; without this line the operator of an app
            # that keeps keys at sign-in would never hear of it.
            warnings.append(
                "session fixation: an attacker's link can plant a session that the attacker shares "
                "once the visitor signs in; make the app give a new session key at sign-in, then "
                "pass renews_key=True"
            )
        if warnings:
            logger.warning("CookieSession(%s): %s", names, ". Also: ".join(warnings))

    def bind(self, call_app: CallApp) -> None:
        if isinstance(self._ask, AppProbe):
            self._ask.bind(call_app)
            self.suspends = is_async(call_app)
        elif self._ask is not None:
            self._ask = in_app_context(self._ask, call_app)

    @by_cookies_alone
    def current(self, request: Request) -> Session | Awaitable[Session | None] | None:
        values = self._values(request)
        # Attack: made-up cookies of the largest size fill the store. This line bounds a session
        # that only its cookies prove; without it each could take 16 KiB.
        if not self.vouches and sum(map(len, values.values())) > MAX_UNVERIFIED:
            return None
        return self._verify(values) if values else None

    def resolve(self, session: Session) -> Session | Awaitable[Session | None] | None:
        values = self._unpack(session.token)
        # A session of another framework has no cookie of such an app: nothing to carry over.
        if not values:
            return None
        # Without a probe or `validate`, the app itself decides about the cookie.
        return self._verify(values) if self._ask else session

    def establish(self, session: Session, request: Request) -> list[Cookie]:
        values = self._unpack(session.token)
        cookies: list[Cookie] = []
        copies: list[Cookie] = []
        sent = request.cookies_named(self.cookie_names)
        for name, attributes in self._attributes.items():
            is_there = any(sent[name])
            if name in values:
                cookies.append(attributes.cookie(name, values[name]))
                copies += delete_copies(cookies[-1], request) if is_there else []
            # The cookies that the session lacks are deleted: those of the visitor's own session
            # would make a mixture of two sessions. (Numbered parts, if the browser has sent them.)
            elif is_there or name not in self._numbered:
                cookies.append(deletion(attributes.cookie(name, "")))
        # The deletions go first: a client that knows cookies by their names alone keeps the last.
        return [*fit_headers(copies), *cookies]

    def explain_missing_user(self, request: Request) -> str | None:
        return describe_missing_user(request, self)

    def attributes_of(self, name: str) -> CookieAttributes | None:
        return self._attributes.get(name)

    def _values(self, request: Request) -> dict[str, str]:
        values: dict[str, str] = {}
        for name, several in request.cookies_named(self.cookie_names).items():
            sent = {value for value in several if value}
            # Attack: a neighbouring host plants a second cookie of the name. The adapter does not
            # know which of the two the app reads: the request counts as signed out, else it could
            # be the attacker's session here and the victim's in the app.
            if len(sent) > 1:
                return {}
            values.update((name, value) for value in sent if is_cookie_value(value))
        return values

    def _verify(self, values: Values) -> Session | Awaitable[Session | None] | None:
        token = self._pack(values)
        if self._ask is None:
            return self._sessions.build({}, values, token)
        return self._sessions.ask(self._ask, values, token)

    def _pack(self, values: Values) -> str:
        return json.dumps(values) if len(self.cookie_names) > 1 else next(iter(values.values()))

    def _unpack(self, token: str) -> dict[str, str]:
        """Return the cookies in a session's token by name; none if it is of another kind."""
        values: Any = {self.cookie_names[0]: token}
        if len(self.cookie_names) > 1:
            try:
                values = json.loads(token)
            except (ValueError, RecursionError):
                return {}
        if not isinstance(values, dict):
            return {}
        # No cookie is set but those that this site named, whatever the source site named.
        named = {name: values[name] for name in self.cookie_names if values.get(name)}
        valid = all(isinstance(each, str) and is_cookie_value(each) for each in named.values())
        return named if valid else {}
