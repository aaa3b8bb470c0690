"""The settings of docs/proxies.md in the real proxies, where these are installed.

Traefik and the gateways are not: their settings are those of their own documentation.
"""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from documents import ROOT, blocks

PAGE = ROOT / "docs" / "proxies.md"
TOKEN = "q1W2e3R4t5Y6u7I8o9P0-_aSdFgHjKlZ"
PATIENCE = 20.0
MODULES = "/usr/lib/apache2/modules"
LOADED = ("mpm_event", "authz_core", "headers", "proxy", "proxy_http")


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the library
        """Leaves the access log out."""


class App:
    """Keeps the headers of each request."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        self.seen.append({k: v for k, v in environ.items() if isinstance(v, str)})
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"Hello"]


@contextlib.contextmanager
def served(app: App) -> Iterator[int]:
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def nginx(text: str, folder: Path, port: int) -> tuple[str, list[str]]:
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};")
    text = text.replace("/var/log/nginx/", f"{folder}/")
    errors = f"{folder}/error.log"
    main = f"daemon off;\npid {folder}/pid;\nerror_log {errors};\nevents {{}}\n"
    return f"{main}http {{\n{text}\n}}\n", ["nginx", "-e", errors, "-c"]


def caddy(text: str, folder: Path, port: int) -> tuple[str, list[str]]:
    text = text.replace("b.example {", f"http://:{port} {{\n\tbind 127.0.0.1")
    text = text.replace("{\n", "{\n\tadmin off\n\tauto_https off\n", 1)
    return text, ["caddy", "run", "--adapter", "caddyfile", "--config"]


def apache(text: str, folder: Path, port: int) -> tuple[str, list[str]]:
    (folder / "logs").mkdir()
    modules = "".join(f"LoadModule {n}_module {MODULES}/mod_{n}.so\n" for n in LOADED)
    main = (
        f"ServerRoot {folder}\nDefaultRuntimeDir {folder}\nPidFile {folder}/pid\n"
        f"Listen 127.0.0.1:{port}\nServerName b.example\nUser nobody\nGroup nogroup\n"
    )
    errors = f"ErrorLog {folder}/error.log\n"
    return f"{main}{modules}{errors}{text}\n", ["apache2", "-DFOREGROUND", "-f"]


Configure = Callable[[str, Path, int], tuple[str, list[str]]]
PROXIES: dict[str, Configure] = {"nginx": nginx, "caddy": caddy, "apache": apache}


@contextlib.contextmanager
def proxy(name: str, folder: Path, upstream: int) -> Iterator[int]:
    """The proxy with the settings of the page, and the port that it listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    (block,) = blocks(PAGE, name)
    text = block.text.replace("127.0.0.1:8000", f"127.0.0.1:{upstream}")
    configuration, (program, *arguments) = PROXIES[name](text, folder, port)
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{program} is not installed")
    file = folder / "configuration"
    file.write_text(configuration, encoding="utf-8")
    environment = {"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    with (
        (folder / "output").open("wb") as output,
        subprocess.Popen(
            [found, *arguments, str(file)], stdout=output, stderr=output, env=environment
        ) as process,
    ):
        try:
            wait_for(port, folder / "output")
            yield port
        finally:
            process.terminate()


def wait_for(port: int, output: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    pytest.fail(output.read_text())


def get(port: int, target: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        headers = {"Host": "b.example", "Referer": f"http://b.example/page?ott={TOKEN}"}
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status


@pytest.mark.parametrize("name", PROXIES)
def test_log_has_the_path_and_no_token(name: str, tmp_path: Path) -> None:
    app = App()
    with contextlib.ExitStack() as running:
        with served(app) as upstream:
            port = running.enter_context(proxy(name, tmp_path, upstream))
            assert get(port, f"/welcome?a=1&ott={TOKEN}") == 200
        # The app is gone, and the proxy has an error to log.
        assert get(port, f"/gone?a=1&ott={TOKEN}") in (502, 503)
    (request,) = app.seen
    assert request["QUERY_STRING"] == f"a=1&ott={TOKEN}"
    assert request["HTTP_HOST"] == "b.example"
    assert request["HTTP_X_FORWARDED_PROTO"] == "http"
    assert request["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    logs = {p: p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    told = "".join(logs.values())
    assert "/welcome" in told
    assert "/gone" in told
    shown = [path.name for path, text in logs.items() if TOKEN in text]
    # As the page says of nginx.
    assert shown == (["error.log"] if name == "nginx" else [])
