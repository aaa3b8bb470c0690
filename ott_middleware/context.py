"""The context variables: the current request, and the bounds of the token in question."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

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


# The mark of the middleware's own requests, by which it asks the app for the signed-in user.
PROBE = "ott.probe"


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
