"""The contract of a backend: put, take, revoke."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from ..clock import system_clock
from ..concurrency import Bound, drive, in_thread, inline, is_async, on_loop
from ..errors import NotSupported

T = TypeVar("T")


class Backend:
    """A store for tokens that are waiting to be redeemed. Derive from it.

    Write `put`, `take` and `revoke`: their awaited twins then call them in a thread. Or write both.
    Or write the awaited twins alone: such a backend serves ASGI apps only. `put` and `take` must
    keep these promises:

    - **One winner.** Of any number of calls of `take` for one key, in any thread, task, process or
      host on the same store, exactly one gets the value. Reading first and deleting then is wrong.
    - **A take is never sent twice.** Where the store may have consumed a token and its reply is
      lost, `take` raises. A second attempt would find nothing, or a newer value.
    - **Nothing is overwritten or evicted.** A live value stays until it is taken, revoked, retired
      by its owner's limit, or expired.
    - **One clock.** Whether a value has expired is decided by `clock`, at the moment of the call.

    Any exception but this package's own counts as the store being unreachable: the client gets a
    503.
    """

    #: Tells the time in Unix seconds. A backend takes its clock as an argument, for tests.
    clock: Callable[[], float] = staticmethod(system_clock)

    #: Whether the sync methods may wait for a disk or a network. If not, the awaited twins call
    #: them on the event loop, without a thread.
    blocks: bool = True

    #: Whether the values can be reached from outside this process: by another process, a server, a
    #: disk.
    shared: bool = True

    @property
    def name(self) -> str:
        """What messages call this backend."""
        return type(self).__name__

    @property
    def async_only(self) -> bool:
        """Whether `put` and `take` can only be awaited. Such a backend serves ASGI apps only."""
        kind = type(self)
        return (
            kind.put is Backend.put
            or kind.take is Backend.take
            or is_async(self.put)
            or is_async(self.take)
        )

    @property
    def can_revoke(self) -> bool:
        """Whether the live values of an owner can be dropped."""
        kind = type(self)
        return kind.revoke is not Backend.revoke or kind.arevoke is not Backend.arevoke

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        """Keep `value` under `key` until `expires_at`.

        :param key: ASCII.
        :param value: sealed; at most 16 KiB.
        :param expires_at: Unix seconds. A value that has expired already need not be kept.
        :param owner: an opaque name of the session or network that the value counts for.
        :param limit: how many live values the owner may have, this one included: the oldest beyond
            that are dropped. None for no limit.
        :raises KeyTaken: a live value has that key. It is never overwritten.
        :raises BackendFull: there is no room. Another owner's live value is never dropped.
        """
        raise needs_await(self, "put")

    def take(self, key: str) -> bytes | None:
        """Remove a value and return it; None if there is none, or it has expired.

        The only way to read, and atomic: see the promises of `Backend`.
        """
        raise needs_await(self, "take")

    def revoke(self, owner: str) -> int:
        """Drop all live values of an owner, and return how many there were."""
        raise needs_await(self, "revoke")

    def close(self) -> None:
        """Close what is held open. Calling it twice is allowed."""
        return

    async def aput(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        """`put`, awaited."""
        await self._call(self.put, key, value, expires_at=expires_at, owner=owner, limit=limit)

    async def atake(self, key: str) -> bytes | None:
        """`take`, awaited."""
        return await self._call(self.take, key)

    async def arevoke(self, owner: str) -> int:
        """`revoke`, awaited."""
        return await self._call(self.revoke, owner)

    async def aclose(self) -> None:
        """`close`, awaited."""
        await self._call(self.close)

    async def ask_server(self) -> dict[str, Any]:
        """Return what the store's server tells of itself, for `doctor`; default: nothing.

        `time` is its clock, in Unix seconds, `policy` what it does when its memory is full.
        """
        return {}

    async def _call(self, method: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        if self.blocks:
            return await in_thread(method, *arguments, **keywords)
        return method(*arguments, **keywords)


class Token(NamedTuple):
    """What `put` is given: see `Backend.put`."""

    key: str
    value: bytes
    expires_at: float
    owner: str
    limit: int | None


class CoroutineBackend(Backend):
    """A backend that has each operation once, as a coroutine, for sync and async callers.

    Write `_put`, `_take` and `_revoke`: they reach the store by awaiting their first argument, and
    await nothing else. For sync callers it is `_inline`, which never suspends, and so the operation
    is run to its end in one step. For async callers it is `_awaited`; where that is None, they call
    the sync methods in a thread, those of a subclass included.
    """

    _inline: Callable[..., Coroutine[Any, Any, Any]]
    _awaited: Bound | None
    _put: Callable[[Bound, Token], Coroutine[Any, Any, None]]
    _take: Callable[[Bound, str], Coroutine[Any, Any, bytes | None]]
    _revoke: Callable[[Bound, str], Coroutine[Any, Any, int]]

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        drive(self._put(self._inline, Token(key, value, expires_at, owner, limit)))

    def take(self, key: str) -> bytes | None:
        return drive(self._take(self._inline, key))

    def revoke(self, owner: str) -> int:
        return drive(self._revoke(self._inline, owner))

    async def aput(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        if self._awaited is None:
            await super().aput(key, value, expires_at=expires_at, owner=owner, limit=limit)
        else:
            await self._put(self._awaited, Token(key, value, expires_at, owner, limit))

    async def atake(self, key: str) -> bytes | None:
        if self._awaited is None:
            return await super().atake(key)
        return await self._take(self._awaited, key)

    async def arevoke(self, owner: str) -> int:
        if self._awaited is None:
            return await super().arevoke(owner)
        return await self._revoke(self._awaited, owner)


def mark_of(owner: str) -> bytes:
    """Return a short name of an owner, of a fixed length."""
    return hashlib.sha256(owner.encode()).digest()[:16]


def bind_method(backend: Backend, name: str, *, asynchronous: bool) -> Bound:
    """Bind the method `name` for sync callers; for an event loop its awaited twin, or itself."""
    if not asynchronous:
        return inline(getattr(backend, name))
    twin = f"a{name}"
    # The base's twin of a method that never waits only calls the method.
    own_twin = getattr(type(backend), twin) is not getattr(Backend, twin)
    return on_loop(getattr(backend, twin if own_twin or backend.blocks else name))


def needs_await(backend: Backend, name: str) -> NotSupported:
    """Build the error of a sync method that can only be awaited."""
    return NotSupported(
        f"{backend.name} has no {name}() for synchronous callers: await a{name}() (of a "
        f"token service: its awaited methods), or define {name}()"
    )
