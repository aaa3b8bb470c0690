"""The context variables: the current request, and the bounds of the token in question."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from .http.messages import Request

_T = TypeVar("_T")


class _Using(Generic[_T]):
    """Sets a context variable within a `with`.

    Entered several times a request: a generator's context manager takes three times as long.
    """

    __slots__ = ("_reset", "_value", "_variable")

    def __init__(self, variable: ContextVar[_T | None], value: _T) -> None:
        self._variable = variable
        self._value = value

    def __enter__(self) -> None:
        self._reset: Token[_T | None] = self._variable.set(self._value)

    def __exit__(self, *exception: object) -> None:
        self._variable.reset(self._reset)


_current: ContextVar[Request | None] = ContextVar("ott_request", default=None)
#: `using_request` in two calls, for what each request does: `reset_request(set_request(...))`.
set_request, reset_request = _current.set, _current.reset


def current_request() -> Request | None:
    """Return the request that this context handles, or None."""
    return _current.get()


def using_request(request: Request) -> _Using[Request]:
    """Make `request` the current one, within a `with`."""
    return _Using(_current, request)


# Marks the middleware's own requests, which ask the app for the signed-in user.
PROBE = "ott.probe"
# The keys of a request's handle. PEP 3333 wants a dot in the name of a key of an extension.
SCOPE_KEY, ENVIRON_KEY = "ott", "ott.handle"


def handle_in(carrier: Mapping[str, Any]) -> Any:
    """Return the handle in a scope or environ; None outside of the app."""
    return carrier.get(ENVIRON_KEY) or carrier.get(SCOPE_KEY)


@dataclass(slots=True)
class Attempt:
    """What becomes known of a token while a request redeems it.

    :ivar channel: the channel that the token was presented for.
    :ivar session_id: of the session that the token holds.
    :ivar audience: the origin that the token is bound to.
    :ivar code_challenge: the challenge whose verifier the browser has shown, or None.
    :ivar return_path: the path that the token was sent to by a navigation handoff, or None.
    :ivar expires_at: the end of the token in Unix seconds; None until it is taken.
    :ivar arrived: the session that the token holds, as it was sealed: before this site's adapter
        has resolved it.
    """

    token: str | None = field(default=None, repr=False)
    channel: str = "handoff"
    session_id: str | None = None
    audience: str | None = None
    code_challenge: str | None = field(default=None, repr=False)
    return_path: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    arrived: Any = field(default=None, repr=False)


_attempt: ContextVar[Attempt | None] = ContextVar("ott_attempt", default=None)


def current_attempt() -> Attempt:
    """Return the attempt of this context; outside of one, an empty value."""
    return _attempt.get() or Attempt()


def using_attempt(attempt: Attempt) -> _Using[Attempt]:
    """Make `attempt` the current one, within a `with`."""
    return _Using(_attempt, attempt)


class Bounds(NamedTuple):
    """The bounds of the token for which `expose` or `resolve` is called.

    :ivar audience: the origin that alone may redeem the token, or None.
    :ivar moment: Unix seconds: the token's end when it is made; now when it is redeemed.
    """

    audience: str | None
    moment: float


_bounds: ContextVar[Bounds | None] = ContextVar("ott_bounds", default=None)


def token_bounds() -> Bounds | None:
    """Return the bounds of the token that is made or redeemed in this context, or None."""
    return _bounds.get()


def using_bounds(bounds: Bounds) -> _Using[Bounds]:
    """Make `bounds` those of the current token, within a `with`."""
    return _Using(_bounds, bounds)


# The path of the target.
_navigation_handoff: ContextVar[str | None] = ContextVar("ott_navigation_handoff", default=None)


def path_of_navigation_handoff() -> str | None:
    """Return the path that the token of this context is sent to by a navigation handoff.

    None where the token that is generated is for no navigation handoff.
    """
    return _navigation_handoff.get()


def navigation_handoff(path: str) -> _Using[str]:
    """Make tokens that are generated within a `with` those of a navigation handoff.

    A context variable and no argument, so that it goes through a token service of the app's own.

    :param path: of the target, as browsers spell it.
    """
    return _Using(_navigation_handoff, path)
