"""Real servers in processes of their own: started, asked, read and always ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from token_watch import keep_log, token_record

HERE = Path(__file__).parent
PATIENCE = 20.0  # seconds, for anything that a busy machine may be slow at


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def header(self, name: str) -> str | None:
        return self.headers.get(name)

    @property
    def cookies(self) -> dict[str, str]:
        lines = self.headers.get_all("Set-Cookie", [])
        pairs = (line.split(";", 1)[0].partition("=") for line in lines)
        return {name: value for name, _, value in pairs}


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    host: str = "127.0.0.1"

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Sequence[bytes] | None = None,
    ) -> Answer:
        """One request on a connection of its own; a sequence of bodies is sent in chunks."""
        connection = self.connect()
        try:
            with contextlib.suppress(ConnectionError):  # refused half-way: the answer is there
                connection.request(method, target, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def ask_raw(self, *lines: str) -> Answer:
        """A request with a request line that no client library would send."""
        request = "".join(f"{line}\r\n" for line in (*lines, "Connection: close", ""))
        with socket.create_connection((self.host, self.port), timeout=PATIENCE) as connection:
            connection.sendall(request.encode("latin-1"))
            response = http.client.HTTPResponse(connection, method=lines[0].split(" ")[0])
            with contextlib.closing(response):
                response.begin()
                return Answer(response.status, response.headers, response.read())

    def logged(self, mark: str) -> str:
        """What the server wrote, once the mark is in it."""
        deadline = time.monotonic() + PATIENCE
        while mark not in (text := self.log.read_text("utf-8", "replace")):
            assert time.monotonic() < deadline, f"{self.name} did not log {mark!r}:\n{text}"
            time.sleep(0.02)
        return text


def free_port(host: str = "127.0.0.1") -> int:
    with socket.create_server((host, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    name: str,
    arguments: Sequence[str],
    log: Path,
    *,
    port: int | None = None,
    path: Path = HERE,
    variables: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
    python: str | Path = sys.executable,
    patience: float = PATIENCE,
    leaks: str = "",
) -> Iterator[Server]:
    """A server: `python -m ...` with `{port}` filled in, its output in `log`.

    :param port: any that is free by default.
    :param path: where its modules are.
    :param variables: more of its environment.
    :param host: the loopback address that it listens on.
    :param python: the interpreter, of another environment than that of the tests.
    :param patience: seconds until it listens.
    :param leaks: why its log may show tokens; no other log does, see `token_watch`.
    """
    port = port or free_port(host)
    command = [
        str(python),
        "-m",
        *(argument.replace("{port}", str(port)) for argument in arguments),
    ]
    environment = {
        **{key: value for key, value in os.environ.items() if key != "WEB_CONCURRENCY"},
        "PYTHONPATH": os.pathsep.join(filter(None, (str(path), os.environ.get("PYTHONPATH")))),
        "PYTHONUNBUFFERED": "1",
        **({token_record.LEAKS: leaks} if leaks else {}),
        **(variables or {}),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(name, port, process, log, host)
    try:
        _wait_for(server, patience)
        yield server
    finally:
        _end(process)
        if not leaks:
            keep_log(log)


def _wait_for(server: Server, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        text = server.log.read_text("utf-8", "replace")
        assert server.process.poll() is None, f"{server.name} ended:\n{text}"
        assert time.monotonic() < deadline, f"{server.name} does not listen:\n{text}"
        with contextlib.suppress(OSError):
            socket.create_connection((server.host, server.port), timeout=1).close()
            return
        time.sleep(0.02)


def _end(process: subprocess.Popen[bytes]) -> None:
    # The whole group: servers have workers, and a test must leave nothing behind. Some take seconds
    # to end in good order, which no test is about.
    for number, patience in (signal.SIGTERM, 0.15), (signal.SIGKILL, 5.0):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
