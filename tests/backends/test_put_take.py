"""Objects with put and take alone, and backends of one colour."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ott_middleware import (
    Backend,
    ConfigurationError,
    CookieSession,
    MemoryBackend,
    OneTimeTokens,
    SealedSession,
    Session,
)
from ott_middleware.backends.registry import backend_of
from ott_middleware.errors import KeyTaken, NotSupported
from ott_middleware.testing import BackendContract

from .sync_async import AppCaller, Loop


class Store:
    """What a user might write."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.held: dict[str, tuple[bytes, float]] = {}
        self.lock = threading.Lock()
        self.threads: set[int] = set()
        if clock is not None:
            self.clock = clock

    def put(self, key: str, value: bytes, *, expires_at: float) -> None:
        self.threads.add(threading.get_ident())
        with self.lock:
            if key in self.held and self.held[key][1] > self.now():
                raise KeyTaken
            self.held[key] = value, expires_at

    def take(self, key: str) -> bytes | None:
        self.threads.add(threading.get_ident())
        with self.lock:
            value, expires_at = self.held.pop(key, (None, 0.0))
            return value if expires_at > self.now() else None

    def now(self) -> float:
        return self.clock() if hasattr(self, "clock") else 0.0


class AsyncStore:
    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.inner = Store(clock)

    async def put(self, key: str, value: bytes, *, expires_at: float) -> None:
        await asyncio.sleep(0)
        self.inner.put(key, value, expires_at=expires_at)

    async def take(self, key: str) -> bytes | None:
        await asyncio.sleep(0)
        return self.inner.take(key)


class TestContract(BackendContract):
    limits_owners = revokes = False

    def make_backend(self, clock: Callable[[], float]) -> Store:
        return Store(clock)


class TestContractAsync(BackendContract):
    modes = ("async",)
    limits_owners = revokes = False

    def make_backend(self, clock: Callable[[], float]) -> AsyncStore:
        return AsyncStore(clock)


def redeems_once(world: AppCaller, **options: Any) -> None:
    app = world.wrap(**options)
    token = world.generate(app).json["token"]
    assert [world.verify(app, token).status for _ in range(2)] == [200, 400]


def test_put_and_take_are_enough(world: AppCaller, caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    with caplog.at_level(logging.WARNING, "ott_middleware"):
        redeems_once(world, backend=store)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("backend: ")]
    assert len(lines) == 1
    assert "Store has put and take alone" in lines[0]
    # Under ASGI it must not hold up the loop, under WSGI it needs no thread.
    assert (threading.get_ident() in store.threads) is (world.name == "wsgi")


def test_cap_is_off(world: AppCaller) -> None:
    app = world.wrap(backend=Store(), max_per_session=1)
    tokens = [world.generate(app).json["token"] for _ in range(3)]
    assert [world.verify(app, token).status for token in tokens] == [200] * 3


@pytest.mark.parametrize("kind", [Store, AsyncStore])
def test_revoke_is_not_supported(kind: Any, loop: Loop) -> None:
    service = OneTimeTokens(kind(), sessions=CookieSession("sid"))
    with pytest.raises(NotSupported, match=f"{kind.__name__} has put and take alone"):
        service.revoke("id")
    with pytest.raises(NotSupported, match=f"{kind.__name__} has put and take alone"):
        loop.run(service.arevoke("id"))


def test_signing_out_works_and_says_that_tokens_live_on(
    world: AppCaller, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = SealedSession("a secret of sixteen bytes and more")
    cookie = adapter_cookie(adapter)

    def wsgi(environ: Any, start: Any) -> list[bytes]:
        environ["ott.handle"].sign_out()
        start("200 OK", [])
        return [b"bye"]

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        scope["ott"].sign_out()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"bye"})

    app = world.wrap(asgi if world.name == "asgi" else wsgi, session=adapter, backend=Store())
    answer = world.ask(app, "/", cookie=cookie)
    assert (answer.status, answer.body) == (200, b"bye")
    assert "tokens not revoked at sign-out: NotSupported" in caplog.text


def adapter_cookie(adapter: SealedSession) -> str:
    session = adapter.start({"id": "ada"}, remember=True)
    return f"{adapter.name}={session.token}"


def test_asynchronous_store_serves_asgi(loop: Loop) -> None:
    redeems_once(AppCaller("asgi", loop), backend=AsyncStore())


