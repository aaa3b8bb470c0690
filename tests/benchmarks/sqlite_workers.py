"""Four processes that put and take in one SQLite file, beside a bare loop of the two statements.

The loop writes what a token needs and no more: a table with a unique key and no other index, an
`INSERT` and a `DELETE … RETURNING`, each committed by itself. Its durability is the backend's: WAL,
`synchronous = NORMAL` for the insertion and `FULL` for the deletion. Both wait for other writers by
SQLite's own means. The processes stay; they turn from one file to the other together, so that what
else the machine does meanwhile slows down both.

`backends.py` prints the figures; this module's `--tiny` sees that it works.
"""

from __future__ import annotations

import multiprocessing
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from ott_middleware import SQLiteBackend

WORKERS = 4
ROUNDS = 9
SECONDS = 0.5
VALUE = secrets.token_bytes(400)
TABLE = "CREATE TABLE tokens (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires_at REAL NOT NULL)"


class Figures(NamedTuple):
    """The median ratio of the pairs done in the same time, and the pairs a second of each side."""

    ratio: float
    bare: float
    ours: float


def measure(*, tiny: bool = False) -> Figures:
    """Return how much of the bare loop's work the backend does in the same time."""
    rounds, seconds = (1, 0.05) if tiny else (1 + ROUNDS, SECONDS)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        with closing(open_bare(Path(folder, "bare.db"))) as connection:
            connection.execute(TABLE)
        start, done = context.Barrier(WORKERS), context.Queue()
        workers = [
            context.Process(target=work, args=(folder, rounds, seconds, start, done))
            for _ in range(WORKERS)
        ]
        for worker in workers:
            worker.start()
        # Of each worker the pairs of both sides, for each round.
        wait = 60 + 3 * rounds * seconds
        found: list[list[tuple[int, int]]] = [done.get(timeout=wait) for _ in workers]
        for worker in workers:
            worker.join()
    totals = [
        (sum(bare for bare, _ in each), sum(ours for _, ours in each))
        for each in zip(*found, strict=True)
    ]
    totals = totals[1:] or totals  # the first one warmed up
    bare, ours = (statistics.median(side) / seconds for side in zip(*totals, strict=True))
    return Figures(statistics.median(ours / max(bare, 1) for bare, ours in totals), bare, ours)


def work(folder: str, rounds: int, seconds: float, start: Any, done: Any) -> None:
    """Do what one of the processes does, and report the pairs of both sides for each round."""
    found = []
    with (
        closing(open_bare(Path(folder, "bare.db"))) as connection,
        closing(SQLiteBackend(Path(folder, "ours.db"))) as backend,
    ):

        def bare(key: str, owner: str) -> bytes:
            connection.execute("PRAGMA synchronous = NORMAL")
            row = (key, VALUE, time.time() + 180)
            connection.execute("INSERT INTO tokens (key, value, expires_at) VALUES (?, ?, ?)", row)
            connection.execute("PRAGMA synchronous = FULL")
            taken = "DELETE FROM tokens WHERE key = ? RETURNING value, expires_at"
            value: bytes = connection.execute(taken, (key,)).fetchall()[0][0]
            return value

        def ours(key: str, owner: str) -> bytes | None:
            backend.put(key, VALUE, expires_at=time.time() + 180, owner=owner, limit=10)
            return backend.take(key)

        ours(secrets.token_urlsafe(32), "owner")  # opens the file
        for number in range(rounds):
            counts = {}
            for side in (bare, ours) if number % 2 else (ours, bare):
                start.wait(60)
                counts[side] = pairs(side, seconds)
            found.append((counts[bare], counts[ours]))
    done.put(found)


def pairs(side: Callable[[str, str], bytes | None], seconds: float) -> int:
    """Return how many tokens were put and taken in so many seconds."""
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        key, owner = f"one-time-token:handoff:{secrets.token_urlsafe(32)}", secrets.token_hex(16)
        assert side(key, owner) == VALUE
        count += 1
    return count


def open_bare(path: Path) -> sqlite3.Connection:
    """Open a file as the backend opens its own."""
    connection = sqlite3.connect(path, timeout=5, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA fullfsync = ON")
    return connection


if __name__ == "__main__":
    print(measure(tiny="--tiny" in sys.argv[1:]))
