"""The databases of tests: where they are, and whether they are there."""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import sqlalchemy
from services import MYSQL, POSTGRES
from sqlalchemy import URL, make_url

from .redis_servers import absent

# The driver that a test is about → the one that looks after its table.
DRIVERS = {
    "sqlite+pysqlite": "sqlite+pysqlite",
    "sqlite+aiosqlite": "sqlite+pysqlite",
    "postgresql+psycopg": "postgresql+psycopg",
    "postgresql+psycopg_async": "postgresql+psycopg",
    "postgresql+asyncpg": "postgresql+psycopg",
    "mysql+pymysql": "mysql+pymysql",
    "mysql+asyncmy": "mysql+pymysql",
}
KEEPERS = sorted(set(DRIVERS.values()))


class Database(NamedTuple):
    """A table's place."""

    url: URL
    keeper: sqlalchemy.Engine
    table: str

    @property
    def text(self) -> str:
        return self.url.render_as_string(hide_password=False)

    def rows(self) -> int:
        with self.keeper.connect() as connection:
            count = connection.exec_driver_sql(f"SELECT count(*) FROM {self.table}").scalar_one()
        return int(count)

    def kill_connections(self, numbers: list[int]) -> None:
        with self.keeper.connect() as connection:
            for number in numbers:
                if self.url.get_backend_name() == "postgresql":
                    connection.exec_driver_sql(f"SELECT pg_terminate_backend({number})")
                else:
                    connection.exec_driver_sql(f"KILL {number}")


@contextlib.contextmanager
def database(drivername: str, folder: Path) -> Iterator[Database]:
    """A database, and the name of a table in it that is dropped afterwards."""
    base = drivername.partition("+")[0]
    if base == "sqlite":
        url = URL.create(drivername, database=str(folder / "tokens.db"))
    else:
        url = make_url({"postgresql": POSTGRES, "mysql": MYSQL}[base]).set(drivername=drivername)
    keeper = sqlalchemy.create_engine(url.set(drivername=DRIVERS[drivername]))
    try:
        keeper.connect().close()
    except sqlalchemy.exc.DBAPIError:
        keeper.dispose()
        absent(f"no {base} at {url.host}:{url.port}: set OTT_TEST_POSTGRES_URL, OTT_TEST_MYSQL_URL")
    table = f"ott_test_{uuid.uuid4().hex[:12]}"
    try:
        yield Database(url, keeper, table)
    finally:
        with keeper.begin() as connection:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
        keeper.dispose()


class Line:
    """Stands before a server, and loses its answers while it is told to."""

    def __init__(self, url: URL) -> None:
        self._target = (url.host or "127.0.0.1", url.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.set(host="127.0.0.1", port=self._listener.getsockname()[1])
        self.losing = False
        self._refusing = False
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._refusing:
                    near.close()
                    continue
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                for source, target in ((near, far), (far, near)):
                    thread = threading.Thread(target=self._pump, args=(source, target, near))
                    self._threads.append(thread)
                    thread.start()

    def _pump(self, source: socket.socket, target: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.losing and target is near:
                    break  # the server has done it, and nobody hears
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """End all connections, as a server does that is restarted."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def down(self) -> None:
        """End all connections, and take no other."""
        self._refusing = True
        self.cut()

    def up(self) -> None:
        """Take connections again."""
        self._refusing = False

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)
