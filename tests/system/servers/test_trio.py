"""Servers that run trio: what waits for nothing works, and the rest says that it needs asyncio."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import Server, running
from services import absent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups")

ALICE = {"Cookie": "sid=alice-cookie-8f1c2d7a"}


@contextmanager
def serving(app: str, folder: Path) -> Iterator[Server]:
    if importlib.util.find_spec("trio") is None:
        absent("trio is not installed")
    arguments = ("hypercorn", "-k", "trio", "-b", "127.0.0.1:{port}", app)
    with running(app, arguments, folder / "log") as server:
        yield server


@pytest.mark.parametrize("app", ["served:asgi", "trio_served:own"])
def test_what_needs_no_asyncio_works(app: str, tmp_path: Path) -> None:
    with serving(app, tmp_path) as server:
        made = server.ask("GET", "/one-time-token/generate", ALICE)
        assert made.status == 200
        link = f"/page?ott={json.loads(made.body)['token']}"
        browser = {
            "Accept": "text/html",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
        }
        assert server.ask("GET", link, browser).status == 303
        assert server.ask("GET", link, browser).status == 400
        assert server.ask("GET", "/page").status == 200


@pytest.mark.parametrize(
    ("app", "name"),
    [
        ("thread", "CookieSession.current raised RuntimeError"),
        ("probe", "raised RuntimeError"),
        ("redis", "the backend raised RuntimeError"),
    ],
)
def test_first_request_says_that_asyncio_is_missing(app: str, name: str, tmp_path: Path) -> None:
    with serving(f"trio_served:{app}", tmp_path) as server:
        assert server.ask("GET", "/one-time-token/generate", ALICE).status == 503
        text = server.logged("it needs asyncio, and this server runs trio")
        assert name in text
        # The app itself goes on.
        assert server.ask("GET", "/page").status == 200
