"""What is ASGI's own: scopes, messages, and what passes through untouched."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from harness import (
    FETCH,
    HOST,
    NAVIGATION,
    NOW,
    Clock,
    Members,
    call_asgi,
    make_scope,
    messages_of,
    person,
)

from ott_middleware import (
    ASGIMiddleware,
    ConfigurationError,
    CookieSession,
    MemoryBackend,
    SealedSession,
    SessionAdapter,
)
from ott_middleware.interfaces import asgi_probe

SECRET = "a secret of thirty-two characters"
ALICE = {"cookie": "sid=alice-cookie"}


class Passed:
    """An app that keeps what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls.append((scope, receive, send))


async def receive() -> Any:
    raise AssertionError("nobody asked for a message")


async def send(message: Any) -> None:
    raise AssertionError("nobody had anything to say")


def wrap(app: Any, clock: Any = None, **options: Any) -> ASGIMiddleware:
    options.setdefault("session", Members(person("alice")))
    options.setdefault("backend", MemoryBackend(clock=clock or Clock(NOW)))
    return ASGIMiddleware(app, **options)


def mint(middleware: ASGIMiddleware) -> str:
    return middleware.flow.tokens.generate(person("alice"))


def ask(middleware: Any, *args: Any, **how: Any) -> Any:
    return asyncio.run(call_asgi(middleware, make_scope(*args, **how)))


@pytest.mark.parametrize("kind", ["lifespan", "unheard-of"])
@pytest.mark.parametrize("options", [{}, {"set_ott_header_on_new_session": True}])
def test_scopes_of_other_types_pass_untouched(kind: str, options: Any) -> None:
    app = Passed()
    scope = {"type": kind, "path": "/one-time-token/verify", "query_string": b"ott=T"}
    before = dict(scope)
    asyncio.run(wrap(app, **options)(scope, receive, send))
    assert [list(map(id, call)) for call in app.calls] == [[id(scope), id(receive), id(send)]]
    assert scope == before


