"""The examples, each started twice under its own server: a link signs in from one to the other."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def served(script: str, port: int, **environment: str) -> Iterator[str]:
    """An example under its server; yields its origin."""
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / script), "--port", str(port)],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
            assert time.monotonic() < deadline, "it does not listen"
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.parametrize("script", ["fastapi_app.py", "flask_app.py"])
def test_an_example_hands_over_to_its_twin(script: str, tmp_path: Path) -> None:
    here, there = free_port(), free_port()
    shared = {"OTT_BACKEND": f"sqlite:///{tmp_path / 'tokens.db'}", "SECRET_KEY": "s" * 32}
    with ExitStack() as stack:
        source = stack.enter_context(
            served(script, here, OTT_TARGET=f"http://localhost:{there}", **shared)
        )
        stack.enter_context(served(script, there, OTT_TARGET=source, **shared))
        browser = stack.enter_context(httpx.Client(headers={"accept": "text/html"}, timeout=30))
        assert "Sign in" in browser.get(source).text
        assert browser.get(f"{source}/elsewhere").headers["location"] == "/"
        browser.post(f"{source}/sign-in", data={"name": "Zoë <b>"})
        assert "Hello, <b>Zoë &lt;b&gt;</b>" in browser.get(source).text
        link = browser.get(f"{source}/elsewhere").headers["location"]
        assert re.fullmatch(rf"http://localhost:{there}/\?ott=[\w-]+", link)
        # Another host: no cookie of the first reaches it.
        assert "Sign in" in browser.get(f"http://localhost:{there}/").text
        arrived = browser.get(link)
        assert (arrived.status_code, arrived.headers["location"]) == (303, "/")
        assert "Hello, <b>Zoë &lt;b&gt;</b>" in browser.get(f"http://localhost:{there}/").text
        with httpx.Client(headers={"accept": "text/html"}, timeout=30) as thief:
            assert thief.get(link).status_code == 400
        browser.post(f"{source}/sign-out")
        assert "Sign in" in browser.get(source).text
