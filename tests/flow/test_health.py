"""`check()` and `acheck()` of a middleware: whether its store works."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from ott_middleware import ASGIMiddleware, MemoryBackend, WSGIMiddleware
from ott_middleware.errors import BackendFull


def wrap(interface: str, **options: Any) -> ASGIMiddleware | WSGIMiddleware:
    options = {"session": "sid", **options}
    kind: Any = ASGIMiddleware if interface == "asgi" else WSGIMiddleware
    return kind(lambda *_: None, **options)


@pytest.fixture(params=["asgi", "wsgi"])
def interface(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["sync", "async"])
def check(request: pytest.FixtureRequest) -> Any:
    if request.param == "sync":
        return lambda middleware, **how: middleware.check(**how)
    return lambda middleware, **how: asyncio.run(middleware.acheck(**how))


class Evicting(MemoryBackend):
    def take(self, key: str) -> bytes | None:
        super().take(key)
        return None


class Changing(MemoryBackend):
    def take(self, key: str) -> bytes | None:
        value = super().take(key)
        return value and value[:-1]


class Full(MemoryBackend):
    def put(self, *_: Any, **__: Any) -> None:
        raise BackendFull("no room")


class Broken(MemoryBackend):
    def put(self, *_: Any, **__: Any) -> None:
        raise OSError("redis://:hunter2@host is gone")


class TestCheck:
    def test_works(self, interface: str, check: Any) -> None:
        backend = MemoryBackend()
        health = check(wrap(interface, backend=backend))
        assert health
        assert health.ok
        assert health.problem == ""
        assert 0 < health.seconds < 5
        assert len(backend) == 0

    @pytest.mark.parametrize(
        ("backend", "problem"),
        [
            (Evicting, "BackendUnavailable: Evicting does not give back what was put into it"),
            (Changing, "BackendUnavailable: Changing does not give back what was put into it"),
            (Full, "BackendFull: no room"),
            (Broken, "BackendUnavailable: the backend raised OSError"),
        ],
    )
    def test_fails(self, interface: str, check: Any, backend: Any, problem: str) -> None:
        health = check(wrap(interface, backend=backend()))
        assert not health
        assert health.problem.startswith(problem)
        assert "hunter2" not in repr(health)

    def test_waits_no_longer_than_told(self, interface: str, check: Any) -> None:
        go_on = threading.Event()

        class Silent(MemoryBackend):
            blocks = True

            def put(self, *_: Any, **__: Any) -> None:
                go_on.wait(20)

        middleware = wrap(interface, backend=Silent())
        # The loop's own end waits for its threads.
        threading.Timer(0.3, go_on.set).start()
        health = check(middleware, timeout=0.05)
        go_on.set()
        assert not health
        assert health.problem == "the store did not respond within 0.05 s"

    def test_tokens_of_the_app(self, interface: str, check: Any) -> None:
        class Mine:
            def generate(self, *_: Any, **__: Any) -> Any: ...

            verify = revoke = generate

            async def agenerate(self, *_: Any, **__: Any) -> Any: ...

            averify = arevoke = agenerate

        assert check(wrap(interface, tokens=Mine()))

    def test_sync_on_a_loop_is_refused(self, interface: str) -> None:
        async def main() -> None:
            with pytest.raises(RuntimeError, match=r"use `await acheck\(\)`"):
                wrap(interface).check()

        asyncio.run(main())

    def test_retires_no_token(self, check: Any) -> None:
        backend = MemoryBackend()
        middleware = wrap("wsgi", backend=backend)
        backend.put("key", b"value", expires_at=backend.clock() + 60, owner="owner", limit=1)
        assert all(check(middleware) for _ in range(20))
        assert backend.take("key") == b"value"
