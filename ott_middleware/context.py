"""The context variables: the current request, and the bounds of the token in question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from .http.messages import Request

_current: ContextVar[Request | None] = ContextVar("ott_request", default=None)


def current_request() -> Request | None:
    """The request that this context handles, or None."""
    return _current.get()


@contextmanager
def using_request(request: Request) -> Iterator[None]:
    """Make `request` the current one."""
    reset = _current.set(request)
    try:
        yield
    finally:
        _current.reset(reset)


# Marks the middleware's own requests, which ask the app for the signed-in user.
PROBE = "ott.probe"
# Where the handle of a request is. PEP 3333 wants a dot in the names that are no strings' own.
SCOPE_KEY, ENVIRON_KEY = "ott", "ott.handle"


def handle_in(carrier: Mapping[str, Any]) -> Any:
    """The handle in a scope or environ; None before the app is called, or without middleware."""
    return carrier.get(ENVIRON_KEY) or carrier.get(SCOPE_KEY)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds for the token that `expose` or `resolve` is asked for.

    :ivar audience: the origin that alone may redeem it, or None.
    :ivar moment: Unix seconds: when it is made, its end; when it is redeemed, now.
    """

    audience: str | None
    moment: float


_bounds: ContextVar[Bounds | None] = ContextVar("ott_bounds", default=None)


def token_bounds() -> Bounds | None:
    """The bounds of the token that is being made or redeemed in this context, if one is."""
    return _bounds.get()


@contextmanager
def using_bounds(bounds: Bounds) -> Iterator[None]:
    """Make `bounds` those of the token in question."""
    reset = _bounds.set(bounds)
    try:
        yield
    finally:
        _bounds.reset(reset)
