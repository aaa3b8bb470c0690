"""Where the tests look for the services that they do not bring, and which of them are there."""

from __future__ import annotations

import os
import shutil
import socket
from typing import NoReturn
from urllib.parse import urlsplit

import pytest

# The address of each, and the variable that names another one.
REDIS = os.environ.get("OTT_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
POSTGRES = os.environ.get("OTT_TEST_POSTGRES_URL", "postgresql+psycopg://root@127.0.0.1:5432/test")
MYSQL = os.environ.get("OTT_TEST_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/test")
SERVERS = {
    "Redis": (REDIS, 6379, "OTT_TEST_REDIS_URL"),
    "PostgreSQL": (POSTGRES, 5432, "OTT_TEST_POSTGRES_URL"),
    "MariaDB": (MYSQL, 3306, "OTT_TEST_MYSQL_URL"),
}
# Started by the tests that need them, with a port or a profile of their own.
PROGRAMS = ("redis-server", "memcached", "pgbouncer")


def absent(reason: str) -> NoReturn:
    """Skip; where everything is meant to be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def listens(name: str) -> bool:
    """Return whether a server of `SERVERS` is there."""
    url, usual, _ = SERVERS[name]
    address = urlsplit(url)
    return is_listening(address.hostname or "127.0.0.1", address.port or usual)


def report() -> list[str]:
    """What stands at the start of a run: the services found, and those that tests will miss."""
    found, missing = [], []
    for name, (url, usual, variable) in SERVERS.items():
        address = urlsplit(url)
        host, port = address.hostname or "127.0.0.1", address.port or usual
        where = f"{name} at {host}:{port}"
        if is_listening(host, port):
            found.append(where)
        else:
            missing.append(f"{where} ({variable} names another)")
    for name in PROGRAMS:
        (found if program(name) else missing).append(f"the program {name}")
    lines = [f"services found: {', '.join(found) or 'none'}"]
    if missing:
        # Skipped, or failed with `CI=true`: the summary at the end has the reason of each.
        lines.append(f"services missing, without which some tests do not run: {', '.join(missing)}")
    return lines


def program(name: str) -> str | None:
    """Return the path of a program, which may be one of the system's."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


def is_listening(host: str, port: int) -> bool:
    """Return whether a server accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