class AsyncOnly(Backend):
    def __init__(self) -> None:
        self.inner = MemoryBackend()

    async def aput(self, key: str, value: bytes, **keywords: Any) -> None:
        self.inner.put(key, value, **keywords)

    async def atake(self, key: str) -> bytes | None:
        return self.inner.take(key)


class WronglyColoured(AsyncOnly):
    async def put(self, *arguments: Any, **keywords: Any) -> None:  # type: ignore[override]  # in the other colour on purpose
        await self.aput(*arguments, **keywords)

    async def take(self, key: str) -> bytes | None:  # type: ignore[override]  # in the other colour on purpose
        return await self.atake(key)


@pytest.mark.parametrize("kind", [AsyncStore, AsyncOnly, WronglyColoured])
@pytest.mark.parametrize("as_service", [False, True])
def test_wsgi_refuses_what_is_asynchronous_only(loop: Loop, kind: Any, as_service: bool) -> None:
    options: dict[str, Any] = {"backend": kind()}
    if as_service:
        options = {"tokens": OneTimeTokens(kind(), sessions=CookieSession("sid"))}
    with pytest.raises(ConfigurationError, match=rf"^backend: {kind.__name__}.*add a put\(\)"):
        AppCaller("wsgi", loop).wrap(**options)
    AppCaller("asgi", loop).wrap(**options)


@pytest.mark.parametrize("kind", [AsyncOnly, WronglyColoured])
def test_asynchronous_backend_serves_asgi(loop: Loop, kind: Any) -> None:
    redeems_once(AppCaller("asgi", loop), backend=kind())


@pytest.mark.parametrize("kind", [AsyncStore, AsyncOnly])
def test_synchronous_service_over_an_asynchronous_backend_says_what_to_do(kind: Any) -> None:
    service = OneTimeTokens(kind(), sessions=CookieSession("sid"))
    name = kind.__name__
    with pytest.raises(NotSupported, match=rf"{name} has no put\(\).*await aput\(\)"):
        service.generate(Session(id="id", token="value"))
    with pytest.raises(NotSupported, match=rf"{name} has no take\(\).*its awaited methods"):
        service.verify("token")
    with pytest.raises(NotSupported, match=rf"^{name} has "):
        service.revoke("id")


def test_store_that_fails_is_unavailable(
    world: AppCaller, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Store):
        def put(self, key: str, value: bytes, *, expires_at: float) -> None:
            raise OSError(f"no route for {key}")

        def take(self, key: str) -> bytes | None:
            raise OSError(f"no route for {key}")

    app = world.wrap(backend=Failing())
    for answer in (world.generate(app), world.verify(app, "sesame")):
        assert (answer.status, answer.json["code"]) == (503, "BACKEND_UNAVAILABLE")
        assert answer.headers["retry-after"]
    assert "no route" not in caplog.text
    assert world.ask(app, "/").status == 200


def test_close_is_left_to_the_user(loop: Loop) -> None:
    backend = backend_of(Store())
    backend.close()
    loop.run(backend.aclose())


class NoTake:
    def put(self, key: str, value: bytes, *, expires_at: float) -> None: ...


class OtherArguments(Store):
    def put(self, key: str, value: bytes, ttl: int) -> None: ...  # type: ignore[override]  # another shape on purpose


class NeedsOwner(Store):
    def put(self, key: str, value: bytes, *, expires_at: float, owner: str) -> None: ...  # type: ignore[override]  # another shape on purpose


class Mixed(Store):
    async def take(self, key: str) -> bytes | None: ...  # type: ignore[override]  # in the other colour on purpose


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (NoTake(), "backend: a NoTake; pass an object derived from Backend"),
        (Store, "backend: the class Store;"),
        (MemoryBackend, "backend: the class MemoryBackend;"),
        (object(), "backend: a object;"),
        (7, "backend: a int;"),
        (OtherArguments(), r"backend: OtherArguments\.put\(\) takes other arguments"),
        (NeedsOwner(), r"backend: NeedsOwner\.put\(\) takes other arguments"),
        (Mixed(), r"backend: one of Mixed\.put\(\) and Mixed\.take\(\) is async"),
    ],
)
def test_objects_of_other_kinds_are_refused(given: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{named}"):
        backend_of(given)
