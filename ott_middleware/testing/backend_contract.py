"""The contract of a backend, as tests.

It is longer than 300 lines so that all that a backend must do stands in one class.
"""

from __future__ import annotations

import os
import secrets
import unittest
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ..backends.base import Backend
from ..backends.put_take import PutTake
from ..backends.registry import backend_of
from ..errors import KeyTaken, NotSupported, OTTError, Unavailable
from .applicable import Contract, needs
from .races import assert_fork_safe, assert_single_use_across, check_winners
from .store import Clock, Store
from .sync_async import AsyncCaller, Caller

MAX_VALUE = 16 * 1024
MAX_KEY = 600


class BackendContract(Contract):
    """What any backend must do. Derive from it in a module of pytest tests::

        from ott_middleware.testing import BackendContract

        class TestMine(BackendContract):
            def make_backend(self, clock):
                return MyBackend("…", clock=clock)

    Each test runs in the `modes`: `sync`, and `async` on an event loop of its own. Each makes a
    backend and closes it. Keys and owners are random: the store need not be empty, and what is left
    in it expires.

    Only tests that apply are made. What a backend cannot do is said by `modes`, `limits_owners` and
    `revokes`; more is tested where more is defined: see `connect`, `make_small_backend`,
    `break_connection`, `lose_reply` and `before_fork`.
    """

    #: How the backend can be called. For one that is async only: ``("async",)``.
    modes: tuple[str, ...] = ("sync", "async")
    #: False for a backend that does not count the values of an owner.
    limits_owners: bool = True
    #: False for a backend that cannot revoke.
    revokes: bool = True
    #: How many tokens are raced for, and by how many callers.
    rounds: int = 25
    callers: int = 8

    def make_backend(self, clock: Callable[[], float]) -> Backend | PutTake:
        """Make a new backend that goes by `clock`."""
        raise NotImplementedError(f"{type(self).__name__} must define make_backend(self, clock)")

    def connect(self) -> Callable[[], Backend]:
        """Return what makes a backend of one and the same store in any process, by the real clock.

        It must be something that can be pickled: a function of a module, or
        ``functools.partial(MyBackend, "…")``. Leave it undefined for a store of one process.
        """
        raise NotImplementedError

    def make_small_backend(self, clock: Callable[[], float]) -> Backend:
        """Make a backend with room for a thousand values or fewer, if it can have such a limit."""
        raise NotImplementedError

    def break_connection(self, backend: Backend) -> None:
        """Cut, from outside, the connections that `backend` holds to its store."""
        raise NotImplementedError

    def lose_reply(self, backend: Backend) -> AbstractContextManager[Callable[[], int]]:
        """Have the reply to the take that is made meanwhile lost, once the store has done it.

        A proxy before the server can do that: it hands the command on, and closes the connection
        where the reply should come. It gives a function that tells how many takes have reached the
        store since.
        """
        raise NotImplementedError

    def before_fork(self) -> Callable[[], Backend]:
        """Return what makes a backend in a process that is forked then, by the real clock.

        Like `connect`, and its result unless it is overridden; the store may also be the
        process's own memory.
        """
        return self.connect()

    # Put and take.

    def test_a_value_is_given_once(self, mode: str) -> None:
        with self._store(mode) as store:
            store.put("key", b"value")
            assert store.take("key") == b"value"
            assert store.take("key") is None

    def test_an_unknown_key_gives_nothing(self, mode: str) -> None:
        with self._store(mode) as store:
            assert store.take("key") is None

    def test_any_bytes_come_back(self, mode: str) -> None:
        values = [b"\0", bytes(range(256)), b"\xff\xfe", b"' OR ''='", b"%s\r\n$-1\r\n", b"1"]
        with self._store(mode) as store:
            for value in [*values, secrets.token_bytes(MAX_VALUE)]:
                store.put("key", value)
                taken = store.take("key")
                assert isinstance(taken, bytes)
                assert taken == value

    def test_keys_are_told_apart(self, mode: str) -> None:
        suffixes = ["key", "KEY", "Key", "ke", "key ", "key\0", "key%", "key_", "ke_", "key*"]
        suffixes += ["key'", 'key"', "key\\", "key\n", "{key}", "key:", "key/../key", "k-e-y"]
        with self._store(mode) as store:
            for suffix in suffixes:
                store.put(suffix, suffix.encode(), limit=None)
            for suffix in suffixes:
                assert store.take(suffix) == suffix.encode()
                assert store.take(suffix) is None

    def test_long_keys_are_told_apart(self, mode: str) -> None:
        with self._store(mode) as store:
            long = "k" * (MAX_KEY - len(store.prefix) - 1)
            store.put(long + "a", b"a")
            store.put(long + "b", b"b")
            assert store.take(long) is None
            assert store.take(long + "A") is None
            assert store.take(long + "a") == b"a"
            assert store.take(long + "b") == b"b"

    # No overwriting, no eviction.

    def test_a_live_value_is_not_overwritten(self, mode: str) -> None:
        with self._store(mode) as store:
            store.put("key", b"first")
            store.put("another's", b"value", owner="another")
            store.refuses_put("key", b"second", owner="another", limit=1)
            assert store.take("another's") == b"value", "a put that is refused retires nothing"
            assert store.take("key") == b"first"

    def test_a_key_is_free_after_it_was_taken(self, mode: str) -> None:
        with self._store(mode) as store:
            store.put("key", b"first")
            store.take("key")
            store.put("key", b"second", owner="another")
            assert store.take("key") == b"second"

    def test_nobody_is_evicted(self, mode: str) -> None:
        with self._store(mode) as store:
            store.put("key", b"value", limit=1)
            for number in range(100):
                store.put(f"other {number}", b"x" * 1000, owner=f"other {number}", limit=1)
            assert store.take("key") == b"value"
            for number in range(100):
                assert store.take(f"other {number}") is not None

    @needs("make_small_backend")
    def test_full_is_full(self, mode: str) -> None:
        with self._store(mode, self.make_small_backend) as store:
            held = 0
            while held <= 1000 and not store.full(f"{held}"):
                held += 1
            assert 0 < held <= 1000, "BackendFull comes after some values, and not too many"
            assert [store.take(f"{number}") for number in range(held)] == [b"value"] * held
            store.put("again", b"value")  # there is room again
            assert store.take("again") == b"value"

    # Expiry.

    def test_a_value_is_gone_when_it_expires(self, mode: str) -> None:
        with self._store(mode) as store:
            store.put("early", b"value", seconds=30)
            store.put("late", b"value", seconds=60)
            store.clock.now += 29.5
            assert store.take("early") == b"value"
            store.put("early", b"again", seconds=0.5)
            store.clock.now += 0.5
            assert store.take("early") is None
            store.clock.now += 30
            assert store.take("late") is None

    def test_an_expired_value_makes_way(self, mode: str) -> None:
        with self._store(mode) as store:
            store.put("key", b"old", seconds=30)
            store.clock.now += 30
            store.put("key", b"new", owner="another")
            assert store.take("key") == b"new"

    def test_what_has_expired_already_can_not_be_taken(self, mode: str) -> None:
        with self._store(mode) as store:
            store.put("key", b"value", seconds=0)
            assert store.take("key") is None

    # Owners.

    @needs("limits_owners")
    def test_the_oldest_beyond_the_limit_go(self, mode: str) -> None:
        with self._store(mode) as store:
            # In the order of the puts: neither keys nor expiries decide.
            for key, seconds in (("9", 90), ("5", 20), ("7", 50), ("1", 30)):
                store.put(key, b"value", seconds=seconds, limit=None)
            store.put("another's", b"value", owner="another", limit=1)
            store.put("3", b"value", limit=3)
            taken = [store.take(key) is not None for key in "95713"]
            assert taken == [False, False, True, True, True]
            assert store.take("another's") == b"value"

    @needs("limits_owners")
    def test_the_newest_supersedes(self, mode: str) -> None:
        with self._store(mode) as store:
            for key in "abc":
                store.put(key, b"value", limit=1)
            assert [store.take(key) for key in "abc"] == [None, None, b"value"]

    @needs("limits_owners")
    def test_the_dead_do_not_count(self, mode: str) -> None:
        with self._store(mode) as store:
            store.put("kept", b"value", seconds=90, limit=3)
            store.put("expired", b"value", seconds=10, limit=3)
            for number in range(5):
                store.put(f"taken {number}", b"value", limit=3)
                store.take(f"taken {number}")
            store.put("second", b"value", limit=3)
            store.clock.now += 20
            store.put("third", b"value", limit=3)
            assert [store.take(key) for key in ("kept", "second", "third")] == [b"value"] * 3

    @needs("revokes")
    def test_revoke_drops_what_an_owner_has(self, mode: str) -> None:
        with self._store(mode) as store:
            for key in "abc":
                store.put(key, b"value", seconds=90)
            store.put("d", b"value", owner="another")
            store.put("e", b"value", seconds=10)
            store.take("a")
            store.clock.now += 10
            assert store.revoke("owner") == 2
            assert store.revoke("owner") == 0
            assert [store.take(key) for key in "abcde"] == [None, None, None, b"value", None]

    # Races.

    def test_of_many_takers_one_wins(self, mode: str) -> None:
        with self._store(mode) as store:
            for number in range(self.rounds):
                store.put(f"{number}", b"redeemed")
                check_winners(store.race([store.take_call(f"{number}")] * self.callers))

    def test_of_many_puts_one_wins(self, mode: str) -> None:
        with self._store(mode) as store:
            for number in range(self.rounds):
                values = [b"%d" % caller for caller in range(self.callers)]
                outcomes = store.race([store.put_call(f"{number}", value) for value in values])
                kept = [v for v, outcome in zip(values, outcomes, strict=True) if outcome is None]
                lost = [outcome for outcome in outcomes if isinstance(outcome, KeyTaken)]
                assert (len(kept), len(lost)) == (1, self.callers - 1), outcomes
                assert store.take(f"{number}") == kept[0]

    @needs("limits_owners")
    def test_an_owner_that_puts_at_once_keeps_to_the_limit(self, mode: str) -> None:
        with self._store(mode) as store:
            for number in range(5):
                keys = [f"{number} {caller}" for caller in range(self.callers)]
                calls = [store.put_call(key, b"value", owner=f"{number}", limit=3) for key in keys]
                assert store.race(calls) == [None] * self.callers
                assert 1 <= len([key for key in keys if store.take(key) is not None]) <= 3

    @needs("connect")
    def test_of_many_processes_one_wins(self) -> None:
        assert_single_use_across(self.connect(), rounds=self.rounds)

    @needs("before_fork", "connect")
    def test_of_parent_and_forked_children_one_wins(self) -> None:
        if not hasattr(os, "fork"):
            raise unittest.SkipTest("this system has no fork")
        assert_fork_safe(self.before_fork())

    # Failure, and the end.

    @needs("lose_reply")
    def test_a_take_is_never_sent_twice(self, mode: str) -> None:
        with self._store(mode) as store:
            for key in ("before", "lost", "after"):
                store.put(key, b"value")
            assert store.take("before") == b"value"
            value = None
            with self.lose_reply(store.backend) as takes:
                try:
                    value = store.take("lost")
                except Exception as error:
                    if isinstance(error, OTTError) and not isinstance(error, Unavailable):
                        raise
                assert takes() > 0, "lose_reply() lost no reply: no take has reached the store"
                # A second take finds nothing, and a token that was good is called invalid, though
                # the store may have been about to say so; or it takes what was put there since.
                assert takes() == 1, f"one take was sent {takes()} times"
            assert value is None, "take gave a value that no reply had brought"
            assert store.insist(store.take_call("lost"))[-1] is None, "it was not taken"
            assert store.insist(store.take_call("after"))[-1] == b"value"

    @needs("break_connection")
    def test_a_broken_connection_is_replaced(self, mode: str) -> None:
        with self._store(mode) as store:
            for key in ("before", "after", "other"):
                store.put(key, b"value")
            assert store.take("before") == b"value"
            self.break_connection(store.backend)
            # It may be gone, where a call failed after it reached the engine: that fails closed.
            taken = store.insist(store.take_call("after"))
            assert taken[-1] == b"value" or (taken[-1] is None and len(taken) > 1)
            assert store.take("after") is None
            assert store.take("before") is None
            assert store.take("other") == b"value"
            store.put("new", b"value")
            assert store.take("new") == b"value"

    def test_closing_twice_is_allowed(self, mode: str) -> None:
        with self._store(mode) as store:
            store.put("key", b"value")
            store.close_once()

    @contextmanager
    def _store(
        self, mode: str, make: Callable[[Callable[[], float]], Any] | None = None
    ) -> Iterator[Store]:
        clock = Clock()
        backend = backend_of((make or self.make_backend)(clock))
        if backend.async_only and mode == "sync":
            raise unittest.SkipTest(f"{backend.name} is async only: set modes = ('async',)")
        caller = AsyncCaller(backend) if mode == "async" else Caller(backend)
        try:
            yield Store(caller, clock)
        except NotSupported as error:
            raise unittest.SkipTest(f"{error}: see limits_owners and revokes") from None
        finally:
            caller.close()
