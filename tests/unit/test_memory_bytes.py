"""`MemoryBackend(max_bytes=)`: the memory that tokens take has a bound."""

from __future__ import annotations

import secrets
import tracemalloc

import pytest

from ott_middleware import MemoryBackend, OneTimeTokens
from ott_middleware.errors import BackendFull
from ott_middleware.sessions.cookie import CookieSession
from ott_middleware.testing import Clock

MIB = 1024 * 1024


def put(
    backend: MemoryBackend,
    key: str,
    size: int = 1000,
    *,
    until: float = 2000.0,
    owner: str = "alice",
    limit: int | None = None,
) -> None:
    backend.put(key, bytes(size), expires_at=until, owner=owner, limit=limit)


def fill(backend: MemoryBackend, size: int = 1000, *, until: float = 2000.0) -> int:
    for number in range(1_000_000):
        try:
            put(backend, f"fill{number}", size, until=until, owner=f"owner{number}")
        except BackendFull:
            return number
    raise AssertionError("never full")


class TestMaxBytes:
    def test_default_is_64_mib(self) -> None:
        assert MemoryBackend().max_bytes == 64 * MIB
        assert MemoryBackend(7, 5000).max_bytes == 5000

    def test_large_values_are_refused_before_maxsize(self) -> None:
        backend = MemoryBackend(max_bytes=MIB, clock=Clock(1000.0))
        count = fill(backend, 16_000)
        assert 55 <= count <= 65
        with pytest.raises(BackendFull, match="1048576 bytes of live tokens: raise max_bytes"):
            put(backend, "another", 16_000)
        assert len(backend) == count
        assert all(backend.take(f"fill{number}") is not None for number in range(count))
        assert backend.held_bytes == 0

    @pytest.mark.parametrize("churn", [0, 3])
    def test_what_is_counted_is_not_less_than_what_is_used(self, churn: int) -> None:
        # What the issue is about: the process's memory, and not a number of tokens.
        tracemalloc.start()
        try:
            backend = MemoryBackend(max_bytes=4 * MIB, clock=Clock(1000.0))
            before = tracemalloc.get_traced_memory()[0]
            full = False
            number = 0
            while not full:
                number += 1
                owner = secrets.token_urlsafe(32)
                for turn in range(churn + 1):
                    key = f"handoff:{secrets.token_urlsafe(32)}"
                    value = secrets.token_bytes(300)
                    try:
                        backend.put(key, value, expires_at=2000.0 + number, owner=owner, limit=None)
                    except BackendFull:
                        full = True
                        break
                    if turn:
                        backend.take(key)
            used = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert used <= backend.held_bytes <= 4 * MIB
        assert used > 2 * MIB, "it refuses much too early"

    def test_expired_values_make_way(self) -> None:
        clock = Clock(1000.0)
        backend = MemoryBackend(max_bytes=100_000, clock=clock)
        first = fill(backend, until=1010.0)
        clock.now = 1010.0
        assert fill(backend) == first
        assert backend.held_bytes <= 100_000

    def test_another_owner_is_never_evicted(self) -> None:
        backend = MemoryBackend(max_bytes=100_000, clock=Clock(1000.0))
        count = fill(backend)
        for _ in range(3):
            with pytest.raises(BackendFull):
                put(backend, "mine", owner="mallory", limit=1)
        assert all(backend.take(f"fill{number}") is not None for number in range(count))

    def test_own_oldest_retires_first(self) -> None:
        backend = MemoryBackend(max_bytes=100_000, clock=Clock(1000.0))
        put(backend, "oldest", owner="mine", limit=1)
        fill(backend)
        put(backend, "newest", owner="mine", limit=1)
        assert backend.take("oldest") is None
        assert backend.take("newest") is not None

    def test_a_value_larger_than_everything_is_refused(self) -> None:
        backend = MemoryBackend(max_bytes=2000, clock=Clock(1000.0))
        with pytest.raises(BackendFull, match="max_bytes"):
            put(backend, "large", 2000)
        put(backend, "small", 100)
        assert backend.take("small") is not None

    def test_keys_and_owners_count(self) -> None:
        backend = MemoryBackend(clock=Clock(1000.0))
        put(backend, "k", 0, owner="o")
        small = backend.held_bytes
        backend.take("k")
        put(backend, "k" * 500, 0, owner="o" * 500)
        assert backend.held_bytes - small == 2 * 499 + 499

    def test_every_way_out_gives_back(self) -> None:
        clock = Clock(1000.0)
        backend = MemoryBackend(clock=clock)
        for number in range(300):
            put(backend, f"k{number}", number, until=1010.0 + number, owner=f"o{number % 7}")
        for number in range(0, 300, 3):
            backend.take(f"k{number}")
        backend.revoke("o1")
        put(backend, "one more", owner="o2", limit=2)
        clock.now = 5000.0
        for number in range(256):
            put(backend, f"after{number}", until=6000.0, owner="after", limit=1)
        backend.revoke("after")
        assert (len(backend), backend.held_bytes) == (0, 0)

    def test_through_a_url(self) -> None:
        service = OneTimeTokens("memory://?max_bytes=5000", sessions=CookieSession("sid"))
        assert isinstance(service.backend, MemoryBackend)
        assert (service.backend.maxsize, service.backend.max_bytes) == (100_000, 5000)
