"""The middleware under the servers that people run it under."""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from running import Answer, Server, running

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn and process groups")

ALICE, BOB = "alice-cookie-8f1c2d7a", "bob-cookie-55aa90c3"
JSON = {"Content-Type": "application/json"}
PERSON = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}

UVICORN = ("uvicorn", "--port", "{port}")
HYPERCORN = ("hypercorn", "-b", "127.0.0.1:{port}", "--access-logfile", "-")
GRANIAN = ("granian", "--host", "127.0.0.1", "--port", "{port}", "--no-ws", "--access-log")
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--access-logfile", "-")
# Access logs that say all that a server knows of a URL, where that is safe. Granian's usual one
# under WSGI names no query; waitress keeps none at all.
COMMANDS = {
    "uvicorn": (*UVICORN, "served:asgi"),
    "hypercorn": (
        *HYPERCORN,
        "--access-logformat=%(r)s %(R)s %(Uq)s %(q)s %(f)s %({referer}i)s",
        "served:asgi",
    ),
    "granian-asgi": (
        *GRANIAN,
        "--interface=asgi",
        "--access-log-fmt=%(path)s?%(query_string)s %(header{referer})s",
        "served:asgi",
    ),
    "granian-wsgi": (*GRANIAN, "--interface=wsgi", "--blocking-threads=4", "served:wsgi"),
    "gunicorn": (
        *GUNICORN,
        "--threads=4",
        "--access-logformat=%(r)s %(q)s %(f)s %({raw_uri}e)s",
        "served:wsgi",
    ),
    "waitress": ("waitress", "--listen", "127.0.0.1:{port}", "served:wsgi"),
}


@pytest.fixture(scope="module", params=COMMANDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Server]:
    name: str = request.param
    log: Path = tmp_path_factory.mktemp(name) / "log"
    with running(name, COMMANDS[name], log) as started:
        yield started


def generate(server: Server, cookie: str = ALICE) -> str:
    answer = server.ask("GET", "/one-time-token/generate", {"Cookie": f"sid={cookie}"})
    assert answer.status == 200
    token: str = json.loads(answer.body)["token"]
    return token


def verify(server: Server, body: Any) -> Answer:
    return server.ask("POST", "/one-time-token/verify", JSON, body)


def payload(token: str) -> bytes:
    return json.dumps({"token": token}).encode()


def error_code(answer: Answer) -> str:
    code: str = json.loads(answer.body)["code"]
    return code


def test_token_verifies_once(server: Server) -> None:
    body = payload(generate(server))
    answer = verify(server, body)
    assert answer.status == 200
    assert json.loads(answer.body)["user"] == {"id": "alice"}
    assert answer.cookies == {"sid": ALICE}
    assert answer.header("Cache-Control") == "no-store"
    again = verify(server, body)
    assert (again.status, error_code(again), again.cookies) == (400, "INVALID_TOKEN", {})


def test_generate_without_session_is_refused(server: Server) -> None:
    answer = server.ask("GET", "/one-time-token/generate", {"Cookie": "sid=dead"})
    assert (answer.status, error_code(answer)) == (401, "UNAUTHORIZED")


def test_token_has_one_winner_among_many(server: Server) -> None:
    body = payload(generate(server))
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: verify(server, body), range(24)))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 23
    assert [answer.cookies for answer in answers if answer.cookies] == [{"sid": ALICE}]


def test_link_signs_in_and_leads_to_the_clean_url(server: Server) -> None:
    link = f"/page?a=1&a=2&b=%E9&ott={generate(server)}&c=+&d"
    answer = server.ask("GET", link, PERSON)
    assert answer.status == 303
    assert answer.header("Location") == "?a=1&a=2&b=%E9&c=+&d"
    assert answer.cookies == {"sid": ALICE}
    dead = server.ask("GET", link, PERSON)
    assert (dead.status, dead.cookies) == (400, {})
    assert b"This link no longer works" in dead.body
    assert b'href="?a=1&amp;a=2&amp;b=%E9&amp;c=+&amp;d"' in dead.body
    signed_in = server.ask("GET", link, {**PERSON, "Cookie": f"sid={ALICE}"})
    assert (signed_in.status, signed_in.header("Location")) == (303, "?a=1&a=2&b=%E9&c=+&d")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_call_with_token_reaches_the_app_signed_in(server: Server, method: str) -> None:
    target = f"/call?x=1&%6Ftt={generate(server)}&y"
    body = b"some=form" if method == "POST" else None
    answer = server.ask(method, target, {"Accept": "application/json"}, body)
    assert answer.status == 200
    seen = json.loads(answer.body)
    assert (seen["user"], seen["query"]) == ("alice", "x=1&y")
    assert seen["body"] == ("some=form" if body else "")
    assert answer.cookies == {"sid": ALICE}
    assert answer.header("Cache-Control") == "private, no-store"
    again = server.ask(method, target, {"Accept": "application/json"}, body)
    assert (again.status, error_code(again), again.cookies) == (400, "INVALID_TOKEN", {})


def test_head_leaves_the_token_alone(server: Server) -> None:
    link = f"/page?ott={generate(server)}"
    head = server.ask("HEAD", link, PERSON)
    assert (head.status, head.body, head.cookies) == (200, b"", {})
    assert server.ask("HEAD", "/one-time-token/verify").status == 405
    assert server.ask("GET", link, PERSON).status == 303


