"""Any app's session cookies, carried over as they are: for apps without an adapter of their own."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, cast

from ..concurrency import blocks, is_async
from ..crypto import base64url
from ..errors import ConfigurationError, SessionUnavailable
from ..http.cookies import Cookie, CookieAttributes, deletion, is_cookie_name, is_cookie_value
from ..http.messages import Request, Response
from .base import (
    MAX_UNVERIFIED,
    CallApp,
    Session,
    SessionAdapter,
    exposed_of,
    names_of,
    refuse_cookie_in_id,
)

logger = logging.getLogger("ott_middleware")

Values = Mapping[str, str]
Answer = Mapping[str, Any] | None
Validate = Callable[[Values], "Answer | Awaitable[Answer]"]

# What stands in a request target as it is, so that path and target are one text.
_PATH = re.compile(r"/[A-Za-z0-9/:@!$&'()*+,;=._~-]*")


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

    :param names: the cookies; what a request has of them is carried.
    :param validate: takes the cookies' values by name and returns None unless a user is signed in,
        else a mapping that may hold `id`, `user_id`, `user` (a mapping) and `expires_at` (an aware
        datetime). It must return None for an anonymous session, even if the store knows the
        session. An `id` that is a cookie's value is refused. May be `async def`.
    :param probe: a path of the wrapped app that responds with 2xx to signed-in users, and with
        another status to all others, anonymous sessions included. It is asked in process, by a GET
        with only `Cookie`, `Host` and `Accept`; a JSON object in the response becomes the `user`,
        and that object's `id` the `user_id`.
    :param expose: the fields that the `user` has, beside its `id`, of those that `validate` or
        `probe` tell of. Default: all of them.
    :param renews_key: whether the app gives a session a new key at sign-in, so that no key from
        before a sign-in is signed in after it. True turns the warning of session fixation off.
    :param domain, path, secure, samesite, max_age, partitioned, httponly: the attributes of the
        cookies on the redeeming side; see `CookieAttributes`.
    :raises ConfigurationError: a name or an attribute that browsers drop; both hooks at once.
    """

    def __init__(
        self,
        *names: str,
        validate: Validate | None = None,
        probe: str | None = None,
        expose: Iterable[str] | None = None,
        renews_key: bool = False,
        domain: str | None = None,
        path: str = "/",
        secure: bool | None = None,
        samesite: str = "Lax",
        max_age: int | None = None,
        partitioned: bool = False,
        httponly: bool = True,
    ) -> None:
        if not names:
            raise ConfigurationError("session: name the cookie, as CookieSession('sessionid')")
        for name in names:
            if not is_cookie_name(name):
                raise ConfigurationError(f"session: {name!r} is not a cookie name")
        if validate is not None and not callable(validate):
            raise ConfigurationError(f"validate: {validate!r}; pass a function of the values")
        if validate is not None and probe is not None:
            raise ConfigurationError("validate and probe: pass one of them; both answer the same")
        if probe is not None and not (isinstance(probe, str) and _PATH.fullmatch(probe)):
            raise ConfigurationError(f"probe: {probe!r}; pass a path like '/me', without a query")
        if not isinstance(renews_key, bool):  # "no" would count as yes
            raise ConfigurationError(f"renews_key: {renews_key!r}; use True or False")
        self.attributes = CookieAttributes(
            domain=domain,
            path=path,
            secure=secure,
            samesite=samesite,
            max_age=max_age,
            partitioned=partitioned,
            httponly=httponly,
        )
        self.attributes.check(names)
        self.cookie_names = names
        self.strict = self.attributes.strict
        self.vouches = validate is not None or probe is not None
        self._exposed = None if expose is None else names_of("expose", expose)
        self._probe_path = probe
        self._call_app: CallApp | None = None
        self._repeats = False
        self._ask: Callable[[Values], Any] | None = self._probe if probe is not None else validate
        self.suspends = validate is not None and is_async(validate)
        # Under ASGI a probe suspends and a validate goes by its own word; without either, the
        # answer is in the request.
        self.blocks = probe is not None or (validate is not None and blocks(validate))
        warnings = []
        if not self.vouches:
            warnings.append(
                "any value counts as a session; pass validate= or probe= to have dead cookies "
                "refused"
            )
        if not renews_key:
            # Attack: a link plants a session whose key the attacker knows, and the victim signs in
            # to it. The adapter can only share the key; without this line the operator of an app
            # that keeps keys at sign-in would never hear of it.
            warnings.append(
                "session fixation: an attacker's link can plant a session that the attacker shares "
                "once the visitor signs in; make the app give a new session key at sign-in, then "
                "pass renews_key=True"
            )
        if warnings:
            logger.warning(
                "CookieSession(%s): %s", ", ".join(map(repr, names)), ". Also: ".join(warnings)
            )

    def bind(self, call_app: CallApp) -> None:
        if self._probe_path is not None and self._call_app is not None:
            # The first app would ask the second for the signed-in user.
            raise ConfigurationError("session: this adapter probes an app already; make another")
        self._call_app = call_app
        if self._probe_path is not None:
            self.suspends = is_async(call_app)

    def current(self, request: Request) -> Session | Awaitable[Session | None] | None:
        values = self._values(request)
        # Attack: made-up cookies of the largest size fill the store. This line bounds a session
        # that only its cookies prove; without it each could take 16 KiB.
        if not self.vouches and sum(map(len, values.values())) > MAX_UNVERIFIED:
            return None
        return self._judge(values) if values else None

    def resolve(self, session: Session) -> Session | Awaitable[Session | None] | None:
        values = self._unpack(session.token)
        # Without a cookie of such an app (a session of another framework has none), there is
        # nothing to carry over: an app asked about it, or a browser given it, would be misled.
        if not values:
            return None
        # Nothing to ask: the session is as alive as it was, and the app will judge the cookie.
        return self._judge(values) if self._ask else session

    def establish(self, session: Session, request: Request) -> list[Cookie]:
        values = self._unpack(session.token)
        # The cookies that the session lacks are deleted: another's would make a mixture of two.
        return [
            self.attributes.cookie(name, values[name])
            if name in values
            else deletion(self.attributes.cookie(name, ""))
            for name in self.cookie_names
        ]

    def _values(self, request: Request) -> dict[str, str]:
        values: dict[str, str] = {}
        for name in self.cookie_names:
            sent = {value for value in request.cookies(name) if value}
            # Attack: a neighbouring host plants a second cookie of the name. Which of two values
            # the app reads is unknown here, so that the request counts as signed out.
            if len(sent) > 1:
                return {}
            values.update((name, value) for value in sent if is_cookie_value(value))
        return values

    def _judge(self, values: dict[str, str]) -> Session | Awaitable[Session | None] | None:
        answer = self._ask(values) if self._ask else {}
        if inspect.isawaitable(answer):
            return self._judge_later(values, answer)
        return self._session(values, cast(Answer, answer))

    async def _judge_later(self, values: Values, answer: Awaitable[Answer]) -> Session | None:
        return self._session(values, await answer)

    def _session(self, values: Values, answer: Answer) -> Session | None:
        if answer is None:
            return None
        if not isinstance(answer, Mapping):
            raise TypeError(f"validate returned {type(answer).__name__}: return None or a mapping")
        given = answer.get("id")
        session_id = str(given) if given else self._id(values)
        # Also asked without a middleware, where nothing else would look at the id.
        refuse_cookie_in_id(session_id, values.values(), where=f"{type(self).__name__}.validate")
        told = {name: value for name, value in answer.items() if name != "id"}
        known = _without(values, told)
        if known != told and not self._repeats:
            self._repeats = True
            logger.warning(
                "%s: what is told of the session repeats a cookie's value, which is left out there",
                type(self).__name__,
            )
        user_id, user = known.get("user_id"), known.get("user")
        expires_at: datetime | None = answer.get("expires_at")
        return Session(
            id=session_id,
            token=self._pack(values),
            user_id=None if user_id is None else str(user_id),
            user=self._told(user),
            expires_at=expires_at,
        )

    def _told(self, user: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if user is None or self._exposed is None:
            return user
        return exposed_of(user, ("id", *self._exposed))

    def _id(self, values: Values) -> str:
        named = json.dumps(sorted(values.items())).encode("ascii")
        return base64url(hashlib.sha256(b"ott_middleware cookie session " + named).digest())

    def _pack(self, values: Values) -> str:
        return json.dumps(values) if len(self.cookie_names) > 1 else next(iter(values.values()))

    def _unpack(self, token: str) -> dict[str, str]:
        """The cookies of a session, by name; empty where what it has can be none of these."""
        values: Any = {self.cookie_names[0]: token}
        if len(self.cookie_names) > 1:
            try:
                values = json.loads(token)
            except (ValueError, RecursionError):
                return {}
        if not isinstance(values, dict):
            return {}
        # Only what was named here is ever set, whatever the other side named.
        named = {name: values[name] for name in self.cookie_names if values.get(name)}
        valid = all(isinstance(each, str) and is_cookie_value(each) for each in named.values())
        return named if valid else {}

    def _probe(self, values: Values) -> Any:
        if self._call_app is None:
            raise SessionUnavailable("probe: needs a wrapped app; pass validate= without one")
        request = Request(
            "GET",
            "http",
            str(self._probe_path),
            target=str(self._probe_path),
            headers={"accept": "application/json"},
        ).with_cookies(values)
        response = self._call_app(request)
        if inspect.isawaitable(response):
            return self._probed_later(response)
        return self._probed(response)

    async def _probed_later(self, response: Awaitable[Response]) -> Answer:
        return self._probed(await response)

    def _probed(self, response: Response) -> Answer:
        if response.status >= 500:
            raise SessionUnavailable(f"probe: the app answered {response.status}")
        if not 200 <= response.status < 300:
            return None
        try:
            user = json.loads(response.body)
        except (ValueError, RecursionError):
            return {}
        if not isinstance(user, dict):
            return {}
        return {"user": user, "user_id": user.get("id")}


def _without(values: Values, answer: Any) -> Any:
    """An answer without the cookies' values, should it repeat one: they stay in `token` alone."""
    if isinstance(answer, Mapping):
        return {
            key: _without(values, value)
            for key, value in answer.items()
            if key is None or _without(values, key) is not None
        }
    if isinstance(answer, (list, tuple)):
        return [_without(values, value) for value in answer]
    if isinstance(answer, (str, int)) and not isinstance(answer, bool):
        said = str(answer)
        if any(value == said or (len(value) >= 16 and value in said) for value in values.values()):
            return None
    return answer
