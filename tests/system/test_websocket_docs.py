"""The page of WebSockets: its app runs, and its table is what happens."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from documents import ROOT, ask, prose, run
from harness import run as run_now
from sockets import converse, open_with, socket_scope

from ott_middleware.errors import (
    InvalidOrigin,
    InvalidToken,
    MissingOrNullOrigin,
    NoAccount,
    SessionExpired,
    SessionNotFound,
    SessionSwitch,
    TooManyRequests,
    Unavailable,
)
from ott_middleware.flow.websocket import deny

PAGE = ROOT / "docs" / "websockets.md"


@pytest.fixture(scope="module")
def app() -> Any:
    return run(PAGE)["app"]


@pytest.mark.parametrize("in_url", [True, False])
def test_socket_of_the_page_greets_ada(app: Any, in_url: bool) -> None:
    path = "/one-time-token/generate?channel=websocket"
    token = json.loads(ask(app, "GET", path, {"cookie": "sid=6f1c09e2"}).body)["token"]
    opened = open_with(app, token, in_url=in_url, path="/chat")
    assert opened.sent[1] == {"type": "websocket.send", "text": "Hello ada"}
    assert open_with(app, token, in_url=in_url, path="/chat").status == 403


def test_socket_without_a_token_is_closed_by_the_app(app: Any) -> None:
    [closed] = run_now(converse(app, socket_scope("/chat"))).sent
    assert closed["type"] == "websocket.close"


def test_table_has_all_statuses() -> None:
    rows = re.findall(r"^\| .* \| (\d{3}) \| (.*?) \|", prose(PAGE), flags=re.M)
    listed = {code: int(status) for status, codes in rows for code in re.findall("`(.*?)`", codes)}
    errors = (InvalidOrigin, MissingOrNullOrigin, InvalidToken, SessionNotFound, SessionExpired)
    found = [
        *(error() for error in (*errors, NoAccount, SessionSwitch)),
        TooManyRequests(1, why="too many"),
    ]
    assert listed == {error.code: deny(error).response.status for error in found}
    assert 503 in {int(status) for status, _ in rows}
    assert Unavailable.status == 503
