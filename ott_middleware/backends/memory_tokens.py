"""The tokens of one process, in parts that grow in number and are looked through in turn."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable

from cachetools import Cache

from ..errors import BackendFull, KeyTaken

# The tokens are spread over parts of about this many, and a put looks through two of them, however
# many tokens there are. So neither a mass expiry nor the growth of a dict holds up one caller.
_FILL = 24

# How many parts a put to a full store looks through for expired tokens before it is refused. There
# may be more of these in a large store: the next put goes on where this one ended.
_LOOKS = 256

# What a token takes beside the characters of its key, value and owner, in bytes: Python's objects
# and their places in dicts. By tracemalloc, for 20 to 300,000 tokens with one to five an owner, it
# was 350 at most (CPython 3.10 to 3.13), and 510 where other tokens were put and taken in between.
_OVERHEAD = 550

# A plain tuple of atoms: Python's garbage collector stops looking at those, as it never does at
# instances of a class. With a million tokens a full collection takes 0.08 s, and not 4 s.
Entry = tuple[bytes, str, float]  # value, owner, expires_at


class _Part(Cache[str, Entry]):
    """A share of the tokens, and of their owners.

    cachetools' own TTL caches drop all that has expired in one call, and take 7 µs and 150 bytes
    more for each token. This one is a cache of theirs that knows when it is worth looking through.
    """

    def __init__(self) -> None:
        super().__init__(sys.maxsize)
        # The key of an owner's only token; of several, key → expires_at, oldest first. Most owners
        # have one, and a dict of their own would take 200 bytes.
        self.owners: dict[str, str | dict[str, float]] = {}
        self.earliest = math.inf  # nothing in this part expires before
        # When the token that was put last expires; infinity if it expires before another one. Most
        # tokens live equally long, and so the first that is live ends the search for expired ones.
        self.latest = 0.0

    def __repr__(self) -> str:
        # The failure: a cache shows its keys, which are live tokens where they are stored "plain",
        # to an error reporter that records local variables.
        return f"{type(self).__name__}({len(self)} tokens)"

    def add(self, key: str, entry: Entry) -> None:
        """Keep a token."""
        self[key] = entry
        expires_at = entry[2]
        self.latest = expires_at if expires_at >= self.latest else math.inf
        if expires_at < self.earliest:
            self.earliest = expires_at

    def clear(self) -> None:
        """Give back the room of what was here: a dict keeps that of its largest size."""
        super().clear()
        self.earliest, self.latest = math.inf, 0.0


class Tokens:
    """The tokens of one process, and the lock before them."""

    def __init__(self, maxsize: int, max_bytes: int, clock: Callable[[], float]) -> None:
        self._maxsize = maxsize
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._parts = [_Part()]
        self._mask = 0  # the least 2ⁿ - 1 that is not less than the number of the last part
        self._sweep = 0
        self.count = 0
        self.bytes = 0

    def put(self, key: str, entry: Entry, limit: int | None) -> None:
        _, owner, expires_at = entry
        with self._lock:
            now = self._clock()
            if expires_at <= now:
                return
            part = self._part(key)
            if part.earliest <= now:
                self._expire(part, now)
            self._expire_next(now)  # in turn, so that idle parts are emptied as well
            # What has expired is gone from this part: a key that is there is live.
            if key in part:
                raise KeyTaken("a live token has that key")
            owners = self._part(owner).owners
            if limit is not None and owner in owners:
                self._retire(owner, limit, now)
            size = _size(key, entry)
            if self.count >= self._maxsize or self.bytes + size > self._max_bytes:
                self._make_room(size, now)
            part.add(key, entry)
            self._own(owners, key, entry)
            self.count += 1
            self.bytes += size
            if self.count > _FILL * len(self._parts):
                self._split()

    def take(self, key: str) -> bytes | None:
        with self._lock:
            # One lock around look and removal: no second caller can see the entry in between.
            entry = self._remove(key)
            # Expired tokens lie about until a put finds them. None is ever returned.
            return entry[0] if entry is not None and entry[2] > self._clock() else None

    def revoke(self, owner: str) -> int:
        with self._lock:
            now = self._clock()
            held = self._part(owner).owners.get(owner, ())
            keys = [held] if isinstance(held, str) else list(held)
            removed = [self._remove(key) for key in keys]
            return sum(entry is not None and entry[2] > now for entry in removed)

    def _part(self, name: str) -> _Part:
        """Return the part of a key, or of an owner."""
        # Linear hashing: parts are split one after the other. The name of a part that is still to
        # come is in the part that will be split for it.
        number = hash(name) & self._mask
        if number >= len(self._parts):
            number &= self._mask >> 1
        return self._parts[number]

    def _split(self) -> None:
        number = len(self._parts)
        if number > self._mask:
            self._mask = 2 * self._mask + 1
        lower = number & (self._mask >> 1)
        old, self._parts[lower] = self._parts[lower], _Part()
        self._parts.append(_Part())
        for key in old:
            self._part(key).add(key, old[key])
        for owner, keys in old.owners.items():
            self._part(owner).owners[owner] = keys

    def _expire_next(self, now: float) -> None:
        self._sweep = (self._sweep + 1) % len(self._parts)
        part = self._parts[self._sweep]
        if part.earliest <= now:
            self._expire(part, now)

    def _expire(self, part: _Part, now: float) -> None:
        part.earliest = math.inf
        for key in list(part):
            expires_at = part[key][2]
            if expires_at <= now:
                self._remove(key)
            elif expires_at < part.earliest:
                part.earliest = expires_at
                if part.latest < math.inf:
                    break
        if not len(part):
            part.clear()

    def _own(self, owners: dict[str, str | dict[str, float]], key: str, entry: Entry) -> None:
        _, owner, expires_at = entry
        keys = owners.get(owner)
        if keys is None:
            owners[owner] = key
            return
        if isinstance(keys, str):
            keys = owners[owner] = {keys: self._part(keys)[keys][2]}
        keys[key] = expires_at

    def _remove(self, key: str) -> Entry | None:
        part = self._part(key)
        if key not in part:
            return None
        entry = part[key]
        del part[key]
        owner = entry[1]
        owners = self._part(owner).owners
        keys = owners[owner]
        if isinstance(keys, dict):
            del keys[key]
        if isinstance(keys, str) or not keys:
            del owners[owner]
        self.count -= 1
        self.bytes -= _size(key, entry)
        return entry

    def _retire(self, owner: str, limit: int, now: float) -> None:
        keys = self._part(owner).owners[owner]
        if isinstance(keys, str):
            if limit <= 1:
                self._remove(keys)
            return
        if len(keys) < limit:
            return
        # The expired ones do not count.
        for key in [key for key, expires_at in keys.items() if expires_at <= now]:
            self._remove(key)
        while len(keys) >= limit:
            self._remove(next(iter(keys)))

    def _make_room(self, size: int, now: float) -> None:
        # A visitor without an account can have tokens made for any number of made-up sessions.
        # Both bounds refuse the next one once all that has expired is gone. Without the second,
        # large tokens would take all of the machine's memory long before the first is reached.
        most = self._max_bytes - size
        for _ in range(min(_LOOKS, len(self._parts))):
            self._expire_next(now)
            if self.count < self._maxsize and self.bytes <= most:
                return
        if self.count >= self._maxsize:
            raise BackendFull(f"{self._maxsize} live tokens: raise maxsize, or use another backend")
        raise BackendFull(
            f"{self._max_bytes} bytes of live tokens: raise max_bytes, or use another backend"
        )


def _size(key: str, entry: Entry) -> int:
    # The key twice: an over-estimate, on the safe side.
    return _OVERHEAD + 2 * len(key) + len(entry[0]) + len(entry[1])
