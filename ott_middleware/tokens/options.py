"""The options of tokens: lifetimes, hashers, and `TokenOptions`, checked when they are built."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from ..crypto import Secret, parse_secrets
from ..errors import ConfigurationError
from ..http.messages import Request
from ..sessions.base import Session
from .names import hash_token

Hasher = Callable[[str], "str | Awaitable[str]"]
StoreToken = str | Hasher | Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationContext:
    """The second argument of `generate_token`, beside the session.

    :ivar request: the request that the token is generated in; None outside of one.
    :ivar channel: what the token is for.
    :ivar audience: the only origin at which the token can be redeemed; None for any.
    :ivar expires_at: Unix seconds.
    """

    request: Request | None
    channel: str
    audience: str | None
    expires_at: float


GenerateToken = Callable[[Session, GenerationContext], "str | Awaitable[str]"]


def seconds_of(option: str, expires_in: object) -> float:
    """Return a lifetime in seconds, from minutes or a `timedelta`.

    :param option: names the option in the error.
    :raises ConfigurationError: the lifetime is not positive, or over a century.
    """
    if isinstance(expires_in, timedelta):
        seconds = expires_in.total_seconds()
    elif isinstance(expires_in, (int, float)) and not isinstance(expires_in, bool):
        seconds = expires_in * 60
    else:
        seconds = math.nan
    # A century keeps every expiry within what clocks, stores and cookies can express.
    if not 0 < seconds <= 100 * 366 * 86400:
        raise ConfigurationError(f"{option}: {expires_in!r}; use positive minutes, or a timedelta")
    return float(seconds)


def hasher_of(store_token: object) -> Hasher | None:
    """Return the function from a token to what the backend's key holds; None for the token itself.

    :raises ConfigurationError: the option has none of the documented forms.
    """
    if store_token == "plain":
        return None
    if store_token == "hashed":
        return hash_token
    if isinstance(store_token, Mapping) and store_token.get("type") == "custom-hasher":
        store_token = store_token.get("hash")
    if not callable(store_token):
        raise ConfigurationError(
            f"store_token: {store_token!r}; use 'plain', 'hashed', a function of the token, or "
            "{'type': 'custom-hasher', 'hash': function}"
        )
    return cast(Hasher, store_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """How tokens are generated and stored.

    :ivar secret: 16 bytes and more (str or bytes), or a list of them, newest first: mixed into the
        keys that values are sealed with. All sites that share a backend need the same secret.
        Without it, a client that can write to the store can sign in as any user.
        It also keys the names under which sessions are counted in the backend: without it, a
        session id or user id that can be guessed is found in a dump by trying all of them.
    :ivar expires_in: minutes that a token can be redeemed, or a `timedelta`.
    :ivar generate_token: `(session, context) -> str`, sync or async: 1 to 512 characters of
        A-Z a-z 0-9 - _. Default: `secrets.token_urlsafe(24)`, 192 bits.
    :ivar store_token: what the backend's key holds of the token: `"plain"`, `"hashed"` (its SHA-256
        as base64url), or a function from the token to a str, sync or async, also written as
        `{"type": "custom-hasher", "hash": function}`.
    :ivar max_per_session: live tokens per session and channel; one more deletes the oldest. None
        for no cap. Tokens for sessions that the adapter cannot verify are counted for the client's
        network instead: at most 1,000.
    """

    secret: Secret | None = field(default=None, repr=False)
    expires_in: float | timedelta = 3
    generate_token: GenerateToken | None = None
    store_token: StoreToken = "plain"
    max_per_session: int | None = 10

    def __post_init__(self) -> None:
        seconds_of("expires_in", self.expires_in)
        hasher_of(self.store_token)
        _ = self.secrets
        if self.generate_token is not None and not callable(self.generate_token):
            raise ConfigurationError(
                f"generate_token: {self.generate_token!r}; pass a function of session and context"
            )
        cap = self.max_per_session
        if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
            raise ConfigurationError(
                f"max_per_session: {cap!r}; use a number from 1, or None for no cap"
            )

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The secrets as bytes, newest first; empty if no secret is configured."""
        return () if self.secret is None else parse_secrets("secret", self.secret)
