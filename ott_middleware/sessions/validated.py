"""Turns what a `validate` hook or a probe returned into a session that shows no secret."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ..crypto import base64url
from ..hooks import WrongResult, naming
from .base import SECRET_LENGTH, Session, exposed_of, refuse_cookie_in_id, session_id

logger = logging.getLogger("ott_middleware")

_KEYS = frozenset({"id", "user_id", "user", "expires_at"})
Info = Mapping[str, Any] | None
#: What a hook is given: a token, or the values of cookies by name.
Given = str | Mapping[str, str]


@dataclass(eq=False, repr=False)
class ValidatedSessions:
    """Builds the sessions of one adapter.

    :param adapter: the adapter's name, for messages.
    :param hook: the hook's name: `validate=` or `probe=`.
    :param secret: what the hook is given, for messages: "a cookie's value".
    :param kind: the adapter's kind, which begins what a session's id is made of where the hook
        returned none; behind it the names of its cookies.
    :param exposed: the names of the user's fields that a session has; None for all of them.
    """

    adapter: str
    hook: str
    secret: str
    kind: tuple[str, ...]
    exposed: tuple[str, ...] | None = None
    _warned_of_keys: bool = field(default=False, init=False)
    _warned_of_repeats: bool = field(default=False, init=False)

    def ask(
        self, function: Callable[[Any], Any], given: Given, token: str
    ) -> Session | Awaitable[Session | None] | None:
        """Ask a hook, and return the session that it describes; None unless a user is signed in.

        :param given: the hook's argument, whose texts no field but the token may repeat.
        :param token: of the session.
        """
        with naming(self.hook):
            info = function(given)
        if inspect.isawaitable(info):
            return self._build_awaited(info, given, token)
        return self.build(cast(Info, info), given, token)

    async def _build_awaited(
        self, info: Awaitable[Info], given: Given, token: str
    ) -> Session | None:
        with naming(self.hook):
            found = await info
        return self.build(found, given, token)

    def build(self, info: Info, given: Given, token: str) -> Session | None:
        """Return the session that a hook's result describes, or None for None.

        :raises WrongResult: the hook returned another type.
        :raises SessionUnavailable: the id tells a secret.
        """
        if info is None:
            return None
        if not isinstance(info, Mapping):
            raise WrongResult(
                f"{self.hook} returned {type(info).__name__}: return None or a mapping"
            )
        self._warn_of_unused_keys(info)
        secrets = (given,) if isinstance(given, str) else given.values()
        raw = {name: value for name, value in info.items() if name != "id"}
        safe = _remove_secrets(secrets, raw)
        if safe != raw and not self._warned_of_repeats:
            self._warned_of_repeats = True
            logger.warning(
                "%s: the user or another value of the session repeats %s, which is left out there",
                self.adapter,
                self.secret,
            )
        user_id, user = _as_id(safe.get("user_id")), safe.get("user")
        if user is not None and not isinstance(user, Mapping):
            raise WrongResult(
                f"{self.hook} returned a user that is a {type(user).__name__}: return a mapping"
            )
        own_id = _as_id(info.get("id") or None) or self._make_id(given, user_id)
        # `current` may be called without a middleware and its check of the id.
        refuse_cookie_in_id(own_id, secrets, where=f"{self.adapter}.validate")
        if user is not None and self.exposed is not None:
            user = exposed_of(user, ("id", *self.exposed))
        with naming(self.hook):  # its date may have no time zone
            return Session(
                id=own_id,
                token=token,
                user_id=user_id,
                user=user,
                expires_at=info.get("expires_at"),
            )

    def _make_id(self, given: Given, user_id: str | None) -> str:
        # The failure: an app signs its cookie anew with each response. The id is made of the user;
        # made of the values, it would find no token of the cookie before, to count or to revoke.
        if user_id is not None:
            # The names of cookies keep users of two apps apart, and the user's id is last: no id,
            # whatever is in it, makes the id of another user.
            return session_id(*self.kind, user_id)
        text = given if isinstance(given, str) else json.dumps(sorted(given.items()))
        raw = f"ott_middleware {self.kind[0]} session {text}".encode()
        return base64url(hashlib.sha256(raw).digest())

    def _warn_of_unused_keys(self, info: Mapping[str, Any]) -> None:
        if self._warned_of_keys or _KEYS.issuperset(info):
            return
        self._warned_of_keys = True
        # The keys are not shown: they may be values of the user's.
        logger.warning(
            "%s returned a mapping with other keys than 'id' (of the session), 'user_id', "
            "'user' and 'expires_at', which are not used; return "
            "{'user_id': ..., 'user': {...}}",
            self.hook,
        )


def _as_id(value: Any) -> str | None:
    # A flag or a list is no id: with it, "True" would be one id for all users that have it, and a
    # token of one of them would sign in over another without a question.
    is_id = not isinstance(value, (bool, bytes, Mapping, list, tuple, set))
    return str(value) or None if value is not None and is_id else None


def _remove_secrets(secrets: Collection[str], info: Any) -> Any:
    """Return what is known of a session without the secrets, which its token alone may hold."""
    if isinstance(info, Mapping):
        return {
            key: _remove_secrets(secrets, value)
            for key, value in info.items()
            if key is None or _remove_secrets(secrets, key) is not None
        }
    if isinstance(info, (list, tuple)):
        return [_remove_secrets(secrets, value) for value in info]
    if isinstance(info, (str, int)) and not isinstance(info, bool):
        text = str(info)
        for secret in secrets:
            if secret == text or (len(secret) >= SECRET_LENGTH and secret in text):
                return None
    return info
