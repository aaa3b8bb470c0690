"""Forks: one of parent and children redeems a token, and no child hangs or reads another's reply.

The forks are made by programs of their own, and not by the process of the tests, which has threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .redis_servers import URL, shared_prefix
from .sql_servers import database

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

IMPORTED = {
    "ott_middleware": (
        *("CookieSession", "MemoryBackend", "OTTMiddleware"),
        *("RedisBackend", "SQLAlchemyBackend", "SQLiteBackend"),
    ),
    "ott_middleware.backends": ("DjangoCacheBackend", "MappingBackend"),
    "ott_middleware.errors": ("BackendUnavailable",),
}
PRELUDE = """
import asyncio, ctypes, json, logging, os, select, signal, sys, threading, time, warnings
# Python 3.12 warns of a fork in a process with threads, which is what this is about.
warnings.filterwarnings("ignore", ".*multi-threaded.*", DeprecationWarning)
LATER = {"expires_at": time.time() + 3_600, "owner": "owner", "limit": None}

def in_child(function, fork=os.fork, seconds=20):
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(function()).encode())
        except BaseException as error:
            os.write(writer, json.dumps(f"{type(error).__name__}: {error}").encode())
        finally:
            os._exit(0)
    os.close(writer)
    if not select.select([reader], [], [], seconds)[0]:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
        return "hung"
    text = os.read(reader, 65536)
    os.close(reader)
    os.waitpid(pid, 0)
    return json.loads(text)

def put(key, value=b"value"):
    backend.put(key, value, **LATER)

def take(key):
    value = backend.take(key)
    return value and value.decode()

def under_load(rounds, threads=3):
    # Forks amid the operations of other threads. Of parent and child, which both try, one wins.
    stop, failures = threading.Event(), []
    def work(name):
        try:
            for number in range(10**9):
                if stop.is_set():
                    return
                put(f"{prefix}{name} {number}", name.encode())
                assert take(f"{prefix}{name} {number}") == name, "another's reply"
        except BaseException as error:
            failures.append(repr(error))
    workers = [threading.Thread(target=work, args=(f"thread {n}",)) for n in range(threads)]
    for worker in workers:
        worker.start()
    outcomes = {}
    for number in range(rounds):
        put(f"{prefix}shared {number}")
        def child():
            mine = [take(f"{prefix}shared {number}")]
            for turn in range(5):
                put(f"{prefix}child {number} {turn}", b"child's")
                mine.append(take(f"{prefix}child {number} {turn}"))
            return mine
        pair = [in_child(child), take(f"{prefix}shared {number}")]
        text = json.dumps(pair)
        outcomes[text] = outcomes.get(text, 0) + 1
    stop.set()
    for worker in workers:
        worker.join()
    return outcomes, failures
prefix = ""
OWN = ["child's"] * 5
"""


def run(folder: Path, program: str, *arguments: str) -> str:
    # Only what the program names: to import all of them takes longer than most of the programs.
    imports = "".join(
        f"from {module} import {name}\n"
        for module, names in IMPORTED.items()
        for name in names
        if name in program
    )
    (folder / "forks.py").write_text(imports + PRELUDE + program)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "forks.py", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class TestSQLite:
    def test_under_load(self, tmp_path: Path) -> None:
        program = """
backend = SQLiteBackend("tokens.db")
outcomes, failures = under_load(10)
assert failures == [], failures
assert list(map(json.loads, outcomes)) == [[['value', *OWN], None]], outcomes
"""
        run(tmp_path, program)

    def test_fork_does_not_wait_long_for_another_process(self, tmp_path: Path) -> None:
        # A thread waits for a process that has the file locked, for as long as its timeout says.
        program = """
