from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .redis_servers import Server, shared_prefix
from .sync_async import AppCaller, Colour, Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest, loop: Loop) -> Colour:
    return Colour(request.param, loop)


@pytest.fixture(params=["asgi", "wsgi"])
def world(request: pytest.FixtureRequest, loop: Loop) -> AppCaller:
    return AppCaller(request.param, loop)


@pytest.fixture
def prefix() -> Iterator[str]:
    with shared_prefix() as prefix:
        yield prefix


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a Redis of the given arguments; all of them are stopped, however the test ends."""
    servers: list[Server] = []

    def serve(*arguments: str) -> Server:
        home = tmp_path / f"redis-{len(servers)}"
        home.mkdir()
        servers.append(Server(home, *arguments))
        servers[-1].start()
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()
