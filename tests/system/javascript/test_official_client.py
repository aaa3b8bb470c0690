"""The official JavaScript client of Better Auth against a wrapped app: `pytest -m javascript`.

The package `better-auth` is installed from the npm registry for it. Where this package deviates
from what that client's own server sends, a test is named `test_deviation_…`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from client_apps import EXPIRES, FRONT
from running import Server, running
from services import absent

pytestmark = pytest.mark.javascript
HERE = Path(__file__).parent
COOKIE = "sid=ada-cookie-8f1c2d7a"
PACKAGE = "better-auth@~1.7.0"

Step = dict[str, str]
Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script, where `node` finds the client."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        absent("needs Node.js and npm")
    folder = tmp_path_factory.mktemp("javascript")
    (folder / "package.json").write_text('{"private": true}')
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
    result = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=300)
    if result.returncode != 0:
        absent(f"needs {PACKAGE} from the npm registry: {result.stderr[-1000:]}")
    return Path(shutil.copy(HERE / "client.mjs", folder))


SERVERS = {
    "asgi": ("uvicorn", "--port", "{port}", "client_apps:asgi"),
    "wsgi": ("waitress", "--listen", "127.0.0.1:{port}", "client_apps:wsgi"),
    "asgi_value": ("uvicorn", "--port", "{port}", "client_apps:asgi_value"),
}


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    started: dict[str, Server] = {}
    with ExitStack() as stack:

        def start_once(name: str) -> Server:
            if name not in started:
                log = tmp_path_factory.mktemp(name) / "log"
                started[name] = stack.enter_context(running(name, SERVERS[name], log, path=HERE))
            return started[name]

        yield start_once


@pytest.fixture(params=["asgi", "wsgi"])
def run(request: pytest.FixtureRequest, client: Path, start: Callable[[str], Server]) -> Run:
    """Run steps with the client, against an app of either interface."""
    return run_against(client, start(request.param))


def run_against(client: Path, server: Server) -> Run:
    def run(*steps: Step) -> list[dict[str, Any]]:
        asked = json.dumps({"baseURL": f"{server.origin}/api/auth", "steps": steps})
        result = subprocess.run(
            ["node", client.name],
            cwd=client.parent,
            input=asked,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        results: list[dict[str, Any]] = json.loads(result.stdout)
        return results

    return run


def milliseconds(moment: Any) -> int:
    return round(moment.timestamp() * 1000)


GENERATE: Step = {"call": "generate", "cookie": COOKIE}
VERIFY: Step = {"call": "verify", "token": "of generate"}


class TestOfficialClient:
    def test_generate_returns_a_token(self, run: Run) -> None:
        (result,) = run(GENERATE)
        assert result["error"] is None
        assert len(result["data"].pop("token")) == 32
        assert result["data"] == {}

    def test_generate_without_a_session(self, run: Run) -> None:
        (result,) = run({"call": "generate"})
        assert result["data"] is None
        assert result["error"] == {
            "status": 401,
            "statusText": "Unauthorized",
            "message": "Unauthorized",
            "code": "UNAUTHORIZED",
        }

    def test_verify_returns_session_and_user(self, run: Run) -> None:
        _, result = run(GENERATE, VERIFY)
        assert result["error"] is None
        assert result["data"]["user"]["name"] == "Ada"
        assert result["data"]["session"]["id"] == "s-ada"
        assert result["data"]["session"]["userId"] == "ada"
        (cookie,) = result["cookies"]
        assert cookie.startswith(f"{COOKIE};")
        assert "HttpOnly" in cookie

    def test_verify_dates_are_dates_to_the_millisecond(self, run: Run) -> None:
        _, result = run(GENERATE, VERIFY)
        session = result["data"]["session"]
        assert session["expiresAt"] == {"Date": milliseconds(EXPIRES)}

    def test_verify_a_used_token(self, run: Run) -> None:
        *_, result = run(GENERATE, VERIFY, VERIFY)
        assert result["data"] is None
        assert result["error"]["status"] == 400
        assert result["error"]["message"] == "Invalid token"
        assert result["cookies"] == []

    def test_verify_an_unknown_token(self, run: Run) -> None:
        (result,) = run({"call": "verify", "token": "A" * 32})
        assert result["data"] is None
        assert result["error"]["status"] == 400
        assert result["error"]["message"] == "Invalid token"

    def test_verify_no_token(self, run: Run) -> None:
        (result,) = run({"call": "verify"})
        assert result["error"]["status"] == 400
        assert result["error"]["code"] == "VALIDATION_ERROR"

    def test_trusted_origin_may_send_credentials(self, run: Run) -> None:
        results = run({**GENERATE, "origin": FRONT}, {**VERIFY, "origin": FRONT})
        for result in results:
            assert result["error"] is None
            assert result["headers"]["access-control-allow-origin"] == FRONT
            assert result["headers"]["access-control-allow-credentials"] == "true"

    def test_foreign_origin_is_refused(self, run: Run) -> None:
        (result,) = run({**GENERATE, "origin": "https://evil.example"})
        assert result["data"] is None
        assert (result["error"]["status"], result["error"]["code"]) == (403, "INVALID_ORIGIN")
        assert "access-control-allow-origin" not in result["headers"]

    def test_deviation_no_cookie_value_in_the_body(self, run: Run) -> None:
        """Better Auth's server sends `session.token`, an HttpOnly value, to scripts."""
        _, result = run(GENERATE, VERIFY)
        assert set(result["data"]["session"]) == {"id", "userId", "createdAt", "expiresAt"}

    def test_deviation_unknown_dates_are_null(self, run: Run) -> None:
        """Better Auth's server always knows when a session was created; an adapter may not."""
        _, result = run(GENERATE, VERIFY)
        assert result["data"]["session"]["createdAt"] is None

    def test_deviation_errors_carry_a_code(self, run: Run) -> None:
        """Better Auth's server sends the message alone for these."""
        (result,) = run({"call": "verify", "token": "A" * 32})
        assert result["error"]["code"] == "INVALID_TOKEN"


def test_cookie_value_in_the_body_where_no_cookie_is_set(
    client: Path, start: Callable[[str], Server]
) -> None:
    run = run_against(client, start("asgi_value"))
    _, result = run(GENERATE, VERIFY)
    assert result["data"]["session"]["token"] == COOKIE.partition("=")[2]
    assert result["cookies"] == []