import sqlite3
from ott_middleware import forks
forks._WAIT = 0.3
backend = SQLiteBackend("tokens.db", timeout=8)
put("key")
other = sqlite3.connect("tokens.db", isolation_level=None)
other.execute("BEGIN IMMEDIATE")
waiting = threading.Thread(target=lambda: print("then", take("key"), flush=True))
waiting.start()
time.sleep(0.3)
began = time.monotonic()
print(in_child(lambda: [take("key"), "used"]), time.monotonic() - began < 3, flush=True)
other.execute("ROLLBACK")
waiting.join()
print(take("key"), in_child(lambda: take("key")))
"""
        refused, then, last = run(tmp_path, program).splitlines()
        assert "BackendUnavailable: SQLite: the process was forked while another thread" in refused
        assert refused.endswith(" True")
        assert then == "then value"
        assert last == "None None"

    def test_signal_handler_that_forks_does_not_wait_for_itself(self, tmp_path: Path) -> None:
        program = """
backend = SQLiteBackend("tokens.db", clock=lambda: clock())
clock = time.time
put("key")
put("other")
outcome = []
def handler(*_):
    outcome.append(in_child(lambda: take("other")))
signal.signal(signal.SIGALRM, handler)
def forks():
    # As a signal that comes amid an operation.
    global clock
    clock = time.time
    signal.raise_signal(signal.SIGALRM)
    return time.time()
clock = forks
began = time.monotonic()
put("third")
print(time.monotonic() - began < 5, outcome, take("key"), take("other"))
"""
        out = run(tmp_path, program)
        assert out.startswith("True ['BackendUnavailable: SQLite: the process was forked")
        assert out.endswith("value value\n")

    def test_backend_that_was_made_amid_the_fork_is_usable(self, tmp_path: Path) -> None:
        program = """
from ott_middleware import forks
backend = None
class Late:
    def prepare_for_fork(self, deadline):
        global backend
        backend = SQLiteBackend("tokens.db")  # after the others were listed
    def resume_after_fork(self):
        pass
    renew_after_fork = resume_after_fork
late = Late()
forks.prepare_for_forks(late)
print(in_child(lambda: [put("key"), take("key")]))
"""
        assert run(tmp_path, program) == "[None, 'value']\n"


class TestSQLAlchemy:
    @pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql"])
    @pytest.mark.parametrize("given", ["url", "engine"])
    def test_under_load(self, driver: str, given: str, tmp_path: Path) -> None:
        with database(driver, tmp_path) as place:
            program = f"""
import sqlalchemy
store = {place.text!r}
store = store if {given == "url"} else sqlalchemy.create_engine(store)
backend = SQLAlchemyBackend(store, table={place.table!r})
backend.create_table()
outcomes, failures = under_load(8)
assert failures == [], failures
assert list(map(json.loads, outcomes)) == [[['value', *OWN], None]], outcomes
"""
            run(tmp_path, program)

    @pytest.mark.parametrize("pool", ["QueuePool", "NullPool"])
    def test_sqlite_file_amid_use_is_refused_to_the_child(self, tmp_path: Path, pool: str) -> None:
        program = f"""
import sqlalchemy
from ott_middleware.concurrency import drive
engine = sqlalchemy.create_engine("sqlite:///tokens.db", poolclass=sqlalchemy.{pool})
backend = SQLAlchemyBackend(engine)
backend.create_table()
put("idle")
idle = in_child(lambda: take("idle"))
put("key")
amid, go_on = threading.Event(), threading.Event()
def clock():
    if threading.current_thread() is not threading.main_thread():
        amid.set()
        go_on.wait(20)
    return time.time()
def work(connection):
    amid.set()
    go_on.wait(20)
other = threading.Thread(target=lambda: drive(backend._inline(work)))
other.start()
amid.wait(20)
busy = in_child(lambda: take("key"))
again = in_child(lambda: in_child(lambda: take("key")))
go_on.set()
other.join()
print(idle, take("idle"), "|", busy, "|", again, "|", take("key"), in_child(lambda: take("key")))
"""
        idle, busy, again, last = run(tmp_path, program).split(" | ")
        assert idle == "value None"
        for refused in (busy, again):
            assert "forked while its SQLite file was open; use SQLiteBackend" in refused
        assert last == "value None\n"

    @pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg_async"])
    def test_asynchronous_engine_is_made_anew(self, tmp_path: Path, driver: str) -> None:
        with database(driver, tmp_path) as place:
            program = f"""
