"""Both fronts answer one list of requests alike: status, headers and body. Never with a 500."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product
from typing import Any

import pytest
from examples_of_hypothesis import examples
from harness import (
    FETCH,
    NAVIGATION,
    NOW,
    ORIGIN,
    Answer,
    Clock,
    Members,
    World,
    echo,
    moment,
    person,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ott_middleware import Backend
from ott_middleware.http import Response

ALICE = ("cookie", "sid=alice-cookie")
BOB = ("cookie", "sid=bob-cookie")
JSON = ("content-type", "application/json")
SPA = ("origin", "https://spa.example")
EVIL = ("origin", "https://evil.example")
NAV = tuple(NAVIGATION.items())
CALL = tuple(FETCH.items())

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Asking:
    """One request; `{name}` in its target or body stands for a token."""

    method: str
    target: str = "/"
    headers: Pairs = ()
    body: bytes | Sequence[bytes] = b""
    scheme: str = "http"
    mount: str = ""
    host: str | None = "app.example"


@pytest.fixture(scope="module", autouse=True)
def _same_nonces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ott_middleware.flow.nonces.new_nonce", lambda: "nonce-of-this-module")
        yield


class DictBackend(Backend):
    """A dictionary: made anew for each of the many requests, and quicker at that than a cache."""

    blocks = False

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.values: dict[str, tuple[bytes, float]] = {}

    def put(self, key: str, value: bytes, *, expires_at: float, **how: Any) -> None:
        self.values[key] = value, expires_at

    def take(self, key: str) -> bytes | None:
        value, expires_at = self.values.pop(key, (None, 0.0))
        return value if expires_at > self.clock() else None

    async def aput(self, key: str, value: bytes, **how: Any) -> None:
        self.put(key, value, **how)

    async def atake(self, key: str) -> bytes | None:
        return self.take(key)


TOKENS = ("live", "used", "expired", "bound", "spa", "gone", "ended", "bobs")
ENDED = person("ended", expires_at=moment(NOW + 90))


class Prepared:
    """A site for any number of requests, and tokens for each; the same in both worlds."""

    def __init__(self, interface: str, options: dict[str, Any]) -> None:
        world = World(interface)
        self.clock = world.clock
        self.names = iter([""])
        self.site = world.serve(
            echo,
            session=Members(person("alice"), person("bob"), ENDED),
            backend=DictBackend(world.clock),
            generate_token=lambda session, context: next(self.names),
            trusted_origins=["https://spa.example"],
            **options,
        )

    def begin(self, number: int) -> None:
        """Forget an earlier request, whose tokens had another number."""
        self.names = (f"token-{number}-{place}" for place in count())
        self.site.seen.clear()
        self.clock.now = NOW + 100

    def token(self, kind: str) -> str:
        site = self.site
        if kind in ("expired", "ended"):
            self.clock.now = NOW
            token = site.token(expires_in=1) if kind == "expired" else site.token(ENDED)
            self.clock.now = NOW + 100
            return token
        if kind in ("bound", "spa"):
            return site.token(audience=f"https://{'b' if kind == 'bound' else 'spa'}.example")
        if kind in ("gone", "bobs"):
            return site.token(person(kind.removesuffix("s")))
        token = site.token()
        if kind == "used":
            assert site.verify(token).status == 200
            site.seen.clear()
        return token

    def fill(self, text: bytes) -> bytes:
        for kind in TOKENS:
            place = b"{%s}" % kind.encode()
            if place in text:
                text = text.replace(place, self.token(kind).encode())
        return text


# By interface and options: to wrap an app takes longer than to answer most requests.
_prepared: dict[tuple[str, str], Prepared] = {}
_numbers = count()


def answered(
    interface: str, asking: Asking, number: int, options: dict[str, Any]
) -> tuple[Answer, Answer, list[Any]]:
    """The answer, what a second request of the same kind gets, and what the app saw."""
    key = interface, repr(options)
    prepared = _prepared.get(key) or _prepared.setdefault(key, Prepared(interface, options))
    prepared.begin(number)
    site = prepared.site
    target = prepared.fill(asking.target.encode("latin-1"))
    body = (
        prepared.fill(asking.body)
        if isinstance(asking.body, bytes)
        else [prepared.fill(chunk) for chunk in asking.body]
    )
    how = {"scheme": asking.scheme, "mount": asking.mount, "host": asking.host}
    first, second = (
        site.send(asking.method, target, asking.headers, body, **how) for _ in range(2)
    )
    seen = [
        (seen.method, seen.mount, seen.path, seen.query, sorted(seen.headers.items()))
        for seen in site.seen
    ]
    return first, second, seen


# The second token of the account-switch page is random; the rest of its cookie is not.
SECOND_TOKEN = re.compile(r"(?<==nonce-of-this-module\.)[\w-]{32}")


def compared(answer: Answer) -> tuple[Any, ...]:
    headers = [(name, SECOND_TOKEN.sub("SECOND", value)) for name, value in answer.headers]
    return answer.status, headers, answer.body


def assert_alike(asking: Asking, **options: Any) -> None:
    number = next(_numbers)
    ours = answered("asgi", asking, number, options)
    theirs = answered("wsgi", asking, number, options)
    for one, other in zip(ours[:2], theirs[:2], strict=True):
        assert compared(one) == compared(other)
        assert one.status != 500
    assert ours[2] == theirs[2]


def verify(body: bytes | Sequence[bytes], *headers: tuple[str, str], **how: Any) -> Asking:
    return Asking("POST", "/one-time-token/verify", (JSON, *headers), body, **how)


def generate(*headers: tuple[str, str], **how: Any) -> Asking:
    return Asking("GET", "/one-time-token/generate", headers, **how)


def link(headers: Pairs, target: str = "/p?a=1&ott={live}&b", **how: Any) -> Asking:
    return Asking("GET", target, headers, **how)


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "get"]
PATHS = [
    "/",
    "/p?a=1",
    "/p?a=1&ott={live}",
    "/p?ott=dead",
    "/one-time-token/generate",
    "/one-time-token/verify",
    "/one-time-token/",
]
SITES = [
    (),
    (("sec-fetch-site", "none"),),
    (("sec-fetch-site", "same-site"),),
    (("sec-fetch-site", "cross-site"),),
    (SPA,),
    (EVIL,),
    (("origin", ORIGIN),),
    (("origin", "null"),),
    (("referer", f"{ORIGIN}/x?ott=T&a"),),
    (("referer", "https://evil.example/"),),
]
BODIES: list[bytes | Sequence[bytes]] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"7",
    b"true",
    b"{}",
    b'{"token": null}',
    b'{"token": 1}',
    b'{"token": []}',
    b'{"token": {}}',
    b'{"token": ""}',
    b'{"token": "a b"}',
    b'{"token": "\\u0000\\r\\n\\ud800"}',
    b'{"token": "\xc3\xa9"}',
    b'{"token": "\xff"}',
    b'{"token": "%s"}' % (b"x" * 600),
    b'{"token": "{live}", "audience": "https://b.example"}',
    b'{"token": "{bound}", "audience": "https://b.example"}',
    b'{"token": "{bound}", "audience": "nonsense"}',
    b'{"token": "{live}", "audience": 1}',
    b'{"token": NaN}',
    b"\xef\xbb\xbf" + b'{"token": "{live}"}',
    b"[" * 9000,
    b"x" * 20000,
    [b'{"token": ', b'"{live}"}'],
    [b"x" * 9000, b"x" * 9000],
    [b""],
    *(b'{"token": "{%s}"}' % name.encode() for name in TOKENS),
]
TYPES = [
    "application/json",
    "application/json; charset=utf-8",
    "APPLICATION/JSON",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "",
    ";",
    "\xe9",
    'application/json; a="',
]
HOSTILE = [
    "\r\nX-Injected: 1",
    "%0d%0aX-Injected:%201",
    "\0",
    "%00",
    "\xff\xfe",
    "%ff",
    "é",
    "\\",
    "%5c",
    "\t",
    "%",
    "%zz",
    "'\"<script>",
    "..%2f..",
    "\x7f",
    "+",
    ";",
    "#x",
]

LIST: list[Asking] = [
    *(Asking(method, path) for method, path in product(METHODS, PATHS)),
    *(generate(ALICE, *site) for site in SITES),
    *(generate(*site) for site in SITES),
    *(verify(b'{"token": "{live}"}', *site) for site in SITES),
    *(link((*site, ("accept", "*/*"))) for site in SITES),
    *(link((*site, ("accept", "text/html"))) for site in SITES),
    *(verify(body) for body in BODIES),
    *(
        Asking("POST", "/one-time-token/verify", (("content-type", t),), b'{"token": "{live}"}')
        for t in TYPES
    ),
    *(
        link((*headers, *cookie), f"/p?x&ott={{{name}}}&y=%20")
        for name, headers, cookie in product(TOKENS, (NAV, CALL), ((), (ALICE,), (BOB,)))
    ),
    *(link(NAV, f"/p{text}?ott={{live}}") for text in HOSTILE),
    *(link(NAV, f"/p?q={text}&ott={{live}}") for text in HOSTILE),
    *(link(NAV, f"/p?ott={text}") for text in HOSTILE),
    *(link(CALL, f"/p?ott={text}&z") for text in HOSTILE),
    *(link((*NAV, ("cookie", f"sid={text}; a={text}"))) for text in HOSTILE),
    *(link((*CALL, ("cookie", f"sid={text}; a={text}"))) for text in HOSTILE),
    *(generate(("cookie", f"sid={text}")) for text in HOSTILE),
    *(Asking("GET", f"/{text}?a={text}", (("cookie", text), *NAV)) for text in HOSTILE),
    *(link((("accept", text),), "/p?ott=dead") for text in HOSTILE),
    *(link((*CALL, ("referer", f"{ORIGIN}/{text}?ott=T"))) for text in HOSTILE),
    *(generate(ALICE, ("origin", text)) for text in HOSTILE),
    *(generate(ALICE, ("host", text)) for text in HOSTILE),
    *(
        Asking("OPTIONS", path, (SPA, ("access-control-request-headers", "content-type")))
        for path in PATHS
    ),
    *(link(NAV, mount="/m"), link(CALL, mount="/m"), generate(ALICE, mount="/m")),
    *(link(NAV, scheme="https"), verify(b'{"token": "{live}"}', scheme="https")),
    *(link(NAV, host=None), generate(ALICE, host=None), link(CALL, "/p?ott={bound}", host=None)),
    *(
        link((*NAV, (name, "prefetch")), path)
        for name, path in product(("sec-purpose", "purpose", "x-moz"), PATHS[:5])
    ),
    *(
        link((*NAV, ("sec-fetch-dest", dest)))
        for dest in ("iframe", "frame", "embed", "object", "image", "empty", "")
    ),
    link(NAV, "/p?ott={live}&ott={live}"),
    link(NAV, "/p?ott={live}&ott={used}"),
    link(NAV, "/p?%6ftt={live}&o%74t={live}&ot=1"),
    link(CALL, "//evil.example/x?ott={live}"),
    link(NAV, "//evil.example/x?ott={live}"),
    link(NAV, "/\\evil.example?ott={live}"),
    link(NAV, "/%2f/evil?ott={live}"),
    link(NAV, "http://evil.example/x?ott={live}"),
    link(NAV, "/p?ott={spa}"),
    link((*CALL, SPA), "/p?ott={spa}"),
    link((*CALL, SPA), "/p?ott={live}"),
    link((*CALL, ("range", "bytes=0-1"), ("if-none-match", "x"), ALICE, ("cookie", "b=2"))),
    Asking("POST", "/p?ott={live}", (*CALL, ("content-type", "text/plain")), b"body"),
    Asking("POST", "/p?ott={live}", CALL, [b"in ", b"chunks"]),
]


def test_list_is_long() -> None:
    assert len(LIST) > 400


@pytest.mark.parametrize("asking", LIST, ids=[f"{n:03d}" for n in range(len(LIST))])
def test_interfaces_agree(asking: Asking) -> None:
    assert_alike(asking)


def respond(request: Any, error: Any) -> Response:
    return Response(418, (("X-Where", request.location),), request.method.encode())


OPTIONS: list[dict[str, Any]] = [
    {"on_invalid": "continue"},
    {"on_invalid": respond},
    {"on_switch": "replace"},
    {"on_switch": "keep"},
    {"disable_set_session_cookie": True},
    {"disable_client_request": True},
    {"set_ott_header_on_new_session": True},
    {"query_param": None},
    {"public_origin": "https://public.example"},
    {"store_token": "hashed"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options)))
def test_interfaces_agree_under_every_option(options: dict[str, Any]) -> None:
    for asking in LIST[::5]:
        assert_alike(asking, **options)


def test_comparison_sees_a_difference() -> None:
    """What is compared must not be empty of what matters."""
    asking = link(CALL)
    first, _, seen = answered("asgi", asking, next(_numbers), {})
    assert json.loads(first.body)["redeemed"] == "handoff"
    assert first.cookies == {"sid": "alice-cookie"}
    assert [(request[2], request[3]) for request in seen] == [("/p", "a=1&b")]


BYTES = st.text(st.characters(max_codepoint=255), max_size=12)


@settings(max_examples=examples(100), deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS"]),
    path=BYTES.map(lambda text: "/" + text.replace("?", "")),
    query=st.lists(st.sampled_from(["ott={live}", "ott=dead", "a=1", "%6Ftt={live}", "&"]) | BYTES),
    cookie=BYTES,
    metadata=st.sampled_from([(), NAV, CALL, (SPA,), (("accept", "text/html"),)]),
)
@example(method="GET", path="/#\x80", query=["ott={live}"], cookie="", metadata=NAV)
def test_interfaces_agree_on_any_bytes(
    method: str, path: str, query: list[str], cookie: str, metadata: Pairs
) -> None:
    target = f"{path}?{'&'.join(query)}".replace("{", "").replace("}", "")
    target = target.replace("ott=live", "ott={live}").replace("%6Ftt=live", "%6Ftt={live}")
    assert_alike(Asking(method, target, (*metadata, ("cookie", cookie))))


@settings(max_examples=examples(100), deadline=None)
@given(
    body=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["token", "audience"]) | st.text(), inner)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)
def test_interfaces_agree_on_any_body(body: bytes) -> None:
    assert_alike(verify(body))
