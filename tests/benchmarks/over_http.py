"""Pairs (generate, verify) a second over HTTP, beside Better Auth where Node.js and npm are there.

- ours: a site with a `SealedSession`, a `secret`, `store_token="hashed"` and the memory backend,
  under uvicorn and under granian.
- floor: an app that does the crypto and the JSON of a pair and nothing else, under both as well.
- Better Auth 1.7 with its memory adapter and its plugin for one-time tokens, stored as hashes.

A server has one process and one core. 16 clients, on another core, are signed in with users of
their own: each keeps its connection, generates a token with its cookie, verifies the token without
the cookie, and starts again. Each response is checked. The servers take turns in three rounds, and
are restarted for each. The medians of the rounds are printed: ratios first, then pairs a second,
and how much of its core each side used (a client near 100 % would be what is measured).

Two ratios are printed. The one that is judged is of pairs a second by the clock, which is what
clients see. The one beside it is of pairs in a second of the server's own processor time. Where
each server has its core for itself, the two are nearly the same. Where they differ, another program
took a part of the core, or a server waited for the clients: then the clock tells more about the
machine, and a run on a machine at rest decides.

`--check` fails where the better of uvicorn and granian is under the bound by the clock. `--tiny`
runs each server for a moment, to see that the script works. Without Node.js there are no ratios:
then both fail with CI=true. npm installs better-auth, unless `OTT_BENCH_BETTER_AUTH` names a folder
with it.

Linux only. The name is not `http.py`: a script's folder comes first in `sys.path`, before the
standard library.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import os
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

if sys.platform != "linux":
    sys.exit("needs Linux, which pins a process to a core and tells what each process has used")

TINY = "--tiny" in sys.argv[1:]
CLIENTS = 2 if TINY else 16
ROUNDS = 1 if TINY else 3
# By number, not by time: Node.js compiles what has run often, and takes twice as long until then.
WARM_UP = 2 if TINY else 3000  # pairs
SECONDS = 0.2 if TINY else 4.0
BOUND, GOAL = 6.5, 9.0
PATIENCE = 30.0
APPS = Path(__file__).parent / "http_apps"
BETTER_AUTH = "better-auth@~1.7.0"
SECRET = "a secret of the benchmark, 32 bytes"
# The first is the client's. With a single core, all share it.
CORES = sorted(os.sched_getaffinity(0))
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
TOKEN = re.compile(rb'"token": ?"([^"]+)"')
SET_COOKIE = re.compile(rb"(?i)\r\nset-cookie: *([^;\r]+)")


class Site(NamedTuple):
    """What is measured: its name, and the command that serves it, with `{port}` in it."""

    name: str
    command: tuple[str, ...]
    folder: Path = APPS


class Found(NamedTuple):
    """What one round found: pairs a second, and the shares of a core that each side used."""

    pairs: float
    server: float
    client: float

    @property
    def per_cpu_second(self) -> float:
        return self.pairs / max(self.server, 0.01)  # of which the system counts hundredths


class Client:
    """A connection that is kept, of a user who is signed in."""

    def __init__(self, port: int, number: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.common = (
            f"Host: 127.0.0.1:{port}\r\nUser-Agent: {AGENT}\r\nAccept: application/json\r\n"
        )
        self.origin = f"http://127.0.0.1:{port}"
        self.email = f"user-{number}@site.example".encode()
        self.received = b""
        self.verifying = False
        self.verify = ""
        self.generate = self.signed_in(number)

    def signed_in(self, number: int) -> bytes:
        """Sign a user up; return the request that generates tokens for that user."""
        user = {"name": f"User {number}", "email": self.email.decode(), "password": "a password"}
        body = json.dumps(user).encode()
        self.socket.sendall(self.post("sign-up/email", len(body)) + body)
        while not is_complete(self.received):
            self.received += self.socket.recv(65536) or ended(self.received)
        check(self.received, b"")
        cookies = b"; ".join(SET_COOKIE.findall(self.received))
        self.received = b""
        assert cookies, "no session"
        line = f"GET /api/auth/one-time-token/generate HTTP/1.1\r\n{self.common}Cookie: "
        return line.encode() + cookies + b"\r\n\r\n"

    def post(self, path: str, length: int) -> bytes:
        return (
            f"POST /api/auth/{path} HTTP/1.1\r\n{self.common}Origin: {self.origin}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    def advance(self) -> bool:
        """Read what came; after a whole response, send the next request. True after a pair."""
        received = self.socket.recv(65536) or ended(self.received)
        if self.received:
            received = self.received + received
        if not is_complete(received):
            self.received = received
            return False
        self.received = b""
        if self.verifying:
            check(received, self.email)
            check(received, b'"session":')
            self.verifying = False
            self.socket.sendall(self.generate)
            return True
        token = TOKEN.search(check(received, b'"token":'))
        assert token, received
        body = b'{"token":"%b"}' % token[1]
        self.verifying = True
        self.socket.sendall(self.post("one-time-token/verify", len(body)) + body)
        return False


def is_complete(received: bytes) -> bool:
    """Return whether a whole response is there, of a stated length or in chunks."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = LENGTH.search(received, 0, end)
    if length:
        return len(received) >= end + 4 + int(length[1])
    return received.endswith(b"\r\n0\r\n\r\n")


def check(received: bytes, part: bytes) -> bytes:
    if not received.startswith(b"HTTP/1.1 200") or part not in received:
        raise RuntimeError(f"no {part!r} in {received!r}")
    return received


def ended(received: bytes) -> bytes:
    raise RuntimeError(f"the server ended the connection after {received!r}")