@pytest.mark.parametrize("query", ["", "a=1", "%6Ftt2=1", "bott=x", "q=ottx&r=%7B%22"])
def test_very_same_objects_pass(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Passed()
    middleware = wrap(app)
    # Nobody is asked about it: that would take fifty times as long.
    monkeypatch.setattr(middleware.flow, "decide", None)
    scope = make_scope("GET", f"/?{query}", ALICE)
    before = dict(scope)
    asyncio.run(middleware(scope, receive, send))
    assert [list(map(id, call)) for call in app.calls] == [[id(scope), id(receive), id(send)]]
    assert scope.pop("ott").redeemed is None
    assert scope == before


def test_same_receive_and_send_where_a_link_redeems_nothing() -> None:
    app = Passed()
    asyncio.run(wrap(app)(make_scope("HEAD", "/?ott=T"), receive, send))
    assert app.calls[0][1:] == (receive, send)


@pytest.mark.parametrize(
    "options", [{"set_ott_header_on_new_session": True}, {"session": SealedSession(SECRET)}]
)
def test_answer_is_watched_where_an_option_needs_it(options: Any) -> None:
    app = Passed()
    asyncio.run(wrap(app, **options)(make_scope(), receive, send))
    assert app.calls[0][1] is receive
    assert app.calls[0][2] is not send


def test_scope_may_leave_out_what_it_may() -> None:
    app = Passed()
    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    asyncio.run(wrap(app)(dict(scope), receive, send))
    asyncio.run(wrap(app)({**scope, "query_string": b""}, receive, send))
    assert ["query_string" in passed for passed, *_ in app.calls] == [False, True]
    scope["query_string"] = b"ott=dead"
    scope["headers"] = [(b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document")]
    answer = asyncio.run(call_asgi(wrap(app), scope))
    assert answer.status == 400
    token_of = wrap(app)
    scope["query_string"] = f"ott={mint(token_of)}".encode()
    assert asyncio.run(call_asgi(token_of, {**scope, "raw_path": None})).location == "./x"


# Messages of the app.

Messages = Sequence[dict[str, Any]]

ANSWERS: list[Messages] = [
    [
        {"type": "http.response.start", "status": 200, "headers": [(b"x", b"1"), (b"x", b"2")]},
        {"type": "http.response.body", "body": b"a", "more_body": True},
        {"type": "http.response.body", "body": b"b", "more_body": True},
        {"type": "http.response.body"},
    ],
    [
        {"type": "http.response.start", "status": 103},
        {"type": "http.response.zerocopysend", "file": 7},
        {"type": "http.response.pathsend", "path": "/file"},
        {"type": "http.response.push", "path": "/style.css", "headers": []},
        {"type": "http.response.early_hint", "links": []},
        {"type": "http.response.debug", "info": {}},
        {"type": "an.unknown.message"},
    ],
    [
        {"type": "http.response.start", "status": 200, "headers": [], "trailers": True, "x": 1},
        {"type": "http.response.body", "body": b"a"},
        {"type": "http.response.trailers", "headers": [(b"t", b"v")], "more_trailers": False},
    ],
]


@pytest.mark.parametrize("messages", ANSWERS)
@pytest.mark.parametrize("redeems", [False, True])
def test_messages_of_the_app_all_go_out(messages: Messages, redeems: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    sent: list[Any] = []

    async def collect(message: Any) -> None:
        sent.append(message)

    middleware = wrap(app, set_ott_header_on_new_session=True)
    target = f"/?ott={mint(middleware)}" if redeems else "/"
    asyncio.run(middleware(make_scope("GET", target, FETCH), receive, collect))
    start = sent[0]
    headers = list(start.pop("headers", []))
    given = list(messages[0].get("headers", []))
    assert headers[: len(given)] == given
    assert all(name == name.lower() for name, _ in headers)
    assert {**start, "headers": given} == {**messages[0], "headers": given}
    assert sent[1:] == list(messages[1:])
    assert redeems == any(name == b"set-cookie" for name, _ in headers)


def test_apps_message_is_not_changed_in_place() -> None:
    message = {"type": "http.response.start", "status": 200, "headers": [(b"etag", b"1")]}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(message)
        await send({"type": "http.response.body"})

    middleware = wrap(app)
    answer = ask(middleware, "GET", f"/?ott={mint(middleware)}", FETCH)
    assert answer.all("etag") == []
    assert message["headers"] == [(b"etag", b"1")]


def test_body_and_streams_reach_the_app() -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.extend([await receive(), await receive(), await receive()])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    middleware = wrap(app)
    scope = make_scope("POST", f"/?ott={mint(middleware)}", FETCH, [b"a", b"b"])
    messages = messages_of([b"a", b"b"])
    asyncio.run(call_asgi(middleware, scope, messages))
    assert got == messages


# The body of verify.


def verify(middleware: Any, messages: Messages) -> tuple[Any, int]:
    """The answer, and how many messages were asked for."""
    asked = 0
    sent: list[Any] = []

    async def receive_counted() -> Any:
        nonlocal asked
        asked += 1
        return messages[asked - 1]

    async def collect(message: Any) -> None:
        sent.append(message)

    headers = {"content-type": "application/json"}
    scope = make_scope("POST", "/one-time-token/verify", headers)
    asyncio.run(middleware(scope, receive_counted, collect))
    return sent[0]["status"], asked


def test_large_body_is_not_read_to_its_end() -> None:
    chunk = {"type": "http.request", "body": b"x" * 8192, "more_body": True}
    assert verify(wrap(Passed()), [chunk] * 100) == (413, 3)


def test_client_that_is_gone_redeems_nothing() -> None:
    middleware = wrap(Passed())
    body = b'{"token": "' + mint(middleware).encode() + b'"}'
    messages = [
        {"type": "http.request", "body": body, "more_body": True},
        {"type": "http.disconnect"},
    ]
    assert verify(middleware, messages) == (400, 2)
    assert verify(middleware, [{"type": "http.request", "body": body}]) == (200, 1)


def test_message_may_leave_out_its_body() -> None:
    assert verify(wrap(Passed()), [{"type": "http.request"}]) == (400, 1)


# Where the app is mounted.


@pytest.mark.parametrize(
    ("root", "path", "raw", "location"),
    [
        ("/m", "/m/x/y", "/m/x%2Fy", "./x%2Fy"),  # the path includes the mount point
        ("/m", "/x/y", "/x%2Fy", "./x%2Fy"),  # it does not
        ("/m", "/x/y", "/m/x%2Fy", "./x%2Fy"),  # one does, one does not
        ("/m/", "/m/x", "/m/x", "./x"),
        ("/m", "/m", "/m", "./m"),
        ("/m", "/mx", "/mx", "./mx"),  # a prefix that ends inside a segment is none
        ("/m", "/x", None, "./x"),
        ("/m", "", None, "./m"),
        ("/m", "/m/x", "/elsewhere", "./x"),
        ("", "/x", "http://evil.example/x?y", "./x"),
        ("", "http://evil.example/x", "http://evil.example/x", "./x"),
        ("/m", "http://evil.example/x", None, "./x"),
        ("", "http://evil\\.example/x", None, "./x"),
        ("", "http://evil\\.example", None, "./%5C.example"),
        ("", "//evil.example", None, "./evil.example"),
        ("//evil", "/x", None, "./x"),
        ("/é", "/é/\udcff", None, "./?"),
    ],
)
def test_location_below_a_mount_point(root: str, path: str, raw: str | None, location: str) -> None:
    middleware = wrap(Passed())
    carrier = {"root_path": root, "path": path, "raw_path": raw and raw.encode()}
    target = f"/?ott={mint(middleware)}"
    answer = ask(middleware, "GET", target, NAVIGATION, carrier=carrier)
    assert answer.location == location.replace("?", "%3F")


@pytest.mark.parametrize("path", ["/m/one-time-token/generate", "/one-time-token/generate"])
def test_paths_below_a_mount_point_in_both_styles(path: str) -> None:
    carrier = {"root_path": "/m", "path": path}
    assert ask(wrap(Passed()), "GET", "/", ALICE, carrier=carrier).status == 200


def test_headers_that_come_twice_are_one() -> None:
    middleware = wrap(Passed())
    headers = [("cookie", "a=b"), ("cookie", "sid=alice-cookie")]
    assert ask(middleware, "GET", "/one-time-token/generate", headers).status == 200
    twice = [("origin", "http://app.example"), ("origin", "http://app.example")]
    assert ask(middleware, "GET", "/one-time-token/generate", twice).code == "INVALID_ORIGIN"


def test_header_names_in_upper_case_are_understood() -> None:
    middleware = wrap(Passed())
    scope = make_scope("GET", "/one-time-token/generate")
    scope["headers"].append((b"Cookie", b"sid=alice-cookie"))
    assert asyncio.run(call_asgi(middleware, scope)).status == 200


# Colours.


def test_blocking_methods_run_in_a_thread_and_others_on_the_loop() -> None:
    where: dict[str, int] = {}

    class Noting(Members):
        def current(self, request: Any) -> Any:
            where[self.name] = threading.get_ident()
            return super().current(request)

    for name, blocks in (("quick", False), ("slow", True)):
        adapter = Noting(person("alice"))
        adapter.name, adapter.blocks = name, blocks
        ask(wrap(Passed(), session=adapter), "GET", "/one-time-token/generate", ALICE)
    assert where["quick"] == threading.get_ident() != where["slow"]


def test_remote_user_is_wsgis() -> None:
    adapter = SealedSession(SECRET, remote_user=lambda session: session.user_id)
    with pytest.raises(ConfigurationError, match="remote_user"):
        ASGIMiddleware(Passed(), session=adapter)


def test_cancelled_request_signs_nobody_in() -> None:
    class Hanging(Members):
        async def establish(self, session: Any, request: Any) -> Any:
            started.set()
            await asyncio.Event().wait()

    started = asyncio.Event()
    middleware = wrap(Passed(), session=Hanging(person("alice")))

    async def whole() -> None:
        token = await middleware.flow.tokens.agenerate(person("alice"))
        scope = make_scope("GET", f"/?ott={token}", NAVIGATION)
        request = asyncio.ensure_future(call_asgi(middleware, scope))
        await started.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert len(middleware.flow.tokens.backend) == 0  # burnt: it fails closed

    asyncio.run(whole())


def test_tasks_race_one_wins() -> None:
    middleware = wrap(Passed())

    async def whole() -> None:
        for _ in range(20):
            token = await middleware.flow.tokens.agenerate(person("alice"))
            scopes = [make_scope("GET", f"/?ott={token}", NAVIGATION) for _ in range(64)]
            answers = await asyncio.gather(*(call_asgi(middleware, scope) for scope in scopes))
            assert sorted(answer.status for answer in answers) == [303] + [400] * 63

    asyncio.run(whole())


# Asking the app who is signed in.


def probing(app: Any) -> ASGIMiddleware:
    adapter = CookieSession("sid", probe="/me")
    return ASGIMiddleware(app, session=adapter, backend=MemoryBackend())


def generate(app: Any, **how: Any) -> Any:
    return ask(probing(app), "GET", "/one-time-token/generate", ALICE, **how)


def test_app_is_asked_in_process() -> None:
    scopes: list[Any] = []
    messages: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        messages.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"id": ', "more_body": True})
        await send({"type": "http.response.debug"})
        await send({"type": "http.response.body", "body": b'"alice"}'})
        with pytest.raises(asgi_probe._Enough):
            await send({"type": "http.response.body"})
        messages.append(await receive())

    answer = generate(app, mount="/m", scheme="https", carrier={"state": {"a": 1}})
    assert answer.status == 200
    (scope,) = scopes
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("GET", "/m/me", b"/m/me")
    assert (scope["scheme"], scope["root_path"], scope["state"]) == ("https", "/m", {"a": 1})
    assert scope["query_string"] == b""
    assert dict(scope["headers"]) == {
        b"host": HOST.encode(),
        b"accept": b"application/json",
        b"cookie": b"sid=alice-cookie",
    }
    assert messages == [
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
    ]


def test_app_that_does_not_answer_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_probe, "PROBE_SECONDS", 0.01)
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    answer = generate(app)
    assert (answer.status, answer.code) == (503, "SESSION_UNAVAILABLE")
    assert ended == ["cancelled"]


async def raising(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("alice-cookie")


async def silent(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


@pytest.mark.parametrize(("app", "why"), [(raising, "RuntimeError"), (silent, "no complete")])
def test_app_that_fails_when_it_is_asked(
    app: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert generate(app).code == "SESSION_UNAVAILABLE"
    assert why in caplog.text
    assert "alice-cookie" not in caplog.text


def test_response_to_a_question_is_read_up_to_a_limit() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b" " * 9999, "more_body": True})

    assert generate(app).status == 200


def test_layer_below_lets_the_question_pass() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["ott"].redeemed is None
        assert await scope["ott"].asession() is None
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"id": "alice"}'})

    below = ASGIMiddleware(
        app, session=CookieSession("sid", probe="/me"), set_ott_header_on_new_session=True
    )
    assert generate(below).status == 200


def test_framework_that_the_middleware_was_added_to_is_there_when_it_is_asked() -> None:
    app = FastAPI()
    app.state.people = {"alice-cookie": "alice"}

    @app.get("/me")
    def me(request: FastAPIRequest) -> dict[str, str]:
        return {"id": request.app.state.people[request.cookies["sid"]]}

    app.add_middleware(ASGIMiddleware, session=CookieSession("sid", probe="/me"))
    path = "/one-time-token/generate"
    scope = make_scope("GET", path, [("cookie", "sid=alice-cookie")])
    assert asyncio.run(call_asgi(app, scope)).status == 200


def test_error_reports_of_a_failing_app_hold_no_token() -> None:
    """Some report an exception with the variables of every caller; this token is a live one."""
    found: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError

    async def whole() -> None:
        # A HEAD redeems nothing.
        scope = make_scope("HEAD", "/x?ott=live-token")
        with pytest.raises(LookupError) as caught:
            await wrap(app)(scope, receive, send)
        for frame, _ in traceback.walk_tb(caught.tb):
            if "ott_middleware" in frame.f_code.co_filename:
                found.extend(frame.f_locals.values())

    asyncio.run(whole())
    told = [repr(value) + repr(getattr(value, "links", "")) for value in found]
    assert len(told) > 5
    assert "live-token" not in " ".join(told)


def test_app_can_be_asked_outside_of_a_request() -> None:
    hosts: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        hosts.append(dict(scope["headers"])[b"host"])
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body"})

    adapter = CookieSession("sid", probe="/me")
    middleware = ASGIMiddleware(app, session=adapter, backend=MemoryBackend())
    session = person("x", token='{"sid":"x-cookie"}', expires_at=None)

    async def whole() -> str:
        token = await middleware.flow.tokens.agenerate(session)
        with pytest.raises(Exception, match="Session not found"):
            await middleware.flow.tokens.averify(token)
        return token

    asyncio.run(whole())
    assert hosts == [b"localhost"]


def test_adapter_without_methods_says_so(caplog: pytest.LogCaptureFixture) -> None:
    answer = ask(wrap(Passed(), session=SessionAdapter()), "GET", "/one-time-token/generate")
    assert answer.code == "SESSION_UNAVAILABLE"
    assert "TypeError" in caplog.text
