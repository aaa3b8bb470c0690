"""The options of tokens: lifetimes, hashers, and `TokenOptions`, checked when they are built."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypedDict, cast

from ..crypto import Secret, parse_secrets
from ..errors import ConfigurationError
from ..http.messages import Request
from ..sessions.base import Session
from .names import hash_token

logger = logging.getLogger("ott_middleware")

Hasher = Callable[[str], "str | Awaitable[str]"]
StoreToken = Literal["plain", "hashed"] | Hasher | Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationContext:
    """The second argument of `generate_token`: what the new token is for.

    :ivar request: the request that the token is generated in; None outside of one.
    :ivar channel: the purpose of the token; a token of one channel is invalid in every other.
    :ivar audience: the only origin that may redeem the token, or None.
    :ivar expires_at: Unix seconds, when the token expires.
    :ivar code_challenge: the challenge whose verifier a browser must show to redeem the token, or
        None.
    """

    request: Request | None
    channel: str
    audience: str | None
    expires_at: float
    code_challenge: str | None = field(default=None, repr=False)


GenerateToken = Callable[[Session, GenerationContext], "str | Awaitable[str]"]


class TokenOptionValues(TypedDict, total=False):
    """The options of tokens: keyword arguments of `OneTimeTokens` and of `OTTMiddleware`."""

    secret: Secret | None
    """Encrypts stored sessions, together with the token: a str or bytes of at least 16 bytes, or a
    list of such secrets, newest first. Sites that share a backend share the secret. Without it, a
    client that can write to the store can sign in as any user. It also keys the names under which
    the tokens of a session are counted: without it, a reader of the store can test guesses of
    session ids and user ids. Default: `None`."""

    expires_in: float | timedelta
    """Minutes until a token expires, or a `timedelta`. Numbers over 60 or below 1 cause a warning;
    a `timedelta` does not. Tokens of WebSockets expire after 30 seconds, if that is sooner.
    Default: `3`."""

    generate_token: GenerateToken | None
    """A function `(session, context) -> str`, sync or async, that makes a token of 1 to 512
    characters from `A-Z a-z 0-9 - _`. Default: `None`, `secrets.token_urlsafe(24)` with 192 random
    bits."""

    store_token: StoreToken
    """How the key of a token in the backend is made: `"plain"` is the token itself, `"hashed"` its
    SHA-256 as base64url. Or a function from the token to a str, sync or async, also in the form
    `{"type": "custom-hasher", "hash": function}`. Default: `"plain"`."""

    max_per_session: int | None
    """Number of unused tokens per session and channel: one more makes the oldest invalid. Tokens of
    `generate?to=` are counted apart, with the same number. `None` means no limit. Tokens for
    sessions that the adapter cannot verify are counted per network of the client instead, at most
    1,000. Default: `10`."""


def seconds_of(option: str, expires_in: object) -> float:
    """Convert a lifetime (minutes, or a `timedelta`) to seconds.

    :param option: the option's name, for the error.
    :raises ConfigurationError: the time is not positive and finite.
    """
    if isinstance(expires_in, timedelta):
        seconds = expires_in.total_seconds()
    elif isinstance(expires_in, (int, float)) and not isinstance(expires_in, bool):
        seconds = expires_in * 60
    else:
        seconds = math.nan
    # Clocks, stores and cookies can express each expiry within a century.
    if not 0 < seconds <= 100 * 366 * 86400:
        raise ConfigurationError(f"{option}: {expires_in!r}; use positive minutes, or a timedelta")
    return float(seconds)


def warn_of_unit(expires_in: float | timedelta) -> None:
    """Log a warning where a number of minutes was hardly meant to be one.

    A `timedelta` names its unit, so that its length is what was meant.
    """
    if isinstance(expires_in, timedelta) or 1 <= expires_in <= 60:
        return
    if expires_in > 60:
        failing = "all that time, a link is as good as a password"
    else:
        failing = "many visitors will be too late"
    logger.warning(
        "expires_in: %r is a number of minutes, so that tokens live for %s (h:mm:ss): %s. If that "
        "is what you mean, write timedelta(minutes=%r); for seconds timedelta(seconds=%r)",
        expires_in,
        timedelta(minutes=expires_in),
        failing,
        expires_in,
        expires_in,
    )


def hasher_of(store_token: object) -> Hasher | None:
    """Return the function that makes a backend's key from a token; None if it is the token itself.

    :raises ConfigurationError: the value has none of the documented forms.
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
    """The options of tokens, checked and with defaults.

    :ivar secret, expires_in, generate_token, store_token, max_per_session: see `TokenOptionValues`.
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
