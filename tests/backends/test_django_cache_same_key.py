"""Keys that recur in a Django cache: a value is taken once, whatever is stored under its key later.

A site's own `generate_token` may return a text again. Two calls of `take` for the first value, with
a `put` of a second one in between, must not both get the first.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache

from ott_middleware.backends import DjangoCacheBackend
from ott_middleware.errors import BackendUnavailable, KeyTaken
from ott_middleware.testing import Clock

from .test_django_cache import local


@pytest.fixture
def backend() -> Iterator[DjangoCacheBackend]:
    with local():
        yield DjangoCacheBackend("ott", clock=lambda: 1000.0)


def put(backend: DjangoCacheBackend, value: bytes, expires_at: float = 1060) -> None:
    backend.put("key", value, expires_at=expires_at, owner="o", limit=None)


def before(
    monkeypatch: pytest.MonkeyPatch, method: str, number: int, act: Callable[[], Any]
) -> None:
    """Run `act` before the cache's `number`th call of `method`, and then never again."""
    real = getattr(LocMemCache, method)
    count = 0

    def slow(cache: LocMemCache, *arguments: Any, **keywords: Any) -> Any:
        nonlocal count
        count += 1
        if count == number:
            monkeypatch.setattr(LocMemCache, method, real)
            act()
        return real(cache, *arguments, **keywords)

    monkeypatch.setattr(LocMemCache, method, slow)


class TestSlowTake:
    def test_value_is_not_given_again_after_the_key_recurred(
        self, backend: DjangoCacheBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(backend, b"first")
        taken: list[bytes | None] = []

        def redeem_and_put_again() -> None:
            taken.append(backend.take("key"))
            put(backend, b"second")

        before(monkeypatch, "delete", 1, redeem_and_put_again)
        taken.append(backend.take("key"))  # it has read the first value by then
        assert taken == [b"first", None]
        assert backend.take("key") == b"second", "the newer value was deleted unredeemed"
        assert backend.take("key") is None

    def test_equal_value_put_again_is_given_once_for_each_put(
        self, backend: DjangoCacheBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(backend, b"same")
        taken: list[bytes | None] = []

        def redeem_and_put_again() -> None:
            taken.append(backend.take("key"))
            put(backend, b"same")

        before(monkeypatch, "delete", 1, redeem_and_put_again)
        taken.append(backend.take("key"))
        taken += [backend.take("key"), backend.take("key")]
        assert sorted(taken, key=str) == [None, None, b"same", b"same"]

    def test_winner_that_stalls_past_the_expiry_deletes_no_newer_value(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock()
        with local():
            backend = DjangoCacheBackend("ott", clock=clock)
            backend.put("key", b"first", expires_at=clock() + 30, owner="o", limit=None)

            def expire() -> None:
                clock.now += 31

            before(monkeypatch, "delete", 1, expire)
            assert backend.take("key") == b"first"
            # Until the cache itself drops the used entry, its key stays taken.
            with pytest.raises(KeyTaken):
                backend.put("key", b"second", expires_at=clock() + 30, owner="o", limit=None)


class TestSlowPut:
    def test_two_puts_over_an_expired_value_do_not_both_succeed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock()
        with local():
            backend = DjangoCacheBackend("ott", clock=clock)
            backend.put("key", b"old", expires_at=clock() + 30, owner="o", limit=None)
            clock.now += 30

            def put_first() -> None:
                backend.put("key", b"first", expires_at=clock() + 30, owner="o", limit=None)

            before(monkeypatch, "delete", 1, put_first)
            with pytest.raises(KeyTaken):
                backend.put("key", b"second", expires_at=clock() + 30, owner="o", limit=None)
            assert backend.take("key") == b"first"
            assert backend.take("key") is None

    def test_value_that_the_cache_dropped_meanwhile_makes_way(
        self, backend: DjangoCacheBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(backend, b"first")
        before(monkeypatch, "get", 1, lambda: backend.take("key"))
        put(backend, b"second")
        assert backend.take("key") == b"second"

    def test_refused_put_leaves_no_ticket(
        self, backend: DjangoCacheBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(backend, b"first")
        cache = backend._idle[0]
        entries = len(cache._cache)
        with pytest.raises(KeyTaken):
            put(backend, b"second")
        assert len(cache._cache) == entries
        backend.take("key")
        assert len(cache._cache) == 0, "a used token leaves nothing behind"

    def test_cache_that_stores_only_tickets_is_unavailable(
        self, backend: DjangoCacheBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add = LocMemCache.add

        def add_tickets(cache: LocMemCache, name: str, *rest: Any, **more: Any) -> Any:
            return ":ticket:" in name and add(cache, name, *rest, **more)

        monkeypatch.setattr(LocMemCache, "add", add_tickets)
        with pytest.raises(BackendUnavailable):
            put(backend, b"value")
        assert len(backend._idle[0]._cache) == 0


def test_race_of_takes_and_puts_gives_no_value_twice(backend: DjangoCacheBackend) -> None:
    taken: list[bytes] = []
    done = threading.Event()

    def take() -> None:
        while not done.is_set():
            value = backend.take("key")
            if value is not None:
                taken.append(value)

    takers = [threading.Thread(target=take) for _ in range(4)]
    for taker in takers:
        taker.start()
    stored = 0
    for number in range(2000):
        try:
            put(backend, b"%d" % number)
            stored += 1
        except KeyTaken:
            continue
    done.set()
    for taker in takers:
        taker.join(10)
    last = backend.take("key")
    assert max(Counter(taken).values()) == 1
    assert len(taken) + (last is not None) == stored, "a live value was deleted unredeemed"
