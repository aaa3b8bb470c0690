"""Where a redirect leads: relative references, as parsers and clients of others resolve them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx
import pytest
import requests
from examples_of_hypothesis import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from node_url import Parse, node_parser
from services import absent

# The helper that starts servers.
sys.path.insert(0, str(Path(__file__).parent / "servers"))

from running import Server, running

from ott_middleware import CookieSession, OTTMiddleware, Session
from ott_middleware.http.messages import Request
from ott_middleware.http.urls import browser_path


@pytest.fixture(scope="module")
def parse() -> Iterator[Parse]:
    with node_parser() as parser:
        yield parser


LURES = [
    *("/", "//", "\\", "%2f", "%5C", ".", "..", "%2e", "%2E%2e", ":", "@", ";", "?", "#", "%", "&"),
    *(
        "\t",
        "\r\n",
        "\0",
        " ",
        "%09",
        "%0d%0a",
        "\xe9",
        "\u20ac",
        "'",
        '"',
        "<",
        "|",
        "^",
        "`",
        "{",
    ),
    *("evil.example", "https:", "http://", "javascript:", "ott=T", "a", "b=1"),
]
TEXT = st.lists(st.sampled_from(LURES), max_size=6).map("".join)


class TestWhatwgParser:
    @settings(max_examples=examples(300), deadline=None)
    @given(
        prefix=st.sampled_from(["", "/app", "/stage/v1", "/a%2Fb"]),
        path=TEXT,
        query=TEXT,
        new=st.booleans(),
    )
    @example(prefix="", path="/evil.example", query="", new=True)
    @example(prefix="", path="\\evil.example", query="", new=False)
    @example(prefix="/app", path="a/..", query="", new=True)
    @example(prefix="/app", path="a//", query="x=1", new=False)
    @example(prefix="/app", path="100%", query="", new=True)
    def test_same_url_below_any_prefix(
        self, parse: Parse, prefix: str, path: str, query: str, new: bool
    ) -> None:
        base = f"http://app.example{prefix}/{path}?ott=T&{query}"
        parsed = parse(base)
        assert parsed is not None
        origin, pathname, search = parsed["origin"], parsed["pathname"], parsed["search"]
        if not pathname.startswith(prefix) or not search.startswith("?ott=T"):
            return  # dots led out of the prefix, or the link became part of a path or fragment
        # The proxy drops the prefix, and the server decodes the path.
        spelled = pathname.removeprefix(prefix) or "/"
        target = browser_path(spelled, b"", _decode(spelled))
        rest = "&".join(each for each in search[1:].split("&") if each != "ott=T")
        headers = {"sec-fetch-mode": "navigate"} if new else {"accept": "text/html"}
        location = Request("GET", "http", "/", target, rest, headers).location
        assert not location.endswith("?") or rest.endswith("?")
        resolved = parse(location, base)
        assert resolved is not None
        assert resolved["origin"] == origin == "http://app.example"
        assert _decode(resolved["pathname"]) == _decode(pathname)
        assert resolved["search"] == (f"?{rest}" if rest else "")


def _decode(path: str) -> bytes:
    return unquote_to_bytes(path.encode("ascii"))


# Clients that follow redirects, below a prefix that a proxy in front of the server drops.

PREFIX = "/stage/v1"
NONCE = "N" * 32
NEW = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
OLD = {"Accept": "text/html", "Cookie": f"ott_seen={NONCE}"}
PATHS = ["/", "/dir/", "/dir/page", "/a%2Fb", "/x:y", "/caf%C3%A9", "/100%25", "/a;b=1"]


def with_urllib(url: str, headers: dict[str, str]) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        return str(answer.url)


def with_requests(url: str, headers: dict[str, str]) -> str:
    return str(requests.get(url, headers=headers, timeout=20).url)


def with_httpx(url: str, headers: dict[str, str]) -> str:
    return str(httpx.get(url, headers=headers, follow_redirects=True).url)


def with_curl(url: str, headers: dict[str, str]) -> str:
    curl = shutil.which("curl")
    if curl is None:
        absent("needs curl")
    lines = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    write = ("-o", "/dev/null", "-w", "%{url_effective}")
    command = [curl, "-sSL", "--path-as-is", *write, *lines, url]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Below:
    """A proxy that drops the prefix, and tells nothing of it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith(PREFIX)
            scope["path"] = scope["path"].removeprefix(PREFIX)
            scope["raw_path"] = scope["raw_path"].removeprefix(PREFIX.encode())
        await self.app(scope, receive, send)


async def minting(scope: Any, receive: Any, send: Any) -> None:
    made = Session(id="session-of-ada", token="ada-cookie", user_id="ada")
    body = (await scope["ott"].agenerate(made)).encode() if scope["path"] == "/mint" else b"page"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


below = Below(OTTMiddleware(minting, session=CookieSession("sid", renews_key=True)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("location") / "log"
    here = Path(__file__)
    command = ("uvicorn", "--port", "{port}", "--app-dir", str(here.parent), "test_location:below")
    paths = os.pathsep.join(map(str, (here.parents[1], here.parent / "servers", *import_paths())))
    with running("uvicorn", command, log, variables={"PYTHONPATH": paths}) as started:
        yield started


def import_paths() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


class TestClients:
    @pytest.mark.parametrize("client", [with_urllib, with_requests, with_httpx, with_curl])
    @pytest.mark.parametrize("new", [True, False], ids=["metadata", "none"])
    def test_same_url_below_a_prefix(
        self, server: Server, client: Callable[[str, dict[str, str]], str], new: bool
    ) -> None:
        for path in PATHS:
            for query in ("", "a=1", "a=%2F%3F&b=//evil.example"):
                if client is with_curl and not new and path.endswith("/") and query:
                    continue  # curl before 8 resolves "./?a=1" against "/dir/" to "/dir?a=1"
                token = server.ask("GET", f"{PREFIX}/mint").body.decode()
                seen = "" if new else f"&ott_seen={NONCE}"
                clean = f"{server.origin}{PREFIX}{path}"
                url = f"{clean}?ott={token}{seen}" + (f"&{query}" if query else "")
                assert client(url, NEW if new else OLD) == clean + (f"?{query}" if query else "")
