"""`MemoryBackend` with many tokens: what one call does does not grow with their number."""

from __future__ import annotations

import gc
import math
import sys

import pytest
from memory_owners import owners_of

from ott_middleware import MemoryBackend
from ott_middleware.backends import memory_tokens
from ott_middleware.errors import BackendFull, KeyTaken
from ott_middleware.testing import Clock

MANY = 30_000


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


def put(
    backend: MemoryBackend,
    key: str,
    *,
    until: float = 2000.0,
    owner: str | None = None,
    limit: int | None = None,
) -> None:
    backend.put(key, key.encode(), expires_at=until, owner=owner or f"of {key}", limit=limit)


def live(backend: MemoryBackend, *keys: str) -> list[str]:
    return [key for key in keys if backend.take(key) == key.encode()]


def parts(backend: MemoryBackend) -> list[memory_tokens._Part]:
    return backend._tokens()._parts


class TestParts:
    def test_grow_with_the_tokens_and_lose_none(self, clock: Clock) -> None:
        backend = MemoryBackend(clock=clock)
        for number in range(MANY):
            put(backend, f"k{number}", owner=f"o{number // 3}", limit=3)
        assert len(parts(backend)) == math.ceil(MANY / memory_tokens._FILL)
        # Of the parts that are still to be split, some have twice as many as others.
        assert max(map(len, parts(backend))) < 5 * memory_tokens._FILL
        assert len(backend) == sum(map(len, parts(backend))) == MANY
        assert set(map(len, owners_of(backend).values())) == {3}
        assert all(backend.take(f"k{number}") for number in range(0, MANY, 3))
        assert sum(backend.revoke(f"o{number}") for number in range(MANY // 3)) == MANY - MANY // 3
        assert (len(backend), backend.held_bytes, owners_of(backend)) == (0, 0, {})

    def test_live_keys_are_refused_in_each(self, clock: Clock) -> None:
        backend = MemoryBackend(clock=clock)
        for number in range(500):
            put(backend, f"k{number}")
        for number in range(500):
            with pytest.raises(KeyTaken):
                put(backend, f"k{number}")

    def test_tokens_cost_the_garbage_collector_nothing(self, clock: Clock) -> None:
        backend = MemoryBackend(clock=clock)
        put(backend, "k")
        gc.collect()
        (part,) = parts(backend)
        assert not gc.is_tracked(part["k"])


class TestExpiry:
    def test_one_call_drops_two_parts_at_most(self, clock: Clock) -> None:
        backend = MemoryBackend(clock=clock)
        for number in range(MANY):
            put(backend, f"k{number}", until=1010)
        clock.now = 1010
        most = 2 * max(map(len, parts(backend)))
        for number in range(len(parts(backend))):
            before = len(backend)
            put(backend, f"later{number}", owner="later", limit=1)
            assert before - len(backend) <= most
        assert len(backend) == 1

    @pytest.mark.parametrize("ends", [[1010, 1010, 1020, 1030], [1020, 1010, 1030, 1010]])
    def test_in_any_order(self, clock: Clock, ends: list[int]) -> None:
        backend = MemoryBackend(clock=clock)
        for number, until in enumerate(ends):
            put(backend, f"k{number}", until=until)
        for now, held in ((1009, 4), (1010, 2), (1020, 1), (1030, 0)):
            clock.now = now
            put(backend, "new", owner="new", limit=1)
            assert len(backend) == held + 1
            assert backend.take("new") == b"new"

    def test_tokens_out_of_order_stay_findable(self, clock: Clock) -> None:
        # The first to be seen lives longer than all that follow.
        backend = MemoryBackend(clock=clock)
        for number, until in enumerate((1050, 1010, 1040, 1060, 1020)):
            put(backend, f"k{number}", until=until)
        clock.now = 1020
        put(backend, "new")
        assert len(backend) == 4
        assert live(backend, *(f"k{number}" for number in range(5))) == ["k0", "k2", "k3"]

    def test_memory_of_the_expired_is_given_back(self, clock: Clock) -> None:
        backend = MemoryBackend(clock=clock)
        put(backend, "a", until=1010)
        (part,) = parts(backend)
        empty = sys.getsizeof(memory_tokens._Part()._Cache__data)  # type: ignore[attr-defined]
        assert sys.getsizeof(part._Cache__data) > empty  # type: ignore[attr-defined]
        clock.now = 1010
        with pytest.raises(BackendFull):
            backend.put("b", bytes(65 * 1024 * 1024), expires_at=2000, owner="o", limit=None)
        assert sys.getsizeof(part._Cache__data) == empty  # type: ignore[attr-defined]

    def test_unswept_tokens_are_never_returned_and_block_no_key(self, clock: Clock) -> None:
        backend = MemoryBackend(clock=clock)
        for number in range(200):
            put(backend, f"k{number}", until=1010)
        clock.now = 1010
        assert len(backend) == 200
        assert backend.take("k7") is None
        assert backend.revoke("of k8") == 0
        for number in range(200):
            put(backend, f"k{number}")
        assert len(live(backend, *(f"k{number}" for number in range(200)))) == 200


class TestOwner:
    def test_with_room_below_the_limit_keeps_all(self, clock: Clock) -> None:
        backend = MemoryBackend(clock=clock)
        for key in "abcd":
            put(backend, key, owner="o", limit=5)
        assert live(backend, *"abcd") == ["a", "b", "c", "d"]

    def test_expired_tokens_of_other_parts_do_not_count(self, clock: Clock) -> None:
        backend = MemoryBackend(clock=clock)
        put(backend, "first", owner="o")
        for number in range(300):
            put(backend, f"filling {number}")
        for number in range(10):
            put(backend, f"short {number}", until=1010, owner="o")
        clock.now = 1010
        put(backend, "last", owner="o", limit=2)
        assert live(backend, "first", "last") == ["first", "last"]


class TestFullStore:
    def test_looks_through_some_parts_only(self, clock: Clock) -> None:
        backend = MemoryBackend(MANY, max_bytes=1 << 30, clock=clock)
        for number in range(MANY):
            put(backend, f"k{number}")
        tokens = backend._tokens()
        seen = tokens._sweep
        with pytest.raises(BackendFull):
            put(backend, "another")
        assert (tokens._sweep - seen) % len(parts(backend)) == memory_tokens._LOOKS + 1

    def test_finds_what_has_expired_within_a_few_calls(self, clock: Clock) -> None:
        backend = MemoryBackend(MANY, max_bytes=1 << 30, clock=clock)
        put(backend, "short", until=1010)
        for number in range(MANY - 1):
            put(backend, f"k{number}")
        clock.now = 1010
        for _ in range(len(parts(backend)) // memory_tokens._LOOKS):
            try:
                put(backend, "another")
                break
            except BackendFull:
                pass
        else:
            put(backend, "another")
        assert backend.take("another") == b"another"