def padded(token: str, length: int) -> bytes:
    body = payload(token)
    return body + b" " * (length - len(body))


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_body_is_read_up_to_16_kib(server: Server, chunked: bool) -> None:
    def framed(body: bytes) -> Any:
        return [body[at : at + 5000] for at in range(0, len(body), 5000)] if chunked else body

    token = generate(server)
    refused = verify(server, framed(padded(token, 16 * 1024 + 1)))
    assert (refused.status, error_code(refused)) == (413, "PAYLOAD_TOO_LARGE")
    assert verify(server, framed(padded(token, 16 * 1024))).status == 200


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("//evil.example/x", "./x"),
        ("//evil.example", "./evil.example"),
        ("///evil.example", "./evil.example"),
        ("/\\evil.example", "./%5Cevil.example"),
        ("/https:evil.example", "./https:evil.example"),
        ("http://evil.example/x", "./x"),
        ("http://evil.example//evil.example", "./evil.example"),
    ],
)
def test_request_target_never_leads_to_another_host(
    server: Server, target: str, location: str
) -> None:
    token = generate(server)
    lines = f"GET {target}?q=1&ott={token} HTTP/1.1", f"Host: 127.0.0.1:{server.port}"
    first = server.ask_raw(*lines, "Accept: text/html")
    assert first.status == 200
    found = re.search(rb'content="0;url=([^"]*)"', first.body)
    assert found is not None
    assert found[1].decode().startswith(f"{location}?q=1&amp;ott={token}&amp;ott_seen=")
    answer = server.ask_raw(*lines, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
    assert (answer.status, answer.header("Location")) == (303, "?q=1")
    # And how a browser would read it.
    assert urljoin(server.origin, location).startswith(server.origin + "/")


@pytest.mark.parametrize("redeems", [False, True], ids=["plain", "redeeming"])
def test_streaming_response_is_not_held_back(server: Server, redeems: bool) -> None:
    target = f"/stream?ott={generate(server)}" if redeems else "/stream"
    connection = server.connect()
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        assert response.status == 200
        assert response.readline() == b"first\n"
        assert server.ask("GET", "/release").status == 200
        assert response.read() == b"second\n"
    finally:
        connection.close()


def test_referer_shows_no_token(server: Server) -> None:
    referer = f"{server.origin}/before?x=1&ott={generate(server)}"
    headers = {"Referer": referer, "Accept": "application/json"}
    answer = server.ask("GET", f"/call?ott={generate(server)}", headers)
    assert answer.status == 200
    assert json.loads(answer.body)["referer"] == f"{server.origin}/before?x=1"


def test_logs_hold_no_token(server: Server) -> None:
    tokens = [generate(server) for _ in range(5)]
    link, call, head, posted, verified = tokens
    mark = f"mark-{secrets.token_hex(8)}"
    referer = {"Referer": f"{server.origin}/page?ott={call}"}
    server.ask("GET", f"/link-{mark}?ott={link}", PERSON)
    server.ask("GET", f"/dead-{mark}?ott={link}", PERSON)
    server.ask("GET", f"/call-{mark}?ott={call}", referer)
    server.ask("HEAD", f"/head-{mark}?ott={head}", PERSON)
    server.ask("POST", f"/posted-{mark}?%6ftt={posted}", None, b"x")
    server.ask("GET", f"/last-{mark}?ott={secrets.token_urlsafe(24)}&end={mark}")
    verify(server, payload(verified))
    if server.name == "waitress":
        log = server.log.read_text()
        assert mark not in log
    else:
        log = server.logged(f"/last-{mark}")
        # Not silence, but the clean request.
        assert f"/link-{mark}" in log
        assert f"/head-{mark}" in log
    for token in tokens:
        assert token not in log
    assert "ott=" not in log
    assert ALICE not in log


def test_server_that_logs_the_scope_of_its_bridge_shows_no_token(tmp_path: Path) -> None:
    # uvicorn serves WSGI apps by a2wsgi, where it is installed.
    command = (*UVICORN, "--interface=wsgi", "served:wsgi")
    with running("uvicorn serving WSGI", command, tmp_path / "log") as server:
        token = generate(server)
        assert server.ask("HEAD", f"/page?a=1&ott={token}").status == 200
        assert token not in server.logged("HEAD /page?a=1 ")
        assert verify(server, payload(token)).status == 200


@pytest.mark.parametrize("name", COMMANDS)
def test_servers_log_no_token_when_the_app_fails(name: str, tmp_path: Path) -> None:
    with running(name, COMMANDS[name], tmp_path / "log") as server:
        token = generate(server)
        assert server.ask("HEAD", f"/crash?ott={token}").status == 500
        log = server.logged("the app is broken")
        assert token not in log


def test_workers_with_a_memory_each_are_warned_about(tmp_path: Path) -> None:
    command = (*GUNICORN, "--workers=2", "served:wsgi")
    with running("gunicorn", command, tmp_path / "log") as server, ThreadPoolExecutor(4) as threads:
        # Until both workers have been asked; which one answers is the kernel's choice.
        for _ in range(100):
            list(threads.map(lambda _: generate(server), range(8)))
            if "MemoryBackend" in server.log.read_text():
                break
        log = server.logged("MemoryBackend: a second worker process runs this app.")
    assert "OTTMiddleware(app, backend=...)" in log
    assert log.count("MemoryBackend: ") == 1


def test_worker_alone_is_not_warned_about(tmp_path: Path) -> None:
    with running("gunicorn", (*GUNICORN, "served:wsgi"), tmp_path / "log") as server:
        assert verify(server, payload(generate(server))).status == 200
        assert "MemoryBackend" not in server.logged("POST /one-time-token/verify")