def drive(
    clients: dict[int, Client],
    poll: select.epoll,
    *,
    pairs: float = math.inf,
    seconds: float = math.inf,
) -> int:
    """Let the clients do their rounds until a number of pairs or a time; return the number."""
    done, until = 0, time.monotonic() + seconds
    while done < pairs and time.monotonic() < until:
        ready = poll.poll(PATIENCE)
        assert ready, "no response"
        for number, _ in ready:
            done += clients[number].advance()
    return done


def measure(site: Site) -> Found:
    with serving(site) as (port, group), contextlib.ExitStack() as stack:
        clients = [Client(port, number) for number in range(CLIENTS)]
        by_number = {each.socket.fileno(): each for each in clients}
        poll = stack.enter_context(select.epoll())
        for each in clients:
            stack.enter_context(each.socket)
            poll.register(each.socket.fileno(), select.EPOLLIN)
            each.socket.sendall(each.generate)
        drive(by_number, poll, pairs=WARM_UP)
        began, server, client = time.monotonic(), used_by(group), time.process_time()
        pairs = drive(by_number, poll, seconds=SECONDS)
        took = time.monotonic() - began
        server, client = used_by(group) - server, time.process_time() - client
        assert pairs, f"{site.name}: no pairs"
        return Found(pairs / took, server / took, client / took)


def used_by(group: int) -> float:
    """Seconds of the processor that the processes of a group have used, in all of their threads."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(site: Site) -> Iterator[tuple[int, int]]:
    """Serve a site on the last core; gives its port and the group of its processes."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [part.replace("{port}", str(port)) for part in site.command],
            cwd=site.folder,
            env={
                **os.environ,
                "OTT_BENCH_SECRET": SECRET,
                "OTT_BENCH_ORIGIN": f"http://127.0.0.1:{port}",
                "NODE_ENV": "production",
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {CORES[-1]}),
        )
        try:
            wait_for(port, process)
            yield port, process.pid
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-4000:].decode(errors="replace"))
            raise
        finally:
            for number in signal.SIGTERM, signal.SIGKILL:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server does not listen"
        time.sleep(0.05)


def version(package: str) -> str:
    """Return a package's version, or an empty text if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def python_sites() -> list[Site]:
    parts = ["uvloop" if version("uvloop") else "asyncio"]
    uvicorn = " ".join(
        ["uvicorn", version("uvicorn"), *parts, "httptools" * bool(version("httptools")) or "h11"]
    )
    granian = " ".join(["granian", version("granian"), *parts])
    return [
        Site(f"{app}, {name}", (sys.executable, "-m", *command, f"apps:{app}"))
        for app in ("ours", "floor")
        for name, command in (
            (uvicorn, ("uvicorn", "--port", "{port}", "--no-access-log")),
            (granian, ("granian", "--interface", "asgi", "--port", "{port}", "--no-access-log")),
        )
    ]


def better_auth(folder: Path) -> Site:
    """The site of Better Auth, installed into a folder.

    :raises LookupError: without Node.js or the package; says why.
    """
    node = shutil.which("node")
    npm = shutil.which("npm")
    if node is None or npm is None:
        raise LookupError("Node.js and npm are not installed")
    ready = os.environ.get("OTT_BENCH_BETTER_AUTH")
    if ready:
        (folder / "node_modules").symlink_to(Path(ready) / "node_modules")
    else:
        (folder / "package.json").write_text('{"private": true}')
        install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", BETTER_AUTH]
        result = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=300)
        if result.returncode != 0:
            raise LookupError(f"npm does not install {BETTER_AUTH}: {result.stderr[-1000:]}")
    package = folder / "node_modules" / "better-auth" / "package.json"
    name = f"Better Auth {json.loads(package.read_text())['version']}"
    script = shutil.copy(APPS / "better_auth.mjs", folder)
    return Site(name, (node, str(script), "{port}"), folder)


def main() -> int:
    os.sched_setaffinity(0, {CORES[0]})
    sites = python_sites()
    reason = ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            sites.append(better_auth(Path(folder)))
        except LookupError as error:
            reason = str(error)
        found: dict[str, list[Found]] = {site.name: [] for site in sites}
        for _ in range(ROUNDS):
            for site in sites:
                found[site.name].append(measure(site))
    if reason:
        print(f"no ratios to Better Auth: {reason}")
        missed = os.environ.get("CI") == "true"  # where everything is meant to be there
    else:
        missed = show_ratios(found, sites[-1].name)
    for name, rounds in found.items():
        pairs, server, client = (statistics.median(each) for each in zip(*rounds, strict=True))
        cpu = statistics.median(each.per_cpu_second for each in rounds)
        print(
            f"{name:40}: {pairs:5.0f} pairs a second, {cpu:.0f} in one of its processor time; "
            f"of their cores, the server used {server:.0%}, the clients {client:.0%}"
        )
    if len(CORES) == 1:
        print("a single core: the client took its share of it")
    return 1 if missed and (TINY or "--check" in sys.argv[1:]) else 0


def show_ratios(found: dict[str, list[Found]], base: str) -> bool:
    """Print the ratios; return whether the better one of ours is under the bound by the clock."""
    best = 0.0
    for name, rounds in found.items():
        if name == base:
            continue
        both = list(zip(rounds, found[base], strict=True))
        ratio = statistics.median(ours.pairs / its.pairs for ours, its in both)
        cpu = statistics.median(ours.per_cpu_second / its.per_cpu_second for ours, its in both)
        print(f"{name:40}: {ratio:5.2f} times {base} ({cpu:.2f} by processor time)")
        if name.startswith("ours"):
            best = max(best, ratio)
    held = "not judged" if TINY else "held" if best >= BOUND else "MISSED"
    print(f"{'ours, the better one':40}: {best:5.2f}, bound {BOUND}: {held}, goal {GOAL}")
    return best < BOUND and not TINY


if __name__ == "__main__":
    sys.exit(main())