warnings.simplefilter("ignore", ResourceWarning)
backend = SQLAlchemyBackend({place.text!r}, table={place.table!r})
loop = asyncio.new_event_loop()
loop.run_until_complete(backend.acreate_table())
for key in ("a", "b"):
    loop.run_until_complete(backend.aput(key, key.encode(), **LATER))
async def main():
    taken = await backend.atake("a")
    return [taken.decode(), await backend.atake("a")]
def child():
    asyncio.events._set_running_loop(None)
    return asyncio.run(main())
print(in_child(child), loop.run_until_complete(backend.atake("a")),
      loop.run_until_complete(backend.atake("b")))
os._exit(0 if sys.stdout.flush() is None else 1)
"""
            assert run(tmp_path, program) == "['a', None] None b'b'\n"

    def test_asynchronous_sqlite_engine_is_refused_to_the_child(self, tmp_path: Path) -> None:
        program = """
backend = SQLAlchemyBackend("sqlite+aiosqlite:///tokens.db")
async def main():
    await backend.acreate_table()
    await backend.aput("key", b"value", **LATER)
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
print(in_child(lambda: asyncio.run(backend.atake("key"))))
print(loop.run_until_complete(backend.atake("key")))
loop.run_until_complete(backend.aclose())
loop.close()
"""
        refused, value = run(tmp_path, program).splitlines()
        assert "forked while its SQLite file was open" in refused
        assert value == "b'value'"


class TestRedis:
    @pytest.mark.parametrize("given", ["url", "client"])
    def test_under_load(self, given: str, tmp_path: Path) -> None:
        with shared_prefix() as name:
            program = f"""
import redis
store = {URL!r} if {given == "url"} else redis.Redis.from_url({URL!r}, socket_timeout=5)
backend = RedisBackend(store, prefix={name!r})
outcomes, failures = under_load(15)
assert failures == [], failures
assert list(map(json.loads, outcomes)) == [[['value', *OWN], None]], outcomes
"""
            run(tmp_path, program)

    def test_client_of_the_app_amid_use_is_no_hang_of_the_child(self, tmp_path: Path) -> None:
        with shared_prefix() as name:
            program = f"""
import redis
client = redis.Redis.from_url({URL!r}, socket_timeout=5)
backend = RedisBackend(client, prefix={name!r})
put("before")
held, over = threading.Event(), threading.Event()
pool = client.connection_pool
def hold():
    # As a thread does that is within the pool, or tells of what happened to a connection, at the
    # moment of the fork.
    with pool._lock, pool._event_dispatcher._lock:
        held.set()
        over.wait(30)
thread = threading.Thread(target=hold)
thread.start()
held.wait()
print(json.dumps(in_child(lambda: take("before"), seconds=5)))
over.set()
thread.join()
"""
            assert run(tmp_path, program) == '"value"\n'

    @pytest.mark.parametrize("fork", ["os.fork", "ctypes.CDLL(None).fork"])
    def test_loop_that_the_child_goes_on_with_has_other_connections(
        self, tmp_path: Path, fork: str
    ) -> None:
        with shared_prefix() as name:
            program = f"""
backend = RedisBackend({URL!r}, prefix={name!r})
loop = asyncio.new_event_loop()
for key in ("a", "b"):
    loop.run_until_complete(backend.aput(key, key.encode(), **LATER))
(wire,) = [held[0] for held in backend._async._held.values()]
inherited = wire._pool
def child():
    # A loop of its own: the parent's selector is the parent's. The pools are told apart by process.
    async def main():
        taken = await backend.atake("a")
        mine = [held[0]._pool for held in backend._async._held.values()]
        await backend._async.close()
        return [taken.decode(), inherited not in mine, len(mine)]
    return asyncio.run(main())
print(in_child(child, {fork}))
print(loop.run_until_complete(backend.atake("a")), loop.run_until_complete(backend.atake("b")))
loop.run_until_complete(backend.aclose())
loop.close()
"""
            assert run(tmp_path, program) == "['a', True, 1]\nNone b'b'\n"

    def test_asyncio_client_is_refused_to_the_child(self, tmp_path: Path) -> None:
        with shared_prefix() as name:
            program = f"""
