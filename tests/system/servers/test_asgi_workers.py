"""ASGI under the other workers and loops: gunicorn's, uvloop's, asyncio's in debug mode."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Server, running
from services import absent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn and uvloop")

ALICE = "alice-cookie-8f1c2d7a"
BROWSER = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
UVICORN = ("uvicorn", "--port", "{port}", "served:asgi")
GUNICORN = ("gunicorn", "--bind=127.0.0.1:{port}", "served:asgi")
# The module that a worker needs, and the command.
COMMANDS = {
    "uvloop": ("uvloop", (*UVICORN, "--loop", "uvloop")),
    "debug": ("uvicorn", (*UVICORN, "--loop", "asyncio")),
    "gunicorn-asgi": ("gunicorn.workers.gasgi", (*GUNICORN, "--worker-class=asgi")),
    "gunicorn-uvicorn": (
        "uvicorn.workers",
        (*GUNICORN, "--worker-class=uvicorn.workers.UvicornWorker"),
    ),
}


def is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture(scope="module", params=COMMANDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Server]:
    name: str = request.param
    module, command = COMMANDS[name]
    if not is_there(module):
        if name.startswith("gunicorn"):
            pytest.skip(f"this release has no {module}")
        absent(f"{module} is not installed")
    log: Path = tmp_path_factory.mktemp(name) / "log"
    variables = {"PYTHONASYNCIODEBUG": "1"} if name == "debug" else {}
    with running(name, command, log, variables=variables) as started:
        yield started


def test_link_signs_in_once(server: Server) -> None:
    made = server.ask("GET", "/one-time-token/generate", {"Cookie": f"sid={ALICE}"})
    assert made.status == 200
    link = f"/page?ott={json.loads(made.body)['token']}"
    answer = server.ask("GET", link, BROWSER)
    assert (answer.status, answer.cookies) == (303, {"sid": ALICE})
    assert server.ask("GET", link, BROWSER).status == 400
    assert "Traceback" not in server.log.read_text()
