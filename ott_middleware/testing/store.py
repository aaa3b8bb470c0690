"""The store of one test of the contract, and its clock."""

from __future__ import annotations

import secrets
import time
from typing import Any

from ..errors import BackendFull, KeyTaken, OTTError, Unavailable
from .sync_async import Call, Caller

# How often a call is repeated after the connection broke, and after how many seconds.
_TRIES = 20
_PAUSE = 0.2


class Clock:
    """A clock that stands still until it is moved.

    :param now: where it starts, in seconds since 1970; by default at the present.
    """

    def __init__(self, now: float | None = None) -> None:
        self.now = float(int(time.time())) if now is None else now

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        """Move it."""
        self.now += seconds


class Store:
    """A backend called in one mode, with keys and owners that no other test uses."""

    def __init__(self, caller: Caller, clock: Clock) -> None:
        self.clock = clock
        self.backend = caller.backend
        self.prefix = f"{secrets.token_hex(8)}:"
        self.race = caller.race
        self._call = caller.call

    def put_call(
        self,
        key: str,
        value: bytes,
        *,
        seconds: float = 60,
        owner: str = "owner",
        limit: int | None = 10,
    ) -> Call:
        expires_at = self.clock.now + seconds
        keywords = {"expires_at": expires_at, "owner": self.prefix + owner, "limit": limit}
        return Call("put", (self.prefix + key, value), keywords)

    def take_call(self, key: str) -> Call:
        return Call("take", (self.prefix + key,))

    def put(self, key: str, value: bytes, **keywords: Any) -> None:
        self._call(self.put_call(key, value, **keywords))

    def take(self, key: str) -> bytes | None:
        value: bytes | None = self._call(self.take_call(key))
        return value

    def revoke(self, owner: str) -> int:
        count: int = self._call(Call("revoke", (self.prefix + owner,)))
        return count

    def close_once(self) -> None:
        self._call(Call("close"))

    def refuses_put(self, key: str, value: bytes, **keywords: Any) -> None:
        try:
            self.put(key, value, **keywords)
        except KeyTaken:
            return
        raise AssertionError("put overwrote a live value, or left it in silence: no KeyTaken")

    def full(self, key: str) -> bool:
        try:
            self.put(key, b"value", owner=key)
        except BackendFull:
            return True
        return False

    def insist(self, call: Call) -> list[Any]:
        """Call until the store responds; return all results, exceptions among them."""
        results: list[Any] = []
        for _ in range(_TRIES):
            try:
                return [*results, self._call(call)]
            except Exception as error:
                if isinstance(error, OTTError) and not isinstance(error, Unavailable):
                    raise
                results.append(error)
                time.sleep(_PAUSE)
        raise AssertionError("no response for seconds after the connection broke") from results[-1]
