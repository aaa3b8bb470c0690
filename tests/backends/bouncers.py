"""A PgBouncer before the PostgreSQL of the tests, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from services import program
from sqlalchemy import URL

from .redis_servers import absent, free_port

PROGRAM = program("pgbouncer")


class Bouncer:
    """PgBouncer as Debian configures it, but for the pool mode, the size and the address.

    :ivar url: the URL of the database behind the bouncer.
    """

    def __init__(self, home: Path, url: URL, mode: str, settings: tuple[str, ...]) -> None:
        self.url = url.set(host="127.0.0.1", port=free_port())
        self.mode = mode
        self._ini = home / "pgbouncer.ini"
        self.log = home / "pgbouncer.log"
        lines = (
            "[databases]",
            f"{url.database} = host={url.host} port={url.port or 5432} user={url.username}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.url.port}",
            "unix_socket_dir =",
            "auth_type = any",
            "admin_users = keeper",
            f"pool_mode = {mode}",
            f"default_pool_size = {20 if mode == 'session' else 3}",
            *settings,
        )
        self._ini.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        assert PROGRAM is not None
        # It refuses to run as root.
        user = ["-u", "postgres"] if os.getuid() == 0 else []
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, *user, self._ini], stderr=log, stdout=log)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.url.port or 0), timeout=1).close()
                return
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def tell(self, command: str) -> None:
        """Run a command on the admin console: PAUSE, RESUME, RECONNECT."""
        address = f"host=127.0.0.1 port={self.url.port} dbname=pgbouncer user=keeper"
        with psycopg.connect(address, autocommit=True) as console:
            console.execute(command)


@contextlib.contextmanager
def bouncer(url: URL, mode: str, *settings: str) -> Iterator[Bouncer]:
    if PROGRAM is None:
        absent("no program pgbouncer: apt-get install pgbouncer")
    # In a folder that the bouncer, which is another user, may enter.
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        running = Bouncer(home, url, mode, settings)
        try:
            yield running
        finally:
            running.stop()
