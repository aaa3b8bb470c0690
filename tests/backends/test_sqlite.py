from __future__ import annotations

import asyncio
import ctypes
import functools
import gc
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ott_middleware import Backend, ConfigurationError, SQLiteBackend
from ott_middleware.backends.sqlite import backend as sqlite
from ott_middleware.errors import BackendFull, BackendUnavailable, KeyTaken
from ott_middleware.testing import BackendContract, Clock

from .sync_async import ROUNDS, AppCaller

# Forks of a process with threads are what some of these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

SOON = time.time() + 3_600


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.db"


@pytest.fixture
def backend(path: Path) -> Iterator[SQLiteBackend]:
    backend = SQLiteBackend(path)
    yield backend
    backend.close()


def put(backend: Backend, key: str, value: bytes = b"value", **keywords: Any) -> None:
    backend.put(key, value, **{"expires_at": SOON, "owner": "owner", "limit": None, **keywords})


class _OnDisk(BackendContract):
    rounds = ROUNDS

    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = str(tmp_path / "tokens.db")

    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return SQLiteBackend(self.path, clock=clock)

    def connect(self) -> Callable[[], Backend]:
        return functools.partial(SQLiteBackend, self.path)

    def make_small_backend(self, clock: Callable[[], float]) -> Backend:
        backend = SQLiteBackend(self.path, clock=clock)
        backend.take("")
        backend._file._connection.execute("PRAGMA max_page_count = 30")
        return backend


class TestSQLite(_OnDisk):
    pass


class TestSQLiteBefore335(_OnDisk):
    @pytest.fixture(autouse=True)
    def _old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite, "_RETURNING", False)

    def connect(self) -> Callable[[], Backend]:
        return functools.partial(_before_335, self.path)

    # Nothing that is about taking.
    test_full_is_full = None
    test_an_owner_that_puts_at_once_keeps_to_the_limit = None
    test_nobody_is_evicted = None
    test_of_many_puts_one_wins = None


def _before_335(path: str) -> Backend:
    sqlite._RETURNING = False  # in a process of its own, and in tests that undo it
    return SQLiteBackend(path)


# What it is given.


