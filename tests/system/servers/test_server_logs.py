"""No server's log shows a live token; each row of docs/logs.md, tried on the real server."""

from __future__ import annotations

import importlib.util
import json
import secrets
import sys
import time
from pathlib import Path

import pytest
from log_rows import ERROR, LINE, PAGE, REFERER, SERVERS, UWSGI_FORMAT, with_table
from log_rows import Server as Row
from logging_served import UNHIDE
from running import Server, running
from services import absent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn and process groups")

ALICE = {"Cookie": "sid=alice-cookie-8f1c2d7a"}
PERSON = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
pytestmark = pytest.mark.slow

FRAME = {**PERSON, "Sec-Fetch-Dest": "iframe"}
# Requests with a live token that stays alive, but for the second; and where servers may log it.
LINKS = {
    "HEAD": ("HEAD", "/page?a=1&ott={}", PERSON),
    "redeemed": ("GET", "/page?ott={}", PERSON),
    "frame": ("GET", "/page?ott={}&b=2", FRAME),
    "confirm link": ("HEAD", "/page?ott=confirm.{}", PERSON),
    "escaped": ("HEAD", "/page?%6ftt={}", PERSON),
    "semicolon": ("HEAD", "/page?a=1;ott={}", PERSON),
    "not found": ("HEAD", "/no/page/?%3f&ott={}", PERSON),
}
# Of releases of their own, or of a group of dependencies that the tests do without.
OPTIONAL = {
    "httptools": "the tests' uvicorn parses without httptools",
    "gunicorn.workers.gasgi": "this gunicorn has no ASGI worker",
    "gunicorn.workers.ggevent": "this gunicorn has no gevent worker",
    "uvicorn.workers": "this uvicorn has no worker for gunicorn",
}


def require(module: str) -> None:
    try:
        if importlib.util.find_spec(module) is not None:
            return
    except ModuleNotFoundError:
        pass
    if module in OPTIONAL:
        pytest.skip(OPTIONAL[module])
    absent(f'{module} is not installed: pip install -e ".[test]"')


def generate(server: Server) -> str:
    token: str = json.loads(server.ask("GET", "/one-time-token/generate", ALICE).body)["token"]
    return token


def ask_all(server: Server, row: Row) -> dict[str, str]:
    """Send all requests, wait until they are logged, and return the tokens by where they were."""
    tokens = {name: generate(server) for name in (*LINKS, ERROR, REFERER)}
    for name, (method, target, headers) in LINKS.items():
        server.ask(method, target.format(tokens[name]), headers)
    # A token in the Referer alone: a page in a frame, which redeems nothing, loads its style sheet.
    server.ask("GET", "/style.css", {"Referer": f"{server.origin}/page?ott={tokens[REFERER]}"})
    if row.name != "uWSGI":  # which sends no response then
        assert server.ask("HEAD", f"/crash?ott={tokens[ERROR]}").status == 500
    end = f"/end-{secrets.token_hex(8)}"
    server.ask("GET", end)
    if row.quiet:
        time.sleep(0.1)
    else:
        server.logged(end)
    return tokens


def shown(server: Server, tokens: dict[str, str]) -> set[str]:
    """Where the log has one of the tokens."""
    log = server.log.read_text("utf-8", "replace")
    places = dict.fromkeys(LINKS, LINE)
    return {places.get(name, name) for name, token in tokens.items() if token in log}


@pytest.fixture(params=SERVERS, ids=lambda row: row.name.replace("`", ""))
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    require(found.needs)
    return found


class TestServerLog:
    def test_token_is_shown_where_the_table_says(self, row: Row, tmp_path: Path) -> None:
        command = (*row.command, *row.cured)
        with running(
            row.name, command, tmp_path / "log", leaks="the table's third column"
        ) as server:
            # As the package is, with the setting of the table.
            assert shown(server, ask_all(server, row)) == set()
            if row.quiet:
                assert "/page" not in server.log.read_text()
            elif row.name != "uvicorn, `--log-level trace`":
                # Not silence, but the clean request.
                assert "/page" in server.log.read_text()
            if row.cured:
                return
            # Without the package's help: that is what the table's second column says.
            server.ask("GET", UNHIDE)
            found = shown(server, ask_all(server, row))
        # What a server logs of a request, it logs of one that fails as well.
        expected = set(row.shows) | ({ERROR} if LINE in row.shows else set())
        assert found == expected

    def test_uwsgi_shows_it_without_the_setting(self, tmp_path: Path) -> None:
        row = next(each for each in SERVERS if each.name == "uWSGI")
        require(row.needs)
        with running(row.name, row.command, tmp_path / "log", leaks="uWSGI's default") as server:
            assert LINE in shown(server, ask_all(server, row))
        quiet = (*row.command, "--disable-logging")
        with running(row.name, quiet, tmp_path / "quiet") as server:
            tokens = {"HEAD": generate(server)}
            server.ask("HEAD", f"/page?ott={tokens['HEAD']}")
            time.sleep(0.1)
            assert shown(server, tokens) == set()

    def test_docs_have_the_table(self) -> None:
        text = PAGE.read_text()
        assert with_table(text) == text, "run: python tests/system/servers/log_rows.py"
        assert UWSGI_FORMAT in text
