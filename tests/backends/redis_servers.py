"""Real Redis servers for tests: the shared one, private ones, and a proxy that can lose answers."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import services
from services import absent as absent

URL = services.REDIS


def free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        # A server of a cluster listens at the port 10,000 higher as well, which must exist.
        if port + 10_000 < 65_536:
            return port


@contextlib.contextmanager
def shared_prefix() -> Iterator[str]:
    """A prefix of one's own on the shared server, emptied afterwards."""
    client = redis.Redis.from_url(URL, socket_timeout=5)
    try:
        client.ping()
    except redis.RedisError:
        client.close()
        absent(f"no Redis at {URL.rpartition('@')[2]}: set OTT_TEST_REDIS_URL")
    prefix = f"ott-test-{uuid.uuid4().hex}"
    try:
        yield prefix
    finally:
        for key in client.scan_iter(match=f"{{{prefix}}}:*", count=1000):
            client.delete(key)
        client.close()


class Server:
    """A redis-server of one's own."""

    def __init__(self, home: Path, *arguments: str) -> None:
        if shutil.which("redis-server") is None:
            absent("no redis-server to start")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._home = home
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
                *("--dir", str(self._home), *self._arguments),
            ],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.01)
        self.stop()
        pytest.fail("redis-server did not start")

    def stop(self) -> None:
        if self._process is not None:
            self.resume()
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def client(self, **options: object) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5, protocol=2, **options)  # type: ignore[arg-type]  # options of several types

    def ask(self, *command: object) -> object:
        client = self.client(decode_responses=True)
        try:
            return client.execute_command(*command)
        finally:
            client.close()


class Proxy:
    """Stands before a server, counts the commands, and loses an answer when it is told to."""

    def __init__(self, port: int) -> None:
        self.target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.commands: list[bytes] = []
        #: The command whose next answer shall be lost, and its connection with it.
        self.loses: bytes | None = None
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self._sockets += [near, far]
                doomed = threading.Event()
                for pump in (self._commands, self._answers):
                    thread = threading.Thread(target=pump, args=(near, far, doomed))
                    self._threads.append(thread)
                    thread.start()

    def _commands(self, near: socket.socket, far: socket.socket, doomed: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                commands = re.findall(rb"\*\d+\r\n\$\d+\r\n(\w+)\r\n", data)
                self.commands += commands
                if self.loses in commands:
                    self.loses = None
                    doomed.set()
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)

    def _answers(self, near: socket.socket, far: socket.socket, doomed: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                if doomed.is_set():
                    break  # the server has done it, and nobody hears
                near.sendall(data)
            near.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)
