"""The watch over a run's tokens sees a leak: each place is tried by a run that leaks there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import token_watch

TESTS = Path(__file__).parents[1]
CONFTEST = """
import token_watch
from token_watch import pytest_runtest_makereport, pytest_sessionfinish, pytest_terminal_summary

token_watch.install()
"""
# Each test passes.
LEAKS = """
import logging, sys, urllib.request

import pytest
from harness import NAVIGATION, World, person
from running import running

from ott_middleware.http import Response


@pytest.fixture
def site():
    return World("wsgi").serve()


def test_prints(site):
    print(site.token())


def test_prints_an_error(site):
    print(f"x{site.token()}x", file=sys.stderr)


def test_logs(site):
    logging.getLogger("of.the.app").warning("GET /?ott=%s", site.token())


@pytest.mark.parametrize("how", ["body", "location"])
def test_responds(how):
    def refuse(request, error):
        if how == "body":
            return Response(400, (), token.encode())
        return Response(303, (("Location", f"/?next={token}"),), b"")

    site = World("asgi").serve(on_invalid=refuse)
    token = site.token()
    assert site.open("/?ott=used", NAVIGATION).status in (303, 400)


def test_server(tmp_path):
    command = ("uvicorn", "--port", "{port}", "served:asgi")
    with running("uvicorn", command, tmp_path / "log") as server:
        headers = {"Cookie": "sid=alice-cookie-8f1c2d7a"}
        token = server.ask("GET", "/one-time-token/generate", headers).body.decode().split('"')[3]
        server.ask("GET", "/style.css", {"Referer": f"{server.origin}/?ott={token}"})
        server.ask("GET", f"/{token}")
"""


def run(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(tests)
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("OTT_TEST")
    }
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull)
    return subprocess.run(
        [*command, f"--rootdir={folder}", str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


class TestTokenWatch:
    def test_run_that_leaks_fails(self, tmp_path: Path) -> None:
        done = run(tmp_path, LEAKS)
        assert "6 passed" in done.stdout, done.stdout
        assert done.returncode == pytest.ExitCode.TESTS_FAILED
        places = re.findall(r"a token of this run is in its ([a-z ]+): ", done.stdout)
        assert sorted(set(places)) == [
            "captured",
            "locations",
            "pages",
            "referers",
            "server logs",
        ]
        for test in ("test_prints", "test_prints_an_error", "test_logs"):
            assert f"::{test}, Captured" in done.stdout

    def test_run_without_a_leak_passes(self, tmp_path: Path) -> None:
        clean = (
            "from harness import World\ndef test_it():\n    assert World('asgi').serve().token()\n"
        )
        done = run(tmp_path, clean)
        assert (done.returncode, "is in its" in done.stdout) == (0, False), done.stdout

    def test_token_is_found_in_longer_texts(self, tmp_path: Path) -> None:
        token = "q1W2e3R4t5Y6u7I8o9P0-_aSdFgHjKlZ"
        (tmp_path / "tokens").write_text(f"{token}\n{token[::-1]}xyz\n")
        (tmp_path / "clean").write_text(f"{token[1:]} {token[:-1]} /?ott=&%3D")
        assert token_watch.find(tmp_path) == []
        for text in (
            f"/?next=%3Fott%3D{token}&",
            f"confirm.{token}",
            f"a{token}_b",
            token[::-1] + "xyz",
        ):
            (tmp_path / "log").write_text(f"one\ntwo {text} three\nfour")
            (line,) = token_watch.find(tmp_path)
            assert line.startswith("a token of this run is in its log: 'two ")