import redis.asyncio
client = redis.asyncio.Redis.from_url({URL!r}, socket_timeout=5)
backend = RedisBackend(client, prefix={name!r})
loop = asyncio.new_event_loop()
def unused():
    async def main():
        taken = await backend.atake("nothing")
        await client.aclose()
        return taken
    return asyncio.run(main())
print(in_child(unused))  # it may be made before the fork, as long as it was not used
loop.run_until_complete(backend.aput("key", b"value", **LATER))
print(in_child(lambda: asyncio.run(backend.atake("key"))))
print(loop.run_until_complete(backend.atake("key")))
loop.run_until_complete(client.aclose())
loop.close()
"""
            first, refused, value = run(tmp_path, program).splitlines()
            assert (first, value) == ("None", "b'value'")
            assert "BackendUnavailable: redis: the process was forked after the asyncio" in refused


class TestMapping:
    @pytest.mark.parametrize("lock", ["Lock", "RLock"])
    @pytest.mark.parametrize("fork", ["os.fork", "ctypes.CDLL(None).fork"])
    def test_dict_is_the_parent_s(self, tmp_path: Path, lock: str, fork: str) -> None:
        program = f"""
mine = {{"theirs": b"beside"}}
backend = MappingBackend(mine, lock := threading.{lock}())
put("key")
def child():
    seen = [take("key"), mine.get("theirs").decode()]
    put("new")
    return [*seen, take("new"), sorted(mine)]
held, done = threading.Event(), threading.Event()
if {fork == "os.fork"}:  # another fork leaves Python's own locks as they are
    def hold():
        with lock:
            held.set()
            done.wait(30)
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
print(in_child(child, {fork}))
done.set()
print(take("key"))
"""
        out = run(tmp_path, program)
        assert out == "[None, 'beside', 'value', ['owner:owner', 'theirs']]\nvalue\n"

    def test_under_load(self, tmp_path: Path) -> None:
        program = """
backend = MappingBackend({}, threading.Lock())
outcomes, failures = under_load(30)
assert failures == [], failures
assert list(map(json.loads, outcomes)) == [[[None, *OWN], 'value']], outcomes
"""
        run(tmp_path, program)

    def test_lock_of_threads_is_refused_where_processes_share(self, tmp_path: Path) -> None:
        program = """
import multiprocessing, dbm.dumb, shelve
with shelve.Shelf(dbm.dumb.open("shelf")) as shelf:
    backend = MappingBackend(shelf, threading.Lock())
    put("key")
    print(in_child(lambda: take("key")))
    print(take("key"))
class Mine(dict):
    pass
backend = MappingBackend(Mine(), multiprocessing.get_context("fork").Lock())
put("key")
print(in_child(lambda: take("key")))
"""
        refused, value, shared = run(tmp_path, program).splitlines()
        assert "BackendUnavailable: mapping: the process was forked, and a lock of" in refused
        assert (value, shared) == ("value", "value")


class TestWorkersOfOneServer:
    def test_probes_are_counted_anew(self, tmp_path: Path) -> None:
        program = """
logging.disable()
app = OTTMiddleware(lambda environ, start_response: [b""], session=CookieSession("sid"),
                    interface="wsgi")
while app._probe._places.acquire(blocking=False):
    pass
app._probe._places._cond.acquire()  # as by a thread amid a probe
print(in_child(lambda: sum(app._probe._places.acquire(blocking=False) for _ in range(100))))
"""
        assert run(tmp_path, program) == "64\n"

    def test_thread_sensitive_code_runs_in_a_child(self, tmp_path: Path) -> None:
        # asgiref's one thread for such code is not there in a child.
        program = """
from ott_middleware.concurrency import on_loop
class Sensitive:
    thread_sensitive = True
    def method(self):
        return threading.current_thread() is not threading.main_thread()
call = on_loop(Sensitive().method)
async def main():
    return await call()
print(asyncio.run(main()))
print(in_child(lambda: asyncio.run(main()), seconds=5))
"""
        assert run(tmp_path, program) == "True\nTrue\n"
