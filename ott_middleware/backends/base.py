"""The contract of a backend: put, take, revoke."""

from __future__ import annotations

from typing import Protocol

from ..concurrency import in_thread, is_async
from ..errors import NotSupported


class Backend(Protocol):
    """Where tokens wait. Derive from it, and write the synchronous colour, or both.

    The asynchronous twins call the synchronous methods in a thread unless they are overridden. Any
    exception but this package's own counts as the engine being unreachable: the client gets a 503.
    """

    #: Whether the synchronous methods may wait for a disk or a network.
    blocks: bool = True

    #: Whether others than this process can reach the values: another process, a server, a disk.
    shared: bool = True

    @property
    def async_only(self) -> bool:
        """Whether there is no synchronous colour. Such a backend serves ASGI apps alone."""
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
        raise NotSupported(_missing(self, "put"))

    def take(self, key: str) -> bytes | None:
        """Remove a value and return it; None if there is none, or it has expired.

        The only way to read, and atomic: of any number of calls for one key, in any thread, task,
        process or host on the same store, exactly one gets the value.
        """
        raise NotSupported(_missing(self, "take"))

    def revoke(self, owner: str) -> int:
        """Drop all live values of an owner, and return how many there were."""
        raise NotSupported(_missing(self, "revoke"))

    def close(self) -> None:
        """Give back what is held open. Calling it twice is allowed."""
        return

    async def aput(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        """`put`, awaited."""
        await in_thread(self.put, key, value, expires_at=expires_at, owner=owner, limit=limit)

    async def atake(self, key: str) -> bytes | None:
        """`take`, awaited."""
        return await in_thread(self.take, key)

    async def arevoke(self, owner: str) -> int:
        """`revoke`, awaited."""
        return await in_thread(self.revoke, owner)

    async def aclose(self) -> None:
        """`close`, awaited."""
        await in_thread(self.close)


def _missing(backend: Backend, name: str) -> str:
    return (
        f"{type(backend).__name__} has no {name}() for synchronous callers: await a{name}() (of a "
        f"token service: its awaited methods), or define {name}()"
    )
