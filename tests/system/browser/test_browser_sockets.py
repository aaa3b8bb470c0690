"""A browser's WebSockets, under the servers that have some."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Server, running

pytestmark = pytest.mark.browser

ALICE = "alice-cookie-8f1c2d7a"
COMMANDS = {
    "uvicorn": ("uvicorn", "--port", "{port}", "socket_served:asgi"),
    "hypercorn": ("hypercorn", "-b", "127.0.0.1:{port}", "socket_served:asgi"),
    "granian": (
        *("granian", "--host", "127.0.0.1", "--port", "{port}", "--interface=asgi"),
        "socket_served:asgi",
    ),
    "daphne": ("daphne", "-b", "127.0.0.1", "-p", "{port}", "socket_served:asgi"),
}
# Opens a socket; tells what the app said, and what the server chose, or how the socket closed.
OPEN = """([target, protocols]) => new Promise(done => {
    const socket = new WebSocket(target, protocols);
    socket.onmessage = event => {
        done({seen: JSON.parse(event.data), protocol: socket.protocol});
        socket.close();
    };
    socket.onclose = event => done({closed: event.code});
})"""
TICKET = """async () => {
    const path = '/one-time-token/generate?channel=websocket';
    return (await (await fetch(path)).json()).token;
}"""


@pytest.fixture(scope="module", params=COMMANDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Server]:
    name: str = request.param
    log: Path = tmp_path_factory.mktemp(name) / "log"
    with running(name, COMMANDS[name], log) as started:
        yield started


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
@pytest.mark.parametrize("way", ["url", "protocols"])
def test_socket_opens_signed_in_once(visit: Any, server: Server, way: str) -> None:
    visit.context.add_cookies([{"name": "sid", "value": ALICE, "url": server.origin}])
    page = visit.page
    page.goto(server.origin)
    token = page.evaluate(TICKET)
    # The ticket alone signs in: without the cookie nothing else could.
    visit.context.clear_cookies()
    target = f"ws://127.0.0.1:{server.port}/socket?a=1"
    how = [f"{target}&ott={token}", []] if way == "url" else [target, ["ott", f"ott.{token}"]]
    opened = page.evaluate(OPEN, how)
    assert opened["protocol"] == ("ott" if way == "protocols" else "")
    seen = opened["seen"]
    assert (seen["user"], seen["cookie"], seen["redeemed"]) == ("alice", "alice", "websocket")
    assert (seen["query"], seen["subprotocols"]) == ("a=1", [])
    assert page.evaluate(OPEN, how) == {"closed": 1006}
    # Nothing of the sign-in is left in the browser.
    assert visit.context.cookies() == []
    assert page.evaluate(OPEN, [target, ["chat"]])["seen"]["user"] is None
    assert token not in server.log.read_text()
    denials = [text for text in visit.complaints if "403" in text]
    assert denials == visit.complaints
    assert len(denials) == 1


def test_page_of_another_site_opens_none(visit: Any, server: Server) -> None:
    visit.context.add_cookies([{"name": "sid", "value": ALICE, "url": server.origin}])
    page = visit.page
    page.goto(server.origin)
    token = page.evaluate(TICKET)
    page.goto(f"http://localhost:{server.port}")
    target = f"ws://127.0.0.1:{server.port}/?ott={token}"
    assert page.evaluate(OPEN, [target, []]) == {"closed": 1006}
    # It was refused before the token was taken.
    page.goto(server.origin)
    assert page.evaluate(OPEN, [target, []])["seen"]["redeemed"] == "websocket"
