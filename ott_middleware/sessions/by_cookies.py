"""Marks adapters that find sessions by their cookies alone, so that they are asked less often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .base import SessionAdapter

_F = TypeVar("_F", bound=Callable[..., Any])
_MARK = "_by_cookies_alone"
_STATELESS = "_stateless"


def by_cookies_alone(current: _F) -> _F:
    """Mark a `current` that returns None for a request without a cookie of `cookie_names`."""
    setattr(current, _MARK, True)
    return current


def finds_by_cookies_alone(adapter: SessionAdapter) -> bool:
    """Return whether a request without any of the adapter's cookies has no session."""
    # The mark is the function's own: a derived adapter that defines another `current`, which may
    # read a header as well, is without it.
    return getattr(adapter.current, _MARK, False) is True


def stateless(current: _F) -> _F:
    """Mark a `current` that says the same of the same cookies until the session expires."""
    setattr(current, _STATELESS, True)
    return by_cookies_alone(current)


def is_stateless(adapter: SessionAdapter) -> bool:
    """Return whether a session that was found lives until it expires, or its cookie changes."""
    return getattr(adapter.current, _STATELESS, False) is True
