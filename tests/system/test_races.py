"""Of everybody who redeems one token at once, one wins."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness import HOST, World, call_asgi, call_wsgi, make_environ, make_scope, person
from memory_owners import owners_of

from ott_middleware import MemoryBackend
from ott_middleware.errors import InvalidToken, KeyTaken
from ott_middleware.testing import Clock

ROUNDS = int(os.environ.get("OTT_TEST_ROUNDS", "200"))
# Of so many at once, and in how many rounds. With a `take` that looks and then removes, eight
# threads fail in one round of forty; 64, whose round takes eight times as long, in one of fifty.
CROWDS = ((64, ROUNDS // 20), (8, 2 * ROUNDS))
ALICE = person("alice")
JSON = [("host", HOST), ("content-type", "application/json")]
PATH = "/one-time-token/verify"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("untraced")]


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    """Have threads interrupt each other wherever they can."""
    usual = sys.getswitchinterval()
    # Seconds. With a tenth of that, a `take` that looks and then removes is caught half as often.
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


class Crowd:
    """Threads that wait for each other, then do the same thing at once, round after round."""

    def __init__(self, size: int, act: Callable[[Any], Any]) -> None:
        self._act = act
        self._subject: Any = None
        self._outcomes: list[Any] = []
        self._gate = threading.Barrier(size + 1)
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while True:
            self._gate.wait(60)
            if self._subject is None:
                return
            try:
                outcome = self._act(self._subject)
            except Exception as error:
                outcome = type(error)
            self._outcomes.append(outcome)
            self._gate.wait(60)

    def round(self, subject: Any) -> Counter[Any]:
        self._subject, self._outcomes = subject, []
        self._gate.wait(60)
        self._gate.wait(60)
        return Counter(self._outcomes)

    def end(self) -> None:
        self._subject = None
        self._gate.wait(60)
        for thread in self._threads:
            thread.join(60)


def body(token: str) -> bytes:
    return b'{"token": "%s"}' % token.encode()


def test_threads_redeem_one_token(world: World) -> None:
    site = world.serve()
    loops = threading.local()

    def redeem(token: str) -> int:
        if world.interface == "wsgi":
            return call_wsgi(site.middleware, make_environ("POST", PATH, JSON, body(token))).status
        if not hasattr(loops, "own"):
            loops.own = asyncio.new_event_loop()
            all_loops.append(loops.own)
        scope = make_scope("POST", PATH, JSON, body(token))
        message = {"type": "http.request", "body": body(token)}
        answer = loops.own.run_until_complete(call_asgi(site.middleware, scope, [message]))
        return int(answer.status)

    all_loops: list[asyncio.AbstractEventLoop] = []
    try:
        for size, rounds in CROWDS:
            crowd = Crowd(size, redeem)
            try:
                for _ in range(rounds):
                    assert crowd.round(site.token(ALICE)) == {200: 1, 400: size - 1}
            finally:
                crowd.end()
    finally:
        for loop in all_loops:
            loop.close()


class Threaded(MemoryBackend):
    """Asked in threads, as a backend is that waits for something."""

    blocks = True

    async def atake(self, key: str) -> bytes | None:
        return await asyncio.to_thread(self.take, key)


@pytest.mark.parametrize("backend", [MemoryBackend, Threaded])
def test_tasks_redeem_one_token(world: World, backend: type[MemoryBackend]) -> None:
    site = world.serve(backend=backend(clock=world.clock))

    async def redeem(token: str) -> int:
        await asyncio.sleep(0)
        if world.interface == "asgi":
            scope = make_scope("POST", PATH, JSON, body(token))
            message = {"type": "http.request", "body": body(token)}
            return (await call_asgi(site.middleware, scope, [message])).status
        environ = make_environ("POST", PATH, JSON, body(token))
        return (await asyncio.to_thread(call_wsgi, site.middleware, environ)).status

    async def rounds() -> None:
        for size, rounds in CROWDS:
            for _ in range(rounds):
                token = await site.flow.tokens.agenerate(ALICE)
                statuses = await asyncio.gather(*(redeem(token) for _ in range(size)))
                assert Counter(statuses) == {200: 1, 400: size - 1}

    asyncio.run(rounds())


def test_threads_and_tasks_redeem_one_token() -> None:
    """Threads with the synchronous methods, tasks with the asynchronous ones, one service."""
    site = World("wsgi").serve()
    tokens = site.flow.tokens
    crowd = Crowd(16, lambda token: tokens.verify(token).user_id)

    async def redeem(token: str) -> Any:
        try:
            return (await tokens.averify(token)).user_id
        except InvalidToken:
            return InvalidToken

    async def rounds() -> None:
        for _ in range(ROUNDS):
            token = tokens.generate(ALICE)
            threads = asyncio.create_task(asyncio.to_thread(crowd.round, token))
            outcomes = await asyncio.gather(*(redeem(token) for _ in range(16)))
            assert Counter(outcomes) + await threads == {"alice": 1, InvalidToken: 31}

    try:
        asyncio.run(rounds())
    finally:
        crowd.end()


def test_redeeming_races_revoking_without_leaks() -> None:
    backend = MemoryBackend(clock=Clock())
    crowd = Crowd(
        8,
        lambda key: backend.take(key) if threading.get_ident() % 2 else backend.revoke("alice"),
    )
    try:
        for number in range(ROUNDS):
            key = f"k{number}"
            backend.put(key, b"v", expires_at=9e9, owner="alice", limit=None)
            outcomes = crowd.round(key)
            backend.revoke("alice")
            assert outcomes[b"v"] + outcomes[1] <= 1
            assert len(backend) == 0
    finally:
        crowd.end()
    assert owners_of(backend) == {}


def test_puts_of_one_key_keep_one() -> None:
    backend = MemoryBackend(clock=Clock())

    def put(key: str) -> str:
        owner = str(threading.get_ident())
        backend.put(key, owner.encode(), expires_at=9e9, owner=owner, limit=1)
        return "put"

    crowd = Crowd(16, put)
    try:
        for number in range(ROUNDS):
            assert crowd.round(f"k{number}") == {"put": 1, KeyTaken: 15}
            assert backend.take(f"k{number}")
    finally:
        crowd.end()
    assert len(backend) == 0
    assert owners_of(backend) == {}


def test_store_is_never_overfull_and_cap_holds() -> None:
    backend = MemoryBackend(maxsize=10, clock=Clock())
    numbers = iter(range(10**6))
    lock = threading.Lock()

    def put(owner: str) -> str:
        with lock:
            key = f"k{next(numbers)}"
        backend.put(key, b"v", expires_at=9e9, owner=owner, limit=3)
        return "put"

    crowd = Crowd(16, put)
    try:
        for owner in "abcdefgh":
            crowd.round(owner)
            assert len(backend) <= 10
            assert max(map(len, owners_of(backend).values())) <= 3
            assert sum(map(len, owners_of(backend).values())) == len(backend)
    finally:
        crowd.end()
    assert len(backend) == 10
