"""The demo does what it says, and its check fails when it should."""

from __future__ import annotations

import importlib.util
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from waitress import wasyncore

from ott_middleware import MemoryBackend

DEMO = Path(__file__).parents[2] / "examples" / "handoff.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "utf8", str(DEMO), *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def demo() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("handoff_demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_check_passes_and_tells_what_happened() -> None:
    done = run("--check", "--asgi-port", "0", "--wsgi-port", "0")
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout
    for line in (
        "front desk  Zoe Müller signed in",
        "a token waits",
        "a link for Zoe Müller: http://127.0.0.1:",
        "the token is taken, and gone",
        "from Zoe Müller",
        "no such token: used or expired",
        "/vault from Ada",
        "All is well",
    ):
        assert line in told, told


def test_narration_shows_no_whole_token() -> None:
    told = run("--check", "--asgi-port", "0", "--wsgi-port", "0").stdout
    assert re.findall(r"ott=(\S*)", told) == re.findall(r"ott=(.{4}\.\.\.)(?:\s)", told)
    # Made once, and used a second time.
    assert len(re.findall(r"ott=", told)) == 2


@pytest.mark.parametrize("option", ["--asgi-port", "--wsgi-port"])
def test_port_in_use_is_named(option: str) -> None:
    other = {"--asgi-port": "--wsgi-port", "--wsgi-port": "--asgi-port"}[option]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--check", option, str(port), other, "0")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"Port {port} can't be used: ")
    assert "Traceback" not in done.stderr


def test_port_out_of_range_is_named() -> None:
    done = run("--check", "--asgi-port", "70000")
    assert done.returncode == 2
    assert "argument --asgi-port: invalid port value: '70000'" in done.stderr


class Forgetful(MemoryBackend):
    def take(self, key: str) -> bytes | None:
        return None


class Generous(MemoryBackend):
    """Gives a token as often as it is asked: what must never be."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, bytes] = {}

    def take(self, key: str) -> bytes | None:
        value = super().take(key) or self.given.get(key)
        if value is not None:
            self.given[key] = value
        return value


@pytest.mark.parametrize(
    ("backend", "complaint"),
    [
        (Forgetful, "the link should lead to the archive's clean URL"),
        (Generous, "the second use should fail"),
    ],
)
def test_check_fails_with_a_store_that_gives_twice(
    demo: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    backend: type[MemoryBackend],
    complaint: str,
) -> None:
    monkeypatch.setattr(demo, "TalkingBackend", backend)
    with pytest.raises(SystemExit) as end, demo.served(0, 0) as urls:
        demo.check(*urls)
    assert end.value.code == f"The check failed: {complaint}."


def test_check_fails_where_the_archive_greets_another_user(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "user_id", lambda session: "Eve")
    with pytest.raises(SystemExit) as end, demo.served(0, 0) as urls:
        demo.check(*urls)
    assert end.value.code == "The check failed: the archive should greet Zoe."


def test_servers_stop_where_no_socket_is_closed_under_them(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine pauses between what waitress chose to wait for and its waiting.
    def pausing(*sockets: Any) -> object:
        time.sleep(0.3)
        return select.select(*sockets[:3], 0)

    monkeypatch.setattr(wasyncore, "select", SimpleNamespace(select=pausing))
    before = set(threading.enumerate())
    # That nothing was raised in a thread is pytest's to see: it makes the warning an error.
    with demo.served(0, 0) as (_, archive_url):
        assert demo.Browser().open(archive_url)[0] == 200
    assert set(threading.enumerate()) <= before


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to one process")
def test_ctrl_c_ends_it_without_a_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(DEMO), "--asgi-port", "0", "--wsgi-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        # What a shell starts in the background ignores the signal, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Sign in at http://localhost:")
        assert process.stdout.readline() == "Press Ctrl-C to stop.\n"
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, complaints) == (0, "")
