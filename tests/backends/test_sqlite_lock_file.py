"""`<path>-lock`: keeps out other processes while the database is made, and no other user."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ott_middleware import SQLiteBackend
from ott_middleware.backends.sqlite import file as sqlite_file
from ott_middleware.errors import BackendUnavailable

from .test_sqlite import in_child, put

fcntl = pytest.importorskip("fcntl")

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

STRANGER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes the user")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory like `/tmp`: anybody may make files there."""
    tmp_path.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o1777)
    return home


@pytest.fixture
def backend(home: Path) -> Iterator[SQLiteBackend]:
    backend = SQLiteBackend(home / "tokens.db", timeout=0.2)
    yield backend
    backend.close()


def as_stranger(function: Callable[[], object], user: int = STRANGER) -> str:
    def whole() -> object:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        return function()

    return in_child(whole)


class TestLockFile:
    def test_mode_is_for_its_owner_alone(self, home: Path, backend: SQLiteBackend) -> None:
        before = os.umask(0)
        try:
            put(backend, "key")
        finally:
            os.umask(before)
        status = (home / "tokens.db-lock").stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, os.geteuid())

    @as_root
    def test_lock_is_refused_to_another_user(self, home: Path, backend: SQLiteBackend) -> None:
        put(backend, "key")
        backend.close()

        def lock() -> str:
            # As readers, as writers, and the directory, which was what was locked once.
            for name in ("tokens.db-lock", "."):
                for flags in (os.O_RDONLY, os.O_RDWR):
                    try:
                        handle = os.open(home / name, flags)
                    except OSError:
                        continue
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Meanwhile, in a process of its own, the app opens its database.
            return "held"

        reader, writer = os.pipe()
        stranger = os.fork()
        if stranger == 0:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            os.write(writer, lock().encode())
            time.sleep(30)
            os._exit(0)
        try:
            assert os.read(reader, 100) == b"held"
            assert backend.take("key") == b"value"
        finally:
            os.kill(stranger, 9)
            os.waitpid(stranger, 0)
            os.close(reader)
            os.close(writer)

    def test_looser_mode_is_tightened(self, home: Path, backend: SQLiteBackend) -> None:
        (home / "tokens.db-lock").touch()
        (home / "tokens.db-lock").chmod(0o666)
        put(backend, "key")
        assert stat.S_IMODE((home / "tokens.db-lock").stat().st_mode) == 0o600

    @pytest.mark.parametrize(
        ("mode", "expected"), [(0o644, 0o600), (0o660, 0o660), (0o664, 0o660), (0o666, 0o666)]
    )
    def test_lock_is_open_to_writers_of_the_database(
        self, home: Path, backend: SQLiteBackend, mode: int, expected: int
    ) -> None:
        (home / "tokens.db").touch()
        (home / "tokens.db").chmod(mode)
        put(backend, "key")
        assert stat.S_IMODE((home / "tokens.db-lock").stat().st_mode) == expected

    @as_root
    def test_lock_made_by_root_is_the_database_owner_s(self, home: Path) -> None:
        path = home / "tokens.db"

        def use(key: str) -> object:
            backend = SQLiteBackend(path, timeout=0.2)
            put(backend, key)
            taken = backend.take(key)
            backend.close()
            return taken

        assert as_stranger(lambda: use("first")) == "b'value'"
        (home / "tokens.db-lock").unlink()
        home.chmod(0o777)  # not one where the database must be ours
        assert use("root's") == b"value"
        assert (home / "tokens.db-lock").stat().st_uid == STRANGER
        assert as_stranger(lambda: use("second")) == "b'value'"

    def test_held_lock_is_waited_for_and_not_for_ever(
        self, home: Path, backend: SQLiteBackend
    ) -> None:
        handle = os.open(home / "tokens.db-lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            with pytest.raises(BackendUnavailable, match="lock file beside the database locked"):
                put(backend, "key")
        finally:
            os.close(handle)
        put(backend, "key")

    def test_replaced_lock_is_not_trusted(
        self, home: Path, backend: SQLiteBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Two processes with two files of that name would both go on.
        flock, opened = sqlite_file._flock, []

        def replace(handle: int, deadline: float) -> bool:
            opened.append(os.fstat(handle).st_ino)
            if len(opened) == 1:
                (home / "tokens.db-lock").rename(home / "elsewhere")
            return flock(handle, deadline)

        monkeypatch.setattr(sqlite_file, "_flock", replace)
        put(backend, "key")
        assert len(set(opened)) == 2
        assert opened[-1] == (home / "tokens.db-lock").stat().st_ino

    def test_deleted_lock_is_made_anew(
        self, home: Path, backend: SQLiteBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lock = home / "tokens.db-lock"
        lock.touch()
        open_file = os.open

        def open_slowly(path: str, flags: int, mode: int = 0o777) -> int:
            if path == str(lock) and not flags & os.O_CREAT:
                lock.unlink()
            return open_file(path, flags, mode)

        with monkeypatch.context() as patch:
            patch.setattr(sqlite_file.os, "open", open_slowly)
            put(backend, "key")
        assert lock.exists()

    def test_child_that_was_forked_meanwhile_does_not_keep_it(
        self, home: Path, backend: SQLiteBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        children: list[int] = []
        identity = sqlite_file._identity

        def fork(path: str) -> tuple[int, int] | None:
            # A fork that Python knows nothing of, amid the opening.
            if not children and path == str(home / "tokens.db"):
                import ctypes

                children.append(ctypes.CDLL(None).fork())
                if children[-1] == 0:
                    time.sleep(30)
                    os._exit(0)
            return identity(path)

        monkeypatch.setattr(sqlite_file, "_identity", fork)
        try:
            put(backend, "key")
            other = SQLiteBackend(home / "tokens.db", timeout=0.2)
            assert other.take("key") == b"value"
            other.close()
        finally:
            for child in filter(None, children):
                os.kill(child, 9)
                os.waitpid(child, 0)

    def test_lock_keeps_processes_apart_that_make_the_file_at_once(self, home: Path) -> None:
        code = (
            "import sys, time; from ott_middleware import SQLiteBackend\n"
            "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
            "b = SQLiteBackend(sys.argv[1]); key = sys.argv[3]\n"
            "b.put(key, b'v', expires_at=1e12, owner=key, limit=None)\n"
            "print(b.take(key), b.take(key)); b.close()\n"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        when = str(time.time() + 1.5)
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(home / "tokens.db"), when, str(number)],
                env=environment,
                stdout=subprocess.PIPE,
            )
            for number in range(4)
        ]
        assert [w.communicate(timeout=60)[0] for w in workers] == [b"b'v' None\n"] * 4


class TestPlantedFile:
    """Another user made the file first."""

    def plant(self, home: Path, how: str) -> Path:
        lock = home / "tokens.db-lock"
        target = home.parent / "of-ours"
        target.touch()
        target.chmod(0o644)
        if how == "link":
            lock.symlink_to(target)
        elif how == "link to nothing":
            lock.symlink_to(home / "nothing")
        elif how == "hard link":
            os.link(target, lock)
        elif how == "pipe":
            os.mkfifo(lock)
        elif how == "directory":
            lock.mkdir()
        return target

    @pytest.mark.parametrize("how", ["link", "link to nothing", "hard link", "pipe", "directory"])
    def test_lock_that_is_no_plain_file_is_refused(
        self, home: Path, backend: SQLiteBackend, how: str
    ) -> None:
        target = self.plant(home, how)
        for operation in (lambda: put(backend, "key"), lambda: backend.take("key")):
            with pytest.raises(BackendUnavailable, match=r"-lock file .* delete it, and put"):
                operation()
        assert stat.S_IMODE(target.stat().st_mode) == 0o644
        assert not (home / "tokens.db").exists()
        assert not (home / "nothing").exists()

    @as_root
    @pytest.mark.parametrize("mode", [0o600, 0o666])
    def test_stranger_s_lock_is_refused(
        self, home: Path, backend: SQLiteBackend, mode: int
    ) -> None:
        lock = home / "tokens.db-lock"
        lock.touch()
        lock.chmod(mode)
        os.chown(lock, STRANGER, STRANGER)
        with pytest.raises(BackendUnavailable, match=r"can't be used .* delete it, and put"):
            put(backend, "key")
        lock.unlink()
        put(backend, "key")

    @as_root
    def test_stranger_s_lock_is_refused_to_those_who_are_not_root(self, home: Path) -> None:
        lock = home / "tokens.db-lock"
        lock.touch()
        lock.chmod(0o666)

        def use() -> str:
            try:
                put(SQLiteBackend(home / "tokens.db"), "key")
            except BackendUnavailable as error:
                return str(error)
            return "used"

        assert "delete it, and put" in as_stranger(use)

    @as_root
    def test_stranger_s_database_is_refused_where_anybody_makes_files(
        self, home: Path, backend: SQLiteBackend
    ) -> None:
        def plant() -> None:
            theirs = SQLiteBackend(home / "tokens.db")
            put(theirs, "theirs")
            theirs.close()
            for file in home.iterdir():
                file.chmod(0o666)

        assert as_stranger(plant) == "None"
        (home / "tokens.db-lock").unlink()
        with pytest.raises(BackendUnavailable, match="made by another user, in a directory"):
            put(backend, "key")
        # In a directory of the app's own it is the app's business.
        home.chmod(0o755)
        put(backend, "key")
