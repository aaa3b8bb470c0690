"""Objects with `put` and `take` alone, made into backends."""

from __future__ import annotations

import inspect
import logging
from typing import Any, Protocol

from ..concurrency import is_async
from ..errors import ConfigurationError, NotSupported
from .base import Backend

logger = logging.getLogger("ott_middleware")


class PutTake(Protocol):
    """An object with `put` and `take` alone, both synchronous or both coroutine functions."""

    def put(self, key: str, value: bytes, *, expires_at: float) -> Any:
        """Keep `value` under `key` until `expires_at` (Unix seconds)."""
        ...

    def take(self, key: str) -> Any:
        """Remove a value and return it, to one caller alone; None if there is none."""
        ...


_CURE = (
    "pass an object derived from Backend, one with put(key, value, *, expires_at) and take(key), "
    "or a URL"
)

# What they are called with.
_METHODS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "put": (("", b""), {"expires_at": 0.0}),
    "take": (("",), {}),
}


def put_take_backend(store: Any) -> Backend:
    """A backend of an object that has only `put(key, value, *, expires_at)` and `take(key)`.

    Both are synchronous, or both coroutine functions. That `take` gives a value to one caller
    alone, and that `put` overwrites nothing, is the object's own promise: see `Backend`.

    :raises ConfigurationError: it has them not, or otherwise.
    """
    kind = type(store).__name__
    if isinstance(store, type) or not all(callable(getattr(store, n, None)) for n in _METHODS):
        raise ConfigurationError(f"backend: {_name(store)}; {_CURE}")
    for name, (arguments, keywords) in _METHODS.items():
        try:
            inspect.signature(getattr(store, name)).bind(*arguments, **keywords)
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"backend: {kind}.{name}() takes other arguments; {_CURE}"
            ) from None
    colours = {is_async(store.put), is_async(store.take)}
    if len(colours) > 1:
        raise ConfigurationError(
            f"backend: one of {kind}.put() and {kind}.take() is async, the other is not; make "
            "both of one colour"
        )
    logger.warning(
        "backend: %s has put and take alone, so that tokens can't be revoked (signing out leaves "
        "them live until they expire), and neither max_per_session nor the limit of a network's "
        "tokens has an effect",
        kind,
    )
    # Named like the object's own class: messages name a backend by its class.
    backend: Backend = type(kind, (_Async if colours.pop() else _Sync,), {})(store)
    return backend


def _name(store: object) -> str:
    return f"the class {store.__name__}" if isinstance(store, type) else f"a {type(store).__name__}"


class _PutTake(Backend):
    can_revoke = False

    def __init__(self, store: Any) -> None:
        self._store = store
        clock = getattr(store, "clock", None)
        if callable(clock):
            self.clock = clock

    def revoke(self, owner: str) -> int:
        raise NotSupported(f"{type(self._store).__name__} has put and take alone, and no revoke")

    async def arevoke(self, owner: str) -> int:
        return self.revoke(owner)

    def close(self) -> None:
        """Nothing: whoever made the object closes it."""

    async def aclose(self) -> None:
        self.close()


class _Sync(_PutTake):
    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        self._store.put(key, value, expires_at=expires_at)

    def take(self, key: str) -> bytes | None:
        value: bytes | None = self._store.take(key)
        return value


class _Async(_PutTake):
    async def aput(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        await self._store.put(key, value, expires_at=expires_at)

    async def atake(self, key: str) -> bytes | None:
        value: bytes | None = await self._store.take(key)
        return value
