"""The recipes for API clients: a JWT, a ticket, a socket, each under its real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from running import Server, free_port, running
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

EXAMPLES = Path(__file__).parents[3] / "examples"
SECRET = "a0" * 32
AUDIENCE = "https://chat.example"
TICKET = "/one-time-token/generate?channel=websocket"
BODIES = {
    "fastapi_tickets": ("application/json", b'{"name": "Ada"}'),
    "django_tickets": ("application/x-www-form-urlencoded", b"name=Ada"),
}


@pytest.fixture(scope="module", params=BODIES)
def site(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Server]:
    directory, port = tmp_path_factory.mktemp(request.param), free_port()
    with running(
        request.param,
        [request.param, "--port", "{port}"],
        directory / "log",
        port=port,
        path=EXAMPLES,
        variables={"OTT_ORIGIN": f"http://127.0.0.1:{port}", "OTT_SECRET": SECRET},
    ) as server:
        yield server


def log_in(site: Server) -> str:
    kind, body = BODIES[site.name]
    answer = site.ask("POST", "/login", {"Content-Type": kind}, body)
    assert answer.status == 200
    return str(json.loads(answer.body)["access_token"])


def ask_for_ticket(site: Server, token: str) -> Any:
    return site.ask("GET", TICKET, {"Authorization": f"Bearer {token}"})


def open_socket(site: Server, *offers: str, **headers: str) -> Any:
    url = site.origin.replace("http", "ws") + "/chat"
    return connect(url, subprotocols=list(offers) or None, additional_headers=headers, proxy=None)  # type: ignore[arg-type]  # plain texts


def is_denied(site: Server, *offers: str) -> bool:
    with pytest.raises(InvalidStatus) as caught, open_socket(site, *offers):
        pass
    return bool(caught.value.response.status_code == 403)


def test_ticket_opens_one_socket(site: Server) -> None:
    token = log_in(site)
    answer = ask_for_ticket(site, token)
    assert (answer.status, answer.header("set-cookie")) == (200, None)
    ticket = json.loads(answer.body)["token"]
    with open_socket(site, "ott", f"ott.{ticket}") as socket:
        assert socket.subprotocol == "ott"
        socket.send("hello")
        assert socket.recv(timeout=10) == "Ada: hello"
    assert is_denied(site, "ott", f"ott.{ticket}")
    logged = site.log.read_text()
    assert ticket not in logged
    assert token not in logged


def test_client_that_can_send_a_header_needs_no_ticket(site: Server) -> None:
    with open_socket(site, Authorization=f"Bearer {log_in(site)}") as socket:
        socket.send("hello")
        assert socket.recv(timeout=10) == "Ada: hello"


def test_socket_without_a_ticket_is_denied(site: Server) -> None:
    assert is_denied(site)
    assert is_denied(site, "ott", "ott." + "A" * 32)


CLAIMS = {"sub": "Ada", "aud": AUDIENCE, "exp": time.time() + 3_600, "jti": "one"}


@pytest.mark.parametrize(
    ("claims", "key", "algorithm"),
    [
        ({**CLAIMS, "aud": "https://other.example"}, SECRET, "HS256"),
        ({name: value for name, value in CLAIMS.items() if name != "aud"}, SECRET, "HS256"),
        ({**CLAIMS, "exp": time.time() - 1}, SECRET, "HS256"),
        ({name: value for name, value in CLAIMS.items() if name != "exp"}, SECRET, "HS256"),
        (CLAIMS, "b1" * 32, "HS256"),
        (CLAIMS, SECRET, "HS384"),
        (CLAIMS, None, "none"),
    ],
)
def test_other_tokens_get_no_ticket(
    site: Server, claims: dict[str, Any], key: str | None, algorithm: str
) -> None:
    token = jwt.encode(claims, key, algorithm)  # type: ignore[arg-type]  # no key for "none"
    assert ask_for_ticket(site, token).status == 401
    assert ask_for_ticket(site, jwt.encode(CLAIMS, SECRET, "HS256")).status == 200


START = """
import importlib, logging, sys
logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
example = importlib.import_module(sys.argv[1])
if hasattr(example, "wrapped"):
    example.wrapped(8000)
"""


@pytest.mark.parametrize("name", BODIES)
def test_start_warns_of_nothing(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", START, name],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parent)]),
            "OTT_BACKEND": "sqlite:///tickets.db",
            "OTT_SECRET": SECRET,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", BODIES)
def test_recipe_is_safe_to_copy(name: str) -> None:
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    for option in ('store_token="hashed"', "public_origin=", "secret=SECRET_KEY", "audience="):
        assert source.count(option) == 1, option
