from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ott_middleware.testing import races

from .redis_servers import Server, shared_prefix
from .sync_async import AppCaller, Colour, Loop

# What processes that race import, which takes longer than their races.
IMPORTED = [
    *("aiosqlite", "asyncmy", "asyncpg", "django.core.cache", "psycopg", "pymysql", "pytest"),
    *("redis.asyncio", "sqlalchemy.dialects.mysql", "sqlalchemy.dialects.postgresql"),
    *("sqlalchemy.dialects.sqlite", "sqlalchemy.ext.asyncio"),
    *("ott_middleware.testing", "ott_middleware.backends.django_cache"),
    *("ott_middleware.backends.mapping", "ott_middleware.backends.redis"),
    *("ott_middleware.backends.sqlalchemy", "ott_middleware.backends.sqlite"),
]


@pytest.fixture(scope="session", autouse=True)
def quick_processes() -> Iterator[None]:
    """Fork the processes of a race from one that has imported all, and holds nothing open."""
    with pytest.MonkeyPatch.context() as patch:
        if "forkserver" in multiprocessing.get_all_start_methods():
            multiprocessing.set_forkserver_preload(IMPORTED)
            patch.setattr(races, "_START", "forkserver")
        yield


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """A folder in memory where the system has such: SQLite waits for the disk at each commit."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with folder_in_memory() as folder:
        yield folder


@pytest.fixture(scope="class")
def folder_of_class() -> Iterator[Path]:
    with folder_in_memory() as folder:
        yield folder


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
