"""Servers and clients for the load tests: bounded in count and time, and stopped at the end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
COOKIE = "sid=a-cookie-value-that-must-not-leak"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: Sequence[str], ports: Sequence[int], environment: dict[str, str]
) -> Iterator[int]:
    """Run a server in a process group of its own until it is left; gives the leader's pid."""
    with open(os.devnull, "w") as quiet:
        process = subprocess.Popen(
            command,
            cwd=HERE,
            env={**os.environ, **environment},
            stdout=quiet,
            stderr=quiet,
            start_new_session=True,
        )
        try:
            for port in ports:
                wait_for(port, process)
            yield process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)
            while _OPENED:
                _OPENED.pop().close()


def wait_for(port: int, process: subprocess.Popen[bytes] | None = None) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}")


@contextlib.contextmanager
def gunicorn(backend: str, workers: int = 4) -> Iterator[tuple[list[int], list[int]]]:
    """gunicorn with that many workers; gives its ports and the pids of its masters."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-w", str(workers), "-k", "gthread"]
    command += ["--threads", "4", "-b", f"127.0.0.1:{port}", "apps:wsgi"]
    with running(command, [port], {"OTT_LOAD_BACKEND": backend}) as pid:
        yield [port], [pid]


@contextlib.contextmanager
def uvicorns(
    backend: str, processes: int = 2, workers: int = 2
) -> Iterator[tuple[list[int], list[int]]]:
    """Several uvicorn servers of several workers each."""
    ports = [free_port() for _ in range(processes)]
    with contextlib.ExitStack() as stack:
        pids = []
        for port in ports:
            command = [sys.executable, "-m", "uvicorn", "apps:asgi", "--workers", str(workers)]
            command += ["--port", str(port), "--log-level", "critical", "--no-access-log"]
            environment = {"OTT_LOAD_BACKEND": backend}
            pids.append(stack.enter_context(running(command, [port], environment)))
        yield ports, pids


def children(pid: int) -> list[int]:
    """The worker processes of a server."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


@dataclass
class Answer:
    """What a client got: a status, or 0 where the connection broke; and how long it took."""

    status: int
    seconds: float
    body: bytes = field(default=b"", repr=False)


# All that clients have opened, whichever thread it was.
_OPENED: list[http.client.HTTPConnection] = []


class Client(threading.local):
    """One connection a thread and port, as browsers keep them."""

    def __init__(self) -> None:
        self.connections: dict[int, http.client.HTTPConnection] = {}

    def ask(
        self, port: int, method: str, path: str, body: str | None = None, cookie: str | None = None
    ) -> Answer:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if cookie is not None:
            headers["Cookie"] = cookie
        began = time.monotonic()
        connection = self.connections.get(port)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            self.connections[port] = connection
            _OPENED.append(connection)
        try:
            connection.request(method, path, body, headers)
            if hasattr(socket, "TCP_QUICKACK"):
                # A worker of uvicorn sends an answer's head and body apart, and the body waits for
                # what says that the head has arrived: 40 ms, unless that is said at once.
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            response = connection.getresponse()
            answer = Answer(response.status, time.monotonic() - began, response.read())
        except (OSError, http.client.HTTPException):
            answer = Answer(0, time.monotonic() - began)
        if answer.status == 0:
            connection.close()
            del self.connections[port]
        return answer


CLIENT = Client()


def generate(ports: Sequence[int], count: int, channel: str = "handoff") -> list[str]:
    """That many tokens, made by whichever worker answers; a broken connection is tried again."""

    def one(index: int) -> str:
        for _ in range(50):
            path = f"/one-time-token/generate?channel={channel}"
            answer = CLIENT.ask(ports[index % len(ports)], "GET", path, cookie=COOKIE)
            if answer.status == 200:
                token: str = json.loads(answer.body)["token"]
                return token
            assert answer.status in (0, 503), answer
            time.sleep(0.05)
        raise AssertionError("no token in 50 tries")

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(count)))


def redeem(port: int, token: str) -> Answer:
    body = json.dumps({"token": token})
    return CLIENT.ask(port, "POST", "/one-time-token/verify", body)


def redeem_all(ports: Sequence[int], tokens: Sequence[str], clients: int = 8) -> list[list[Answer]]:
    """Each token redeemed by that many clients at once; their answers, token by token."""
    barrier = threading.Barrier(clients)
    answers: list[list[Answer]] = [[] for _ in tokens]

    def one(client: int) -> None:
        for index, token in enumerate(tokens):
            barrier.wait(60)
            answers[index].append(redeem(ports[client % len(ports)], token))

    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(one, client) for client in range(clients)]:
            done.result(600)
    return answers
