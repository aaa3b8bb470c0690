"""WebSockets under the servers that people run them under, opened by a real client."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from running import Server, running
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups")

ALICE = "alice-cookie-8f1c2d7a"
BOB = "bob-cookie-55aa90c3"
UVICORN = ("uvicorn", "--port", "{port}", "socket_served:asgi")
COMMANDS = {
    "uvicorn-websockets": (*UVICORN, "--ws=websockets"),
    "uvicorn-sansio": (*UVICORN, "--ws=websockets-sansio"),
    "uvicorn-wsproto": (*UVICORN, "--ws=wsproto"),
    "hypercorn": (
        *("hypercorn", "-b", "127.0.0.1:{port}", "--access-logfile", "-"),
        "--access-logformat=%(r)s %(R)s %(Uq)s %(q)s %({sec-websocket-protocol}i)s",
        "socket_served:asgi",
    ),
    "granian": (
        *("granian", "--host", "127.0.0.1", "--port", "{port}", "--interface=asgi"),
        *("--access-log", "--access-log-fmt=%(path)s?%(query_string)s"),
        "socket_served:asgi",
    ),
    "daphne": (
        *("daphne", "-b", "127.0.0.1", "-p", "{port}", "--access-log", "-"),
        "socket_served:asgi",
    ),
}
# Those that send the body of a denial.
SEND_BODIES = ("uvicorn-websockets", "uvicorn-sansio", "uvicorn-wsproto", "hypercorn", "granian")
WAYS = ["url", "protocol"]


@pytest.fixture(scope="module", params=COMMANDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Server]:
    name: str = request.param
    log: Path = tmp_path_factory.mktemp(name) / "log"
    with running(name, COMMANDS[name], log) as started:
        yield started


def ticket(server: Server) -> str:
    path = "/one-time-token/generate?channel=websocket"
    answer = server.ask("GET", path, {"Cookie": f"sid={ALICE}"})
    assert answer.status == 200
    token: str = json.loads(answer.body)["token"]
    return token


def open_socket(
    server: Server, target: str, protocols: Sequence[str] = (), **headers: str
) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{server.port}{target}",
        origin=server.origin,  # type: ignore[arg-type]  # a text of a type of its own
        subprotocols=list(protocols) or None,  # type: ignore[arg-type]
        additional_headers=headers,
        proxy=None,
    )


def offer(server: Server, token: str, way: str, **headers: str) -> ClientConnection:
    if way == "url":
        return open_socket(server, f"/socket?a=1&ott={token}", **headers)
    return open_socket(server, "/socket?a=1", ["ott", f"ott.{token}"], **headers)


def denied(server: Server, token: str, way: str, **headers: str) -> tuple[int, str | None]:
    """The status of a refused handshake, and the code in its body."""
    with pytest.raises(InvalidStatus) as caught:
        offer(server, token, way, **headers)
    response = caught.value.response
    assert "Set-Cookie" not in response.headers
    body = response.body if server.name in SEND_BODIES else None
    return response.status_code, json.loads(body)["code"] if body else None


@pytest.mark.parametrize("way", WAYS)
def test_socket_opens_signed_in_once(server: Server, way: str) -> None:
    token = ticket(server)
    with offer(server, token, way) as socket:
        assert json.loads(socket.recv(10)) == {
            "user": "alice",
            "cookie": "alice",
            "redeemed": "websocket",
            "query": "a=1",
            "subprotocols": [],
            "header": None,
        }
        assert socket.subprotocol == ("ott" if way == "protocol" else None)
        assert socket.response is not None
        assert "Set-Cookie" not in socket.response.headers
    status, code = denied(server, token, way)
    assert status == 403
    assert code == ("INVALID_TOKEN" if server.name in SEND_BODIES else None)
    assert token not in server.log.read_text()


def test_app_chooses_its_own_subprotocol(server: Server) -> None:
    with open_socket(server, "/", ["chat", "ott", f"ott.{ticket(server)}"]) as socket:
        assert socket.subprotocol == "chat"
        seen = json.loads(socket.recv(10))
    assert (seen["user"], seen["subprotocols"]) == ("alice", ["chat"])
    # wsproto keeps the header to itself.
    assert seen["header"] == (None if server.name == "uvicorn-wsproto" else "chat")


def test_socket_without_a_token_is_the_apps(server: Server) -> None:
    with open_socket(server, "/?x=y", ["chat"], Cookie=f"sid={BOB}") as socket:
        seen = json.loads(socket.recv(10))
    assert (seen["user"], seen["redeemed"], seen["subprotocols"]) == ("bob", None, ["chat"])


def test_another_user_is_not_replaced(server: Server) -> None:
    status, code = denied(server, ticket(server), "url", Cookie=f"sid={BOB}")
    expected = (409, "SESSION_SWITCH") if server.name in SEND_BODIES else (403, None)
    assert (status, code) == expected


def test_one_of_twenty_sockets_opens(server: Server) -> None:
    token = ticket(server)

    def attempt(number: int) -> int:
        try:
            with offer(server, token, WAYS[number % 2]) as socket:
                assert json.loads(socket.recv(10))["user"] == "alice"
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code

    with ThreadPoolExecutor(20) as threads:
        statuses = list(threads.map(attempt, range(20)))
    assert sorted(statuses) == [101] + [403] * 19


def test_log_shows_no_token_and_no_error(server: Server) -> None:
    tokens = [ticket(server), ticket(server)]
    for token, way in zip(tokens, WAYS, strict=True):
        with offer(server, token, way) as socket:
            socket.recv(10)
        denied(server, token, way)
    server.ask("GET", "/the-end")
    log = server.logged("/the-end")
    assert not [token for token in tokens if token in log]
    assert "Traceback" not in log
    assert "Error" not in log
