"""Objects with `put` and `take` alone, used as backends."""

from __future__ import annotations

import inspect
import logging
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from ..concurrency import Bound, in_thread, is_async
from ..errors import ConfigurationError, NotSupported
from .base import CoroutineBackend, Token, needs_await

logger = logging.getLogger("ott_middleware")


class PutTake(Protocol):
    """An object with `put` and `take` alone, both sync or both async.

    If the object has a `clock` (a function that returns Unix seconds), tokens expire by it.
    """

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

# What is made of the clients of a library, by its package.
_CLIENTS = {
    "redis.": "RedisBackend(client)",
    "sqlalchemy.": "SQLAlchemyBackend(engine)",
    "pathlib": "SQLiteBackend(path)",
}


class PutTakeBackend(CoroutineBackend):
    """The backend of an object that has only `put(key, value, *, expires_at)` and `take(key)`.

    That `take` gives a value to one caller alone, and that `put` overwrites nothing, is the
    object's own promise: see `Backend`. The object stays open: close it yourself.

    :raises ConfigurationError: the object lacks one of them, one takes other arguments, or only one
        is async.
    """

    can_revoke = False

    def __init__(self, store: Any) -> None:
        self._store = store
        if isinstance(store, type):
            raise ConfigurationError(f"backend: the class {store.__name__}; {_CURE}")
        try:
            calls: tuple[Any, ...] = (
                ("put", inspect.signature(store.put), ("", b""), {"expires_at": 0.0}),
                ("take", inspect.signature(store.take), ("",), {}),
            )
        except (AttributeError, TypeError, ValueError):
            cure = _CURE
            for package, wrapped in _CLIENTS.items():
                if any(each.__module__.startswith(package) for each in type(store).__mro__):
                    cure = f"pass {wrapped}"
            raise ConfigurationError(f"backend: a {self.name}; {cure}") from None
        for method, signature, arguments, keywords in calls:
            try:
                signature.bind(*arguments, **keywords)
            except TypeError:
                raise ConfigurationError(
                    f"backend: {self.name}.{method}() takes other arguments; {_CURE}"
                ) from None
        self._is_async = is_async(store.put)
        if self._is_async is not is_async(store.take):
            raise ConfigurationError(
                f"backend: one of {self.name}.put() and {self.name}.take() is async, the other is "
                "not; make both sync or both async"
            )
        with suppress(AttributeError):
            if callable(store.clock):
                self.clock = store.clock
        logger.warning(
            "backend: %s has put and take alone, so that tokens can't be revoked (signing out "
            "leaves them live until they expire), and neither max_per_session nor the limit of a "
            "network's tokens has an effect",
            self.name,
        )

    @property
    def name(self) -> str:
        return type(self._store).__name__

    @property
    def async_only(self) -> bool:
        return self._is_async

    async def _put(self, call: Bound, token: Token) -> None:
        await call("put", token.key, token.value, expires_at=token.expires_at)

    async def _take(self, call: Bound, key: str) -> bytes | None:
        value: bytes | None = await call("take", key)
        return value

    async def _revoke(self, call: Bound, owner: str) -> int:
        raise NotSupported(f"{self.name} has put and take alone, and no revoke")

    async def _inline(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        if self._is_async:
            raise needs_await(self, name)
        return getattr(self._store, name)(*arguments, **keywords)

    async def _awaited(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        method = getattr(self._store, name)
        call = method if self._is_async else partial(in_thread, method)
        return await call(*arguments, **keywords)
