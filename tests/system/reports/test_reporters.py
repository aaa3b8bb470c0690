"""What Sentry and OpenTelemetry report of a request with a live token: no token."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from services import absent

HERE = Path(__file__).parent
Found = dict[str, dict[str, Any]]


def run(program: str, needs: tuple[str, ...]) -> Found:
    for module in needs:
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            absent(f'{module} is not installed: pip install -e ".[test]"')
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / program)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    result: Found = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def sentry() -> Found:
    return run("sentry_program.py", needs=("sentry_sdk", "starlette", "fastapi", "flask"))


@pytest.fixture(scope="module")
def telemetry() -> Found:
    parts = ("asgi", "django", "fastapi", "flask", "wsgi")
    modules = (f"opentelemetry.instrumentation.{part}" for part in parts)
    return run("otel_program.py", needs=("opentelemetry.sdk", *modules))


class TestSentry:
    def test_reports_hold_no_token(self, sentry: Found) -> None:
        reports = {name: each for name, each in sentry.items() if not name.endswith(", bare")}
        assert len(reports) == 11 + 7
        assert {name: each["places"] for name, each in reports.items() if each["places"]} == {}
        # Not silence: the failure of each app was reported, and each transaction.
        for name, each in reports.items():
            down = name.startswith("store down")
            assert each["kinds"] == (["event"] if down else ["event", "transaction"]), name

    def test_layer_around_a_wsgi_app_has_read_the_url(self, sentry: Found) -> None:
        # What the package cuts: should Sentry change, so may the package.
        bare = {name: each["places"] for name, each in sentry.items() if name.endswith(", bare")}
        leaks = [".request.headers.Referer", ".request.query_string"]
        assert {name: where for name, where in bare.items() if where} == {
            "Flask, bare": leaks,
            "WSGI, outside, bare": leaks,
        }


class TestOpenTelemetry:
    def test_spans_hold_no_token(self, telemetry: Found) -> None:
        clean = {name: each for name, each in telemetry.items() if not name.endswith(", bare")}
        assert {name: each["places"] for name, each in clean.items() if each["places"]} == {}
        assert all(each["spans"] for each in clean.values())
        assert len(clean) == 9

    def test_layer_around_the_middleware_has_read_the_url(self, telemetry: Found) -> None:
        assert all(each["places"] for name, each in telemetry.items() if name.endswith(", bare"))
