"""`MemoryBackend` and forks: a token is redeemed in one process, and no child hangs.

The forks are made by programs of their own, and not by the process of the tests, which has threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]

PRELUDE = """
import ctypes, json, logging, os, select, signal, sys, threading, time, warnings
# Python 3.12 warns of a fork in a process with threads, which is what this is about.
warnings.filterwarnings("ignore", ".*multi-threaded.*", DeprecationWarning)
logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
from ott_middleware import CookieSession, MemoryBackend, OneTimeTokens
LATER = {"expires_at": time.time() + 3_600, "owner": "owner", "limit": None}
backend = MemoryBackend()

def in_child(function, fork=os.fork, seconds=10):
    # What a function returns in a forked child; "hung" if it takes too long.
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(function()).encode())
        except BaseException as error:
            os.write(writer, json.dumps(repr(error)).encode())
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

def take(key):
    value = backend.take(key)
    return value and value.decode()
"""


def run(tmp_path: Path, program: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "forks.py").write_text(PRELUDE + program)
    environment = {k: v for k, v in os.environ.items() if k != "WEB_CONCURRENCY"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-W", "error", "forks.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


class TestTokenOverAFork:
    @pytest.mark.parametrize("fork", ["os.fork", "ctypes.CDLL(None).fork"])
    def test_redeemed_by_the_parent_alone(self, tmp_path: Path, fork: str) -> None:
        program = f"""
backend.put("token", b"value", **LATER)
children = [in_child(lambda: take("token"), {fork}) for _ in range(4)]
print(children, take("token"), take("token"))
"""
        done = run(tmp_path, program)
        assert done.stdout == "[None, None, None, None] value None\n"
        lines = done.stderr.splitlines()
        assert all("the child starts empty" in line for line in lines)
        assert len(lines) == 4, "each child says so once"

    def test_put_by_the_child_stays_there(self, tmp_path: Path) -> None:
        program = """
backend.put("parent", b"value", **LATER)
def child():
    before = (len(backend), backend.held_bytes, backend.revoke("owner"))
    backend.put("parent", b"child", **LATER)  # no KeyTaken: that name is free here
    grandchild = in_child(lambda: take("parent"))
    return [*before, grandchild, take("parent"), take("parent")]
print(in_child(child), len(backend), take("parent"))
"""
        assert run(tmp_path, program).stdout == "[0, 0, 0, None, 'child', None] 1 value\n"

    def test_process_id_used_again_gets_nothing(self, tmp_path: Path) -> None:
        program = """
backend.put("token", b"value", **LATER)
mine = os.getpid()
def child():
    os.getpid = lambda: mine  # as of an ancestor that is gone
    return take("token")
print(in_child(child), take("token"))
"""
        assert run(tmp_path, program).stdout == "None value\n"

    def test_service_redeems_in_the_parent_alone(self, tmp_path: Path) -> None:
        program = """
logging.disable()
from ott_middleware import Session
from ott_middleware.errors import InvalidToken
service = OneTimeTokens(backend, sessions=CookieSession("sid"))
token = service.generate(Session("id", "value"))
def child():
    try:
        return service.verify(token).id
    except InvalidToken:
        return "invalid"
print([in_child(child) for _ in range(3)], service.verify(token).id)
"""
        assert run(tmp_path, program).stdout == "['invalid', 'invalid', 'invalid'] id\n"


class TestChildOfALoadedParent:
    def test_children_never_hang(self, tmp_path: Path) -> None:
        # The children are forked while other threads hold the lock now and then.
        program = """
logging.disable()
sys.setswitchinterval(1e-5)
stop = threading.Event()
failures = []
def work(name):
    try:
        for number in range(10**9):
            if stop.is_set():
                return
            backend.put(f"{name} {number}", b"value", **{**LATER, "owner": name})
            assert take(f"{name} {number}") == "value"
    except BaseException as error:
        failures.append(repr(error))
threads = [threading.Thread(target=work, args=(f"thread {n}",)) for n in range(4)]
for thread in threads:
    thread.start()
def child():
    seen = take("shared")
    backend.put("new", b"new", **LATER)
    # Threads of the child as well.
    got = []
    takers = [threading.Thread(target=lambda: got.append(take("new"))) for _ in range(3)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    return [seen, sorted(got, key=str)]
backend.put("shared", b"shared", **LATER)
outcomes = {}
for _ in range(120):
    outcome = json.dumps(in_child(child, seconds=5))
    outcomes[outcome] = outcomes.get(outcome, 0) + 1
    if outcomes.get('"hung"', 0) > 3:
        break
stop.set()
for thread in threads:
    thread.join()
print(outcomes, failures, take("shared"))
"""
        done = run(tmp_path, program)
        assert done.stdout == """{'[null, [null, null, "new"]]': 120} [] shared\n"""


FORKING_SERVER = """
import http.client, socketserver
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from ott_middleware import OTTMiddleware, Session
logging.disable()

class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass

class Forking(socketserver.ForkingMixIn, WSGIServer):
    pass

def inner(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the app"]

app = OTTMiddleware(inner, session="sid", backend=backend)
# Made before the server forks, as by a script or a scheduler beside it.
token = app.flow.tokens.generate(Session("id", "value"))
server = Forking(("127.0.0.1", 0), Quiet)
server.set_app(app)
threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

def verify():
    connection = http.client.HTTPConnection(*server.server_address, timeout=20)
    body = json.dumps({"token": token})
    connection.request(
        "POST", "/one-time-token/verify", body, {"Content-Type": "application/json"}
    )
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status

print([verify() for _ in range(6)])
server.shutdown()
server.server_close()
"""


class TestForkingServer:
    def test_replays_all_fail(self, tmp_path: Path) -> None:
        assert run(tmp_path, FORKING_SERVER).stdout == "[400, 400, 400, 400, 400, 400]\n"
