"""A store that cannot be reached: the log says where it is, and never with which password."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.retry
import redis.retry
import redis.sentinel
import sqlalchemy
from harness import SECRET, World
from redis.backoff import NoBackoff

from ott_middleware import RedisBackend, SQLAlchemyBackend, SQLiteBackend
from ott_middleware.errors import BackendUnavailable

PASSWORD = "hunter2/@:#"
QUOTED = "hunter2%2F%40%3A%23"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A port of this machine where nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


REACHED = "is it running, reachable from this host, and does it take the URL's user and password?"


def failure_of(backend: Any) -> str:
    with pytest.raises(BackendUnavailable) as caught:
        backend.take("key")
    return str(caught.value)


async def later_failure_of(backend: Any) -> str:
    with pytest.raises(BackendUnavailable) as caught:
        await backend.atake("key")
    await backend.aclose()
    return str(caught.value)


class TestRedis:
    def test_url(self, port: int) -> None:
        backend = RedisBackend(f"redis://zoe7:{QUOTED}@127.0.0.1:{port}/0")
        said = failure_of(backend)
        assert said == (
            f"redis failed with ConnectionError at 127.0.0.1:{port}: is it running, and reachable "
            "from this host?"
        )
        assert asyncio.run(later_failure_of(backend)) == said

    def test_socket(self, tmp_path: Path) -> None:
        backend = RedisBackend(f"unix://:{QUOTED}@{tmp_path}/redis.sock")
        assert f" at {tmp_path}/redis.sock: is it running" in failure_of(backend)

    def test_client(self, port: int) -> None:
        once = {"retry": redis.retry.Retry(NoBackoff(), 0)}
        client = redis.Redis(port=port, password=PASSWORD, socket_timeout=1, **once)
        assert f" at localhost:{port}: is" in failure_of(RedisBackend(client))
        once = {"retry": redis.asyncio.retry.Retry(NoBackoff(), 0)}
        other = redis.asyncio.Redis(port=port, password=PASSWORD, socket_timeout=1, **once)
        said = asyncio.run(later_failure_of(RedisBackend(other)))
        assert f" at localhost:{port}: is" in said

    def test_client_of_sentinel(self, port: int) -> None:
        once = {"retry": redis.retry.Retry(NoBackoff(), 0), "socket_timeout": 1}
        sentinel = redis.sentinel.Sentinel([("127.0.0.1", port)], sentinel_kwargs=once)
        client = sentinel.master_for("orders", **once)
        assert " at orders: is it running" in failure_of(RedisBackend(client))


class TestSQLite:
    def test_directory_that_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "access", lambda *args: False)  # root may write anywhere
        (tmp_path / "tokens.db").mkdir()
        said = failure_of(SQLiteBackend(tmp_path / "tokens.db"))
        assert said.endswith(f"{tmp_path}/tokens.db; let the app's user write to {tmp_path}")


class TestSQLAlchemy:
    def test_server(self, port: int) -> None:
        url = f"postgresql+psycopg://zoe7:{QUOTED}@127.0.0.1:{port}/orders"
        said = failure_of(SQLAlchemyBackend(url))
        place = f"the database: OperationalError at 127.0.0.1:{port}/orders"
        assert said == f"{place}: {REACHED}"

    def test_server_at_its_usual_port(self) -> None:
        url = f"postgresql+psycopg://zoe7:{QUOTED}@nowhere.invalid/orders"
        assert failure_of(SQLAlchemyBackend(url)).endswith(f" at nowhere.invalid/orders: {REACHED}")

    def test_file(self, tmp_path: Path) -> None:
        said = failure_of(SQLAlchemyBackend(f"sqlite:///{tmp_path}/nowhere/tokens.db"))
        assert said == f"the database: OperationalError at {tmp_path}/nowhere/tokens.db"

    def test_engine_that_connects_by_a_function(self) -> None:
        def connect() -> Any:
            raise OSError(PASSWORD)

        engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=connect)
        assert failure_of(SQLAlchemyBackend(engine)) == "the database: OSError"


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
class TestLog:
    @pytest.mark.parametrize(
        "url",
        [
            "redis://zoe7:{password}@127.0.0.1:{port}/0",
            "postgresql://zoe7:{password}@127.0.0.1:{port}/x",
        ],
    )
    def test_names_the_host(
        self, interface: str, caplog: pytest.LogCaptureFixture, port: int, url: str
    ) -> None:
        backend = url.format(password=QUOTED, port=port)
        with caplog.at_level(logging.DEBUG):
            answer = (
                World(interface).serve(backend=backend, secret=SECRET).open("/?ott=" + "A" * 32)
            )
        assert answer.status == 503
        assert b"127.0.0.1" not in answer.body
        (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
        assert f"at 127.0.0.1:{port}" in line
        for secret in (PASSWORD, QUOTED, "hunter2", "zoe7"):
            assert secret not in caplog.text

    def test_names_the_path(
        self, interface: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        site = World(interface).serve(backend=f"sqlite:///{tmp_path}/later/a.db", secret=SECRET)
        assert site.open("/?ott=" + "A" * 32).status == 503
        assert f"{tmp_path}/later/a.db; make the directory {tmp_path}/later" in caplog.text