@pytest.mark.parametrize("path", ["", ":memory:", "file:tokens?mode=memory", "a\0b"])
def test_path_that_is_none_is_refused_with_a_cure(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^path: .* use the path .*MemoryBackend\(\)"):
        SQLiteBackend(path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"path": 1}, "path: 1; use"),
        ({"path": True}, "path: True; use"),
        ({"path": None}, "path: None; use"),
        ({"timeout": 0}, "timeout: 0; use"),
        ({"timeout": float("nan")}, "timeout: nan; use"),
        ({"timeout": True}, "timeout: True; use"),
        ({"timeout": "5"}, "timeout: '5'; use"),
        ({"durability": "full"}, "durability: 'full'; use 'taken', 'all' or 'none'"),
    ],
)
def test_bad_option_is_refused_with_a_cure(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        SQLiteBackend(**{"path": "tokens.db", **options})


def test_path_is_kept_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    backend = SQLiteBackend(b"tokens.db".decode())
    monkeypatch.chdir("/")
    put(backend, "key")
    backend.close()
    assert (tmp_path / "tokens.db").exists()


# What is on disk when it is answered.


@pytest.mark.parametrize(
    ("durability", "after_put", "after_take"), [("taken", 1, 2), ("all", 2, 2), ("none", 1, 1)]
)
def test_synchronous_level_by_operation(
    path: Path, durability: Any, after_put: int, after_take: int
) -> None:
    backend = SQLiteBackend(path, durability=durability)

    def level() -> int:
        return backend._file._connection.execute("PRAGMA synchronous").fetchone()[0]

    # Again and again: a statement from the driver's cache must not be a statement of no effect.
    for _ in range(3):
        put(backend, "key")
        assert level() == after_put
        assert backend.take("key") == b"value"
        assert level() == after_take
        put(backend, "key")
        assert backend.revoke("owner") == 1
        assert level() == after_take
    assert backend._file._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    backend.close()


def test_killed_process_loses_nothing(path: Path) -> None:
    code = (
        "import os, signal, sys; from ott_middleware import SQLiteBackend\n"
        "b = SQLiteBackend(sys.argv[1])\n"
        "for key in ('a', 'b'): b.put(key, b'v', expires_at=1e12, owner='o', limit=None)\n"
        "assert b.take('a') == b'v'\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], env=environment(), timeout=30)
    assert done.returncode == -signal.SIGKILL
    backend = SQLiteBackend(path)
    assert [backend.take(key) for key in "ab"] == [None, b"v"]
    backend.close()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


# The file.


FILES = ("tokens.db", "tokens.db-wal", "tokens.db-shm", "tokens.db-lock")


def modes(path: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}


def test_files_are_readable_by_the_owner_alone(path: Path, backend: SQLiteBackend) -> None:
    before = os.umask(0)
    try:
        put(backend, "key")
    finally:
        os.umask(before)
    assert modes(path) == dict.fromkeys(FILES, 0o600)


def test_file_that_is_there_keeps_its_mode(path: Path, backend: SQLiteBackend) -> None:
    path.touch()
    path.chmod(0o660)
    put(backend, "key")
    assert modes(path) == dict.fromkeys(FILES, 0o660)


def test_directory_may_appear_later(tmp_path: Path) -> None:
    backend = SQLiteBackend(tmp_path / "later" / "tokens.db")
    for _ in range(2):
        with pytest.raises(
            BackendUnavailable, match="SQLite: No such file or directory: "
        ) as caught:
            put(backend, "key")
        assert str(caught.value).endswith(
            f"{tmp_path}/later/tokens.db; make the directory {tmp_path}/later"
        )
    (tmp_path / "later").mkdir()
    put(backend, "key")
    assert backend.take("key") == b"value"
    backend.close()


def test_path_that_is_a_directory_is_not_available(tmp_path: Path) -> None:
    backend = SQLiteBackend(tmp_path)
    with pytest.raises(
        BackendUnavailable, match=f"{tmp_path}; pass the path of a file, not of a directory$"
    ):
        backend.take("key")


@pytest.mark.parametrize("also", [[], ["-wal"], ["-shm"], ["-wal", "-shm"]])
def test_file_may_be_deleted_under_it(path: Path, also: list[str]) -> None:
    first, second = SQLiteBackend(path), SQLiteBackend(path)
    put(first, "old")
    put(second, "older")
    for suffix in ["", *also]:
        Path(f"{path}{suffix}").unlink()
    put(first, "new", b"1")
    put(second, "newer", b"2")
    assert first.take("old") is None
    # Both go by the new file, and neither has harmed the other.
    assert (second.take("new"), second.take("new")) == (b"1", None)
    assert (first.take("newer"), second.take("newer")) == (b"2", None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first.close()
    put(second, "last")
    assert second._file._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    second.close()


def test_operation_on_a_deleted_file_does_not_harm_the_new_one(path: Path) -> None:
    first, second = SQLiteBackend(path), SQLiteBackend(path)
    put(first, "old")
    put(second, "older")
    # The second has looked at the file's name, and is about to write.
    amid = second._file._connection
    path.unlink()
    for number in range(20):
        put(first, f"{number}")
        amid.execute(sqlite._INSERT, (f"late {number}", b"late", "owner", SOON))
    assert [first.take(f"{number}") for number in range(20)] == [b"value"] * 20
    assert second.take("late 1") is None
    put(first, "last")
    assert second.take("last") == b"value"
    assert first._file._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    first.close()
    second.close()


def test_directory_may_be_deleted_under_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    backend = SQLiteBackend(home / "tokens.db")
    put(backend, "key")
    for file in home.iterdir():
        file.unlink()
    home.rmdir()
    with pytest.raises(BackendUnavailable):
        backend.take("key")
    home.mkdir()
    put(backend, "key", b"new")
    assert backend.take("key") == b"new"
    backend.close()


def test_processes_that_find_the_file_deleted_do_not_disagree(path: Path) -> None:
    # Amid an operation the deletion may show as an error, but not for longer than that.
    code = (
        "import sys, time; from ott_middleware import SQLiteBackend\n"
        "from ott_middleware.errors import BackendUnavailable\n"
        "b = SQLiteBackend(sys.argv[1]); began = time.monotonic(); done = failed = 0\n"
        "while (spent := time.monotonic() - began) < 1 or (done <= 20 and spent < 15):\n"
        "    key = f'{sys.argv[2]}-{done}-{failed}'\n"
        "    try:\n"
        "        b.put(key, b'v', expires_at=1e12, owner=key, limit=1)\n"
        "        b.take(key)\n"
        "        assert b.take(key) is None\n"
        "        done += 1\n"
        "    except BackendUnavailable:\n"
        "        failed += 1\n"
        "b.close(); print(done > 20, failed <= done)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    workers = [
        subprocess.Popen([*command, str(n)], env=environment(), stdout=subprocess.PIPE)
        for n in range(3)
    ]
    end = time.monotonic() + 20
    deleted = 0
    while any(worker.poll() is None for worker in workers) and time.monotonic() < end:
        if path.exists():
            path.unlink()
            deleted += 1
        time.sleep(0.05)
    results = [worker.communicate(timeout=20)[0] for worker in workers]
    assert results == [b"True True\n"] * 3
    assert deleted > 3
    backend = SQLiteBackend(path)
    put(backend, "key")
    assert backend.take("key") == b"value"
    assert backend._file._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    backend.close()


def test_link_leads_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "data" / "real.db")
    backend = SQLiteBackend(tmp_path / "link.db")
    put(backend, "key")
    files = {"real.db", "real.db-wal", "real.db-shm", "real.db-lock"}
    assert set(modes(tmp_path / "data" / "real.db")) == files
    put(direct := SQLiteBackend(tmp_path / "data" / "real.db"), "direct")
    assert (direct.take("key"), backend.take("direct")) == (b"value", b"value")
    direct.close()
    backend.close()


def test_file_that_is_no_database_is_not_available(path: Path, backend: SQLiteBackend) -> None:
    path.write_bytes(b"no database " * 100)
    with pytest.raises(BackendUnavailable, match="SQLite: file is not a database"):
        backend.take("key")
    path.unlink()
    put(backend, "key")


def test_file_system_without_a_wal_is_refused(
    backend: SQLiteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(
        "ott_middleware.backends.sqlite.file.sqlite3.connect",
        lambda path, **options: connect(f"file:{path}?vfs=unix-dotfile", uri=True, **options),
    )
    with pytest.raises(BackendUnavailable, match="SQLite: the file system has no place for a WAL"):
        put(backend, "key")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="changes the user")
def test_file_that_is_read_only_is_not_available(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    backend = SQLiteBackend(home / "tokens.db")
    put(backend, "key")
    for file in home.iterdir():
        file.chmod(0o666 if file.name.endswith("-lock") else 0o644)

    def answers() -> str:
        os.setuid(65534)
        outcomes = []
        for operation in (lambda: put(backend, "other"), lambda: backend.take("key")):
            try:
                outcomes.append(str(operation()))
            except BackendUnavailable as error:
                outcomes.append(str(error))
        return "; ".join(outcomes)

    readonly = "SQLite: attempt to write a readonly database"
    assert in_child(answers).count(f"{readonly}: ") == 2
    assert backend.take("key") == b"value"
    backend.close()


def in_child(function: Callable[[], object], fork: Callable[[], int] = os.fork) -> str:
    """What a function returns in a forked process."""
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            os.write(writer, str(function()).encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(pid, 0)
    return text


# Processes and threads.


def test_fork_inherits_nothing(path: Path, backend: SQLiteBackend) -> None:
    put(backend, "before")
    put(backend, "mine")

    def child() -> str:
        taken = backend.take("before")
        put(backend, "of the child", b"child")
        return repr(taken)

    assert in_child(child) == "b'value'"
    assert backend.take("before") is None
    assert backend.take("mine") == b"value"
    assert backend.take("of the child") == b"child"


def test_fork_finds_nothing_open(path: Path, backend: SQLiteBackend) -> None:
    put(backend, "key")

    def open_files() -> list[str]:
        links = []
        for number in os.listdir("/proc/self/fd"):
            try:
                links.append(os.readlink(f"/proc/self/fd/{number}"))
            except OSError:
                continue
        return [link for link in links if link.startswith(str(path))]

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    assert open_files() != []
    assert in_child(open_files) == "[]"
    assert backend.take("key") == b"value"


def test_fork_amid_operations_of_other_threads(backend: SQLiteBackend) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        number = 0
        try:
            while not stop.is_set():
                number += 1
                put(backend, f"{threading.get_ident()}-{number}")
                assert backend.take(f"{threading.get_ident()}-{number}") == b"value"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(ROUNDS):
            put(backend, f"fork-{number}")
            assert in_child(functools.partial(backend.take, f"fork-{number}")) == "b'value'"
            assert backend.take(f"fork-{number}") is None
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    assert failures == []


def test_fork_that_python_knows_nothing_of_is_refused(backend: SQLiteBackend) -> None:
    put(backend, "key")
    fork = ctypes.CDLL(None).fork

    def child() -> str:
        try:
            return str(backend.take("key"))
        except BackendUnavailable as error:
            backend.close()  # leaves alone what is the parent's
            return f"{error} {backend._file._connection is not None}"

    answer = in_child(child, fork)
    assert "py-call-uwsgi-fork-hooks" in answer
    assert answer.endswith("True")
    assert backend.take("key") == b"value"


def test_fork_after_one_that_python_knows_nothing_of_is_refused(backend: SQLiteBackend) -> None:
    put(backend, "key")

    def take() -> str:
        with pytest.raises(BackendUnavailable, match="set py-call-uwsgi-fork-hooks"):
            backend.take("key")
        return "refused"

    def child() -> list[str]:
        return [in_child(take), take()]

    # The hooks of the second fork do not make the connection of the first parent the child's own.
    assert in_child(child, ctypes.CDLL(None).fork) == "['refused', 'refused']"
    assert backend.take("key") == b"value"


def test_fork_of_which_a_server_calls_the_child_s_hook_alone_is_refused(
    backend: SQLiteBackend,
) -> None:
    put(backend, "key")

    def fork() -> int:
        # As uWSGI with py-call-osafterfork.
        child: int = ctypes.CDLL(None).fork()
        if child == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
        return child

    assert "set py-call-uwsgi-fork-hooks" in in_child(lambda: backend.take("key"), fork)
    assert backend.take("key") == b"value"


def test_open_file_is_used_by_its_own_process_alone(
    backend: SQLiteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(backend, "key")
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(BackendUnavailable, match="forked without Python's knowledge"):
            backend.take("key")
    assert backend.take("key") == b"value"


def test_fork_that_python_knows_nothing_of_before_the_first_call_is_fine(path: Path) -> None:
    backend = SQLiteBackend(path)
    assert in_child(lambda: put(backend, "key"), ctypes.CDLL(None).fork) == "None"
    assert backend.take("key") == b"value"
    backend.close()


def test_backend_that_is_forgotten_closes(path: Path) -> None:
    backend = SQLiteBackend(path)
    put(backend, "key")
    del backend
    gc.collect()
    assert {file.name for file in path.parent.iterdir()} == {"tokens.db", "tokens.db-lock"}


def test_closed_backend_opens_again(backend: SQLiteBackend) -> None:
    put(backend, "key")
    backend.close()
    backend.close()
    assert backend.take("key") == b"value"


@pytest.fixture
def writer(path: Path, backend: SQLiteBackend) -> Iterator[sqlite3.Connection]:
    """Somebody who keeps the file locked."""
    put(backend, "key")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def test_file_that_others_keep_locked_is_not_available(
    path: Path, writer: sqlite3.Connection
) -> None:
    backend = SQLiteBackend(path, timeout=0.05)
    for operation in (
        lambda: put(backend, "other"),
        lambda: backend.take("key"),
        lambda: backend.revoke("owner"),
    ):
        began = time.monotonic()
        with pytest.raises(BackendUnavailable, match="SQLite: database is locked"):
            operation()
        assert time.monotonic() - began < 2
    writer.execute("ROLLBACK")
    assert backend.take("key") == b"value"
    backend.close()


def test_thread_does_not_wait_for_ever_for_another(path: Path, writer: sqlite3.Connection) -> None:
    backend = SQLiteBackend(path, timeout=0.2)
    failures: list[str] = []

    def work() -> None:
        try:
            backend.take("key")
        except BackendUnavailable as error:
            failures.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(failures) == 4
    assert "SQLite: other threads held the file for 0.2 s" in failures
    backend.close()


def test_full_disk_is_full(backend: SQLiteBackend) -> None:
    put(backend, "key")
    connection = backend._file._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(BackendFull, match="SQLite: database or disk is full"):
        put(backend, "big", bytes(16_000))
    assert backend.take("big") is None
    assert backend.take("key") == b"value"


def test_error_leaves_nothing_half_done(backend: SQLiteBackend) -> None:
    put(backend, "kept", limit=1)
    put(backend, "taken", owner="other")
    with pytest.raises(KeyTaken):
        put(backend, "taken", limit=1)

    with pytest.raises(BackendUnavailable):
        put(backend, "odd", [], limit=1)  # type: ignore[arg-type]  # what SQLite can't store
    assert backend.take("kept") == b"value"


def test_messages_tell_no_values(backend: SQLiteBackend, writer: sqlite3.Connection) -> None:
    other = SQLiteBackend(backend._file._path, timeout=0.01)
    with pytest.raises(BackendUnavailable) as caught:
        put(other, "secret-key", b"secret-value", owner="secret-owner")
    assert "secret" not in f"{caught.value!r}{caught.value.__cause__!r}{other!r}"


def test_loop_is_not_kept_waiting(backend: SQLiteBackend, writer: sqlite3.Connection) -> None:
    async def main() -> float:
        take = asyncio.ensure_future(backend.atake("key"))
        worst = 0.0
        for _ in range(40):
            before = time.monotonic()
            await asyncio.sleep(0.005)
            worst = max(worst, time.monotonic() - before)
        writer.execute("ROLLBACK")
        assert await take == b"value"
        return worst

    assert asyncio.run(main()) < 0.15


# Cleaning up.


def expired(backend: SQLiteBackend, count: int, expires_at: float) -> None:
    backend.take("")
    with sqlite3.connect(backend._file._path) as connection:
        connection.executemany(
            "INSERT INTO ott_tokens (key, value, owner, expires_at) VALUES (?, ?, ?, ?)",
            ((f"expired {n}", b"v" * 300, f"owner {n}", expires_at) for n in range(count)),
        )
    connection.close()


def rows(backend: SQLiteBackend) -> int:
    return backend._file._connection.execute("SELECT count(*) FROM ott_tokens").fetchone()[0]


def test_expired_tokens_go_a_few_at_a_time(path: Path) -> None:
    clock = Clock()
    backend = SQLiteBackend(path, clock=clock)
    expired(backend, 20, clock.now)
    left = []
    for number in range(4):
        backend.put(f"{number}", b"v", expires_at=clock.now + 60, owner="o", limit=None)
        left.append(rows(backend))
    assert left == [13, 6, 3, 4]
    backend.close()


def test_expired_token_makes_way_before_its_turn(path: Path) -> None:
    clock = Clock()
    backend = SQLiteBackend(path, clock=clock)
    expired(backend, 50, clock.now)
    backend.put("key", b"old", expires_at=clock.now + 60, owner="o", limit=None)
    clock.now += 60
    backend.put("key", b"new", expires_at=clock.now + 60, owner="o", limit=1)
    assert backend.take("key") == b"new"
    backend.close()


def test_queries_use_an_index(backend: SQLiteBackend) -> None:
    backend.take("")
    execute = backend._file._connection.execute
    for statement, arguments in (
        (sqlite._DROP_EXPIRED, 2),
        (sqlite._DROP_EXPIRED_KEY, 2),
        (sqlite._RETIRE, 4),
        (sqlite._TAKE, 1),
        (sqlite._COUNT, 2),
        (sqlite._REVOKE, 1),
    ):
        plan = execute(f"EXPLAIN QUERY PLAN {statement}", (0,) * arguments).fetchall()
        assert not [step for *_, step in plan if "SCAN" in step or "B-TREE" in step], plan


# Behind the middleware.


def test_locked_file_is_503(
    path: Path, writer: sqlite3.Connection, world: AppCaller, caplog: pytest.LogCaptureFixture
) -> None:
    app = world.wrap(backend=SQLiteBackend(path, timeout=0.05), store_token="hashed")
    writer.execute("ROLLBACK")
    token = world.generate(app).json["token"]
    writer.execute("BEGIN IMMEDIATE")
    caplog.clear()
    for answer in (world.generate(app), world.verify(app, token)):
        assert (answer.status, answer.json["code"]) == (503, "BACKEND_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) > 0
    records = [record for record in caplog.records if record.name == "ott_middleware"]
    assert len(records) == 2
    assert all(record.exc_info is None for record in records)
    assert token not in caplog.text
    assert world.ask(app, "/").body == b"Hello, world!"
    writer.execute("ROLLBACK")
    assert world.verify(app, token).status == 200


def test_full_disk_is_503(path: Path, world: AppCaller) -> None:
    backend = SQLiteBackend(path)
    app = world.wrap(backend=backend, max_per_session=None)
    token = world.generate(app).json["token"]
    execute = backend._file._connection.execute
    execute(f"PRAGMA max_page_count = {execute('PRAGMA page_count').fetchone()[0]}")
    answers = (world.generate(app) for _ in range(100))
    refused = next(answer for answer in answers if answer.status != 200)
    assert (refused.status, refused.json["code"]) == (503, "BACKEND_FULL")
    assert int(refused.headers["retry-after"]) > 0
    assert world.verify(app, token).status == 200
    backend.close()
