from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .colours import Colour, Loop, World
from .redis_servers import Server, shared_prefix


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest, loop: Loop) -> Colour:
    return Colour(request.param, loop)


@pytest.fixture(params=["asgi", "wsgi"])
def world(request: pytest.FixtureRequest, loop: Loop) -> World:
    return World(request.param, loop)


@pytest.fixture
def prefix() -> Iterator[str]:
    with shared_prefix() as prefix:
        yield prefix


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()
