"""A take whose reply is lost, over every engine with a network: sent once, it stays taken."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import URL

from ott_middleware import Backend, RedisBackend, SQLAlchemyBackend
from ott_middleware.testing import BackendContract

from .redis_servers import URL as REDIS
from .redis_servers import Proxy
from .sql_servers import Line, database


def only_lost_replies(kind: type[BackendContract]) -> type[BackendContract]:
    """The rest of the contract runs without a proxy in between."""
    for name in dir(BackendContract):
        if name.startswith("test_") and name != "test_a_take_is_never_sent_twice":
            setattr(kind, name, None)
    return kind


@only_lost_replies
class TestRedis(BackendContract):
    @pytest.fixture(autouse=True)
    def _proxy(self, prefix: str) -> Iterator[None]:
        self.prefix = prefix
        self.proxy = Proxy(urlsplit(REDIS).port or 6379)
        yield
        self.proxy.close()

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return RedisBackend(self.proxy.url, prefix=self.prefix, clock=clock)

    @contextlib.contextmanager
    def lose_reply(self, backend: Backend) -> Iterator[Callable[[], int]]:
        self.proxy.commands.clear()
        self.proxy.loses = b"GETDEL"
        yield lambda: self.proxy.commands.count(b"GETDEL")


class LosingLine(Line):
    """Loses the reply to the next take, and counts the takes that it hands on."""

    armed = False
    takes = 0

    def __init__(self, url: URL, table: str) -> None:
        self._take = f"DELETE FROM {table}".encode()
        super().__init__(url)

    def _pump(self, source: socket.socket, target: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if target is near and self.losing:
                    self.losing = False
                    break  # the server has done it, and no client hears
                if source is near and self._take in data:
                    self.takes += 1
                    self.losing, self.armed = self.armed, False
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


class OverALine(BackendContract):
    driver: str

    @pytest.fixture(autouse=True)
    def _line(self, tmp_path: Path) -> Iterator[None]:
        with database(self.driver, tmp_path) as place:
            self.table = place.table
            SQLAlchemyBackend(place.keeper, table=place.table).create_table()
            self.line = LosingLine(place.url, place.table)
            yield
            self.line.close()

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return SQLAlchemyBackend(self.line.url, table=self.table, clock=clock)

    @contextlib.contextmanager
    def lose_reply(self, backend: Backend) -> Iterator[Callable[[], int]]:
        self.line.takes, self.line.armed = 0, True
        yield lambda: self.line.takes


@only_lost_replies
class TestPostgreSQL(OverALine):
    driver = "postgresql+psycopg"


@only_lost_replies
class TestPsycopgAsync(OverALine):
    driver = "postgresql+psycopg_async"
    modes = ("async",)


@only_lost_replies
class TestMariaDB(OverALine):
    driver = "mysql+pymysql"


@only_lost_replies
class TestAsyncmy(OverALine):
    driver = "mysql+asyncmy"
    modes = ("async",)
