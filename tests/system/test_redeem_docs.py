"""The page for servers in other languages: its programs run, against its Python site over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from documents import ROOT, ask, blocks, run
from harness import NAVIGATION

PAGE = ROOT / "docs" / "redeem_from_a_server.md"
A = {"host": "a.example", "scheme": "https"}
OPENED = {**NAVIGATION, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
PATIENCE = 20.0


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the library
        """Leaves the access log out."""


@pytest.fixture(scope="module")
def app() -> Any:
    return run(PAGE)["app"]


@pytest.fixture(scope="module")
def source(app: Any) -> Iterator[str]:
    """The origin under which the page's site is served."""
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def token(app: Any) -> str:
    signed_in = ask(app, "GET", "/sign-in", {}, **A)
    cookie = dict(signed_in.headers)["set-cookie"].partition(";")[0]
    link = dict(ask(app, "GET", "/go", {"cookie": cookie}, **A).headers)["location"]
    address, _, token = link.partition("?ott=")
    assert address == "https://b.example/welcome"
    return token


def program(language: str, source: str) -> str:
    (block,) = blocks(PAGE, language)
    assert "https://a.example" in block.text
    return block.text.replace("https://a.example", source)


def installed(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def output(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


class TestCurl:
    def test_redeems_once(self, source: str, token: str) -> None:
        installed("curl")
        script = program("sh", source)
        places = {"PATH": "/usr/bin:/bin", "TOKEN": token}
        first, second = (output(["sh", "-c", script], **places) for _ in range(2))
        assert '"user":{"id":"u1","name":"Ada"}' in first.stdout.replace(" ", "")
        assert first.returncode == 0
        assert "INVALID_TOKEN" in second.stdout
        assert second.returncode == 22


class TestGo:
    def test_redeems_once(self, source: str, token: str, tmp_path: Path) -> None:
        go = installed("go")
        file = tmp_path / "main.go"
        file.write_text(program("go", source) + "\n", encoding="utf-8")
        places = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", str(tmp_path))}
        formatted = output([str(Path(go).with_name("gofmt")), "-l", str(file)], **places)
        assert (formatted.stdout, formatted.stderr) == ("", "")
        binary = tmp_path / "redeem"
        built = output([go, "build", "-o", str(binary), str(file)], **places)
        assert built.returncode == 0, built.stderr
        told = [output([str(binary)], TOKEN=token).stdout for _ in range(2)]
        assert told == ["Hello Ada\n", "the link was used or has expired\n"]


class TestNode:
    @pytest.fixture
    def port(self, source: str, tmp_path: Path) -> Iterator[int]:
        node = installed("node")
        file = tmp_path / "server.mjs"
        file.write_text(program("js", source), encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        environment = {"PORT": str(port), "PATH": "/usr/bin:/bin"}
        with subprocess.Popen([node, str(file)], env=environment) as process:
            try:
                yield self._wait_for(port)
            finally:
                process.terminate()

    @staticmethod
    def _wait_for(port: int) -> int:
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                return port
            assert time.monotonic() < end, "Node.js does not listen"
            time.sleep(0.02)

    @staticmethod
    def get(port: int, target: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read().decode()

    def test_visitor_is_signed_in_once(self, port: int, token: str) -> None:
        link = f"/welcome?a=1&ott={token}"
        for ahead in (
            {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
            {**OPENED, "sec-purpose": "prefetch"},
        ):
            assert self.get(port, link, ahead)[2] == "Hello guest"
        status, headers, _ = self.get(port, link, OPENED)
        assert (status, headers["Location"]) == (303, "https://b.example/welcome?a=1")
        assert headers["Referrer-Policy"] == "no-referrer"
        cookie = headers["Set-Cookie"].partition(";")[0]
        assert self.get(port, "/welcome", {"cookie": cookie})[2] == "Hello Ada"
        status, headers, _ = self.get(port, link, OPENED)
        assert (status, "Set-Cookie" in headers) == (303, False)

    @pytest.mark.parametrize("path", ["//evil.example/", "/.//evil.example/", "/\\evil.example/"])
    def test_redirect_stays_on_this_host(self, port: int, path: str) -> None:
        location = self.get(port, f"{path}?ott=dead", OPENED)[1]["Location"]
        assert location.startswith("https://b.example/")

    def test_target_that_is_no_url_ends_nothing(self, port: int) -> None:
        assert self.get(port, "//", OPENED)[0] == 400
        assert self.get(port, "/welcome", {})[2] == "Hello guest"
