from __future__ import annotations

import asyncio
import json
import logging
import threading
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest
from harness import (
    HOST,
    NOW,
    Clock,
    Reply,
    Seen,
    World,
    call_asgi,
    main_lines,
    make_environ,
    make_scope,
    moment,
    person,
)
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware import (
    ASGIMiddleware,
    ConfigurationError,
    CookieSession,
    MemoryBackend,
    OneTimeTokens,
    SealedSession,
    Session,
    WSGIMiddleware,
)
from ott_middleware.concurrency import is_async
from ott_middleware.errors import SessionUnavailable
from ott_middleware.http import Request
from ott_middleware.interfaces import asgi_probe, wsgi_probe

LONG = "long-cookie-value-0123456789"


def request(cookie: str) -> Request:
    return Request("GET", "http", "/", headers={"cookie": cookie})


def current(adapter: CookieSession, cookie: str) -> Any:
    return adapter.current(request(cookie))


# Without a hook.


def test_unverified_value_is_a_session_and_a_warning_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    adapter = CookieSession("sid")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "validate= or probe=" in record.message
    assert not adapter.vouches
    session = current(adapter, "sid=abc")
    assert session.token == "abc"
    assert session.user_id is session.user is session.expires_at is None
    assert adapter.resolve(session) is session
    assert current(adapter, "sid=") is None
    assert current(adapter, "other=abc") is None
    assert current(adapter, "") is None


def test_hook_makes_the_adapter_verify_and_warn_of_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert CookieSession("sid", validate=lambda values: {}, renews_key=True).vouches
    assert CookieSession("sid", probe="/me", renews_key=True).vouches
    assert caplog.records == []


@pytest.mark.parametrize(
    "value",
    ["abc", '"quoted"', "a=b", "%C3%A9", "caf\xe9", "with space", "s:signed.value", "a\\073b"],
)
def test_value_is_carried_over_as_it_stands(value: str) -> None:
    adapter = CookieSession("sid")
    session = current(adapter, f"x=1; sid={value}; y=2")
    (cookie,) = adapter.establish(session, request(""))
    assert (cookie.name, cookie.value) == ("sid", value)


def test_values_that_differ_are_no_session() -> None:
    adapter = CookieSession("sid", "csrf")
    assert current(adapter, "sid=a; sid=b; csrf=c") is None
    assert current(adapter, "csrf=a; csrf=b") is None
    assert current(adapter, "sid=a; sid=a; sid=").token == '{"sid": "a"}'


def test_cookies_travel_together_in_part_too() -> None:
    adapter = CookieSession("sid", "csrf")
    session = current(adapter, "csrf=c; sid=s; other=o")
    assert json.loads(session.token) == {"sid": "s", "csrf": "c"}
    cookies = adapter.establish(session, request(""))
    assert [(c.name, c.value) for c in cookies] == [("sid", "s"), ("csrf", "c")]
    # What the session lacks is deleted: with another's the browser would hold a mixture of two.
    missing, alone = adapter.establish(current(adapter, "csrf=c"), request(""))
    assert (alone.name, alone.value) == ("csrf", "c")
    assert (missing.name, missing.value, missing.max_age) == ("sid", "", 0)


def test_cookies_set_are_only_those_named_here() -> None:
    planted = Session(id="s", token=json.dumps({"sid": "s", "admin": "1"}))
    cookies = CookieSession("sid", "csrf").establish(planted, request(""))
    assert [(cookie.name, cookie.value) for cookie in cookies] == [("sid", "s"), ("csrf", "")]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters=";\x7f")))
def test_value_shows_in_the_token_alone(value: str) -> None:
    value = value.strip(" \t")
    session = CookieSession("sid", validate=lambda values: {}).current(request(f"sid={value}"))
    if not value:
        assert session is None
        return
    assert isinstance(session, Session)
    assert session.token == value
    assert len(session.id) == 43
    assert repr(session) == repr(replace(session, token="another"))
    assert session.user is None


def test_id_is_a_hash_of_names_and_values() -> None:
    one = CookieSession("a", "b")
    ids = {
        current(one, "a=1; b=2").id,
        current(one, "a=2; b=1").id,
        current(one, "a=1").id,
        current(CookieSession("a"), "a=2").id,
        current(CookieSession("b"), "b=1").id,
    }
    assert len(ids) == 5
    assert current(one, "b=2; a=1").id == current(CookieSession("b", "a"), "a=1; b=2").id


# Configuration.


@pytest.mark.parametrize(
    ("names", "options", "says"),
    [
        ((), {}, "name the cookie"),
        (("a b",), {}, "not a cookie name"),
        (("",), {}, "not a cookie name"),
        (("sid\r\n",), {}, "not a cookie name"),
        ((7,), {}, "not a cookie name"),
        (("sid",), {"validate": "f"}, "validate"),
        (("sid",), {"validate": dict, "probe": "/me"}, "one of them"),
        (("sid",), {"probe": "me"}, "probe"),
        (("sid",), {"probe": ""}, "probe"),
        (("sid",), {"probe": "https://app.example/me"}, "probe"),
        (("sid",), {"probe": "/me?full=1"}, "without a query"),
        (("sid",), {"probe": "/m#e"}, "probe"),
        (("sid",), {"probe": "/mé"}, "probe"),
        (("sid",), {"probe": "/m%65"}, "probe"),
        (("sid",), {"probe": "/a b\r\n"}, "probe"),
        (("sid",), {"probe": 7}, "probe"),
        (("__Host-sid",), {"domain": "example.com"}, "__Host-"),
        (("sid", "__Host-x"), {"path": "/app"}, "__Host-"),
        (("sid",), {"samesite": "None"}, "SameSite=None"),
        (("sid",), {"partitioned": True}, "Partitioned"),
        (("sid",), {"max_age": 0}, "max_age"),
        # Words that would count as yes.
        (("sid",), {"secure": "no"}, "secure: 'no'; use True or False"),
        (("sid",), {"httponly": "false"}, "httponly: 'false'; use"),
        (("sid",), {"partitioned": 0}, "partitioned: 0; use"),
        (("sid",), {"renews_key": "no"}, "renews_key: 'no'; use True or False"),
        (("sid",), {"renews_key": 1}, "renews_key: 1; use"),
        (("sid",), {"renews_key": None}, "renews_key: None; use"),
    ],
)
def test_options_that_contradict_are_refused(
    names: Any, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        CookieSession(*names, **options)


def test_attributes_are_the_adapter_s(world: World) -> None:
    adapter = CookieSession(
        "sid",
        "csrf",
        domain="example.com",
        path="/app",
        secure=True,
        samesite="Strict",
        max_age=60,
        httponly=False,
        partitioned=True,
    )
    assert adapter.strict
    site = world.serve(session=adapter)
    token = site.generate({"cookie": "sid=s; csrf=c"}).json()["token"]
    answer = site.verify(token)
    assert answer.cookies == {"sid": "s", "csrf": "c"}
    for name in answer.cookies:
        assert answer.cookie(name) == {
            "Max-Age=60",
            "Domain=example.com",
            "Path=/app",
            "Secure",
            "SameSite=Strict",
            "Partitioned",
        }


# validate.


class SessionTable:
    """An app's session store, asked by `validate`."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answers: dict[str, Any] = {
            LONG: {
                "id": "session-7",
                "user_id": 7,
                "user": {"name": "Alice"},
                "expires_at": moment(NOW + 600),
            }
        }

    def find(self, values: Any) -> Any:
        self.asked.append(dict(values))
        answer = self.answers.get(values["sid"])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def find_later(self, values: Any) -> Any:
        await asyncio.sleep(0)
        return self.find(values)


@pytest.fixture
def store() -> SessionTable:
    return SessionTable()


@pytest.fixture(params=["plain", "coroutine"])
def adapter(request: pytest.FixtureRequest, store: SessionTable) -> CookieSession:
    validate = store.find if request.param == "plain" else store.find_later
    return CookieSession("sid", validate=validate)


def test_validate_is_asked_when_generating_and_when_redeeming(
    world: World, store: SessionTable, adapter: CookieSession
) -> None:
    site = world.serve(session=adapter)
    token = site.generate({"cookie": f"sid={LONG}"}).json()["token"]
    assert store.asked == [{"sid": LONG}]
    answer = site.verify(token)
    assert store.asked == [{"sid": LONG}] * 2
    assert answer.json() == {
        "session": {
            "id": "session-7",
            "userId": "7",
            "createdAt": None,
            "expiresAt": "2026-11-23T09:41:57.773Z",
        },
        "user": {"name": "Alice"},
    }
    assert answer.cookies == {"sid": LONG}


def test_ended_session_gets_no_token(world: World, adapter: CookieSession) -> None:
    site = world.serve(session=adapter)
    assert site.generate({"cookie": "sid=dead"}).code == "UNAUTHORIZED"


def test_session_that_ended_on_the_way_is_not_found(
    world: World, store: SessionTable, adapter: CookieSession
) -> None:
    site = world.serve(session=adapter)
    token = site.generate({"cookie": f"sid={LONG}"}).json()["token"]
    store.answers.clear()
    answer = site.verify(token)
    assert (answer.status, answer.code, answer.cookies) == (400, "SESSION_NOT_FOUND", {})


def test_session_that_expired_on_the_way_is_expired(world: World, adapter: CookieSession) -> None:
    site = world.serve(session=adapter)
    early = site.generate({"cookie": f"sid={LONG}"}).json()["token"]
    world.clock.forward(600)
    site.flow.tokens.clock.now = world.clock.now
    answer = site.verify(early)
    assert answer.status == 400
    assert answer.cookies == {}


@pytest.mark.parametrize(
    "answer",
    [
        "a string",
        ["list"],
        True,
        {"expires_at": "tomorrow"},
        {"user": "Alice"},
        {"user": 5},
        LookupError(LONG),
    ],
)
def test_validate_that_fails_is_unavailable_without_a_reason(
    world: World,
    store: SessionTable,
    adapter: CookieSession,
    answer: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.answers[LONG] = answer
    site = world.serve(session=adapter)
    answered = site.generate({"cookie": f"sid={LONG}"})
    assert (answered.status, answered.code) == (503, "SESSION_UNAVAILABLE")
    assert answered.header("retry-after")
    assert LONG.encode() not in answered.body
    assert len(main_lines(caplog)) == 1
    assert LONG not in caplog.text


def test_cookie_that_validate_repeats_stays_in_the_token(store: SessionTable) -> None:
    store.answers[LONG] = {
        "user_id": LONG,
        "user": {
            "key": LONG,
            "inside": f"/avatar?{LONG}",
            "deep": [{"er": (LONG, "kept")}],
            LONG: "as a key",
            5: "a number",
            None: "nothing",
        },
    }
    session = current(CookieSession("sid", validate=store.find), f"sid={LONG}")
    assert session.token == LONG
    assert LONG not in repr((session.id, session.user_id, session.user, session.data))
    assert session.user == {
        "key": None,
        "inside": None,
        "deep": [{"er": [None, "kept"]}],
        5: "a number",
        None: "nothing",
    }


def test_number_in_a_cookie_is_recognised_and_logged_once(store: SessionTable, caplog: Any) -> None:
    store.answers["1234567890"] = {"user_id": 7, "user": {"no": 1234567890, "paid": True}}
    adapter = CookieSession("sid", validate=store.find, renews_key=True)
    sessions = [current(adapter, "sid=1234567890") for _ in range(2)]
    assert [session.user_id for session in sessions] == ["7", "7"]
    assert "1234567890" not in repr((sessions[0].id, sessions[0]))
    assert sessions[0].user == {"no": None, "paid": True}
    (record,) = caplog.records
    assert "repeats a cookie's value" in record.message
    assert "1234567890" not in record.message


def test_short_value_is_recognised_only_whole(store: SessionTable) -> None:
    store.answers["ab"] = {"user": {"name": "abc", "code": "ab"}}
    session = current(CookieSession("sid", validate=store.find), "sid=ab")
    assert session.user == {"name": "abc", "code": None}


# probe.


class App:
    """Answers `/me` as it is told; everybody else is greeted."""

    def __init__(self, **answers: Any) -> None:
        self.me: Any = Reply(200, (), b'{"id": 7, "name": "Alice"}')
        self.probes: list[Seen] = []
        self.set = answers

    def __call__(self, seen: Seen) -> Any:
        if seen.path != "/me":
            return Reply()
        self.probes.append(seen)
        if isinstance(self.me, Exception):
            raise self.me
        if callable(self.me):
            return self.me(seen)
        if "sid=dead" in seen.headers.get("cookie", ""):
            return Reply(401)
        return self.me


@pytest.fixture
def app() -> App:
    return App()


def probing(world: World, app: Any, **options: Any) -> Any:
    session = CookieSession("sid", probe="/me", renews_key=True)
    return world.serve(app, session=session, **options)


COOKIE = {"cookie": f"sid={LONG}; other=1"}


def test_probe_asks_the_app_for_the_user(world: World, app: App) -> None:
    site = probing(world, app)
    token = site.generate(COOKIE).json()["token"]
    answer = site.verify(token)
    assert answer.json()["user"] == {"id": 7, "name": "Alice"}
    assert answer.json()["session"]["userId"] == "7"
    assert answer.cookies == {"sid": LONG}
    assert len(app.probes) == 2
    assert site.generate({"cookie": "sid=dead"}).code == "UNAUTHORIZED"


def test_probe_sends_cookie_host_and_accept_and_nothing_else(world: World, app: App) -> None:
    site = probing(world, app)
    headers = {
        **COOKIE,
        "authorization": "Bearer x",
        "x-forwarded-for": "1.2.3.4",
        "origin": f"http://{HOST}",
        "referer": f"http://{HOST}/x",
        "host": "app.example:8000",
    }
    assert site.generate(headers | {"origin": "http://app.example:8000"}).status == 200
    (probe,) = app.probes
    assert (probe.method, probe.path, probe.query) == ("GET", "/me", "")
    told = {k: v for k, v in probe.headers.items() if k != "content-length"}
    assert told == {
        "cookie": f"sid={LONG}",
        "host": "app.example:8000",
        "accept": "application/json",
    }
    assert probe.headers.get("content-length", "0") == "0"


def test_probe_keeps_what_the_server_said_of_the_connection(world: World, app: App) -> None:
    site = probing(world, app)
    shared = {"database": object()}
    site.generate(COOKIE, scheme="https", mount="/app", carrier={"state": shared})
    (probe,) = app.probes
    assert probe.mount == "/app"
    if world.interface == "asgi":
        assert probe.carrier["state"] is shared
        assert probe.carrier["scheme"] == "https"
        assert probe.carrier["path"] == "/app/me"
        assert probe.carrier["raw_path"] == b"/app/me"
        assert probe.carrier["client"] == ("127.0.0.1", 50000)
    else:
        assert probe.carrier["wsgi.url_scheme"] == "https"
        assert probe.carrier["REMOTE_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize("status", [301, 302, 303, 304, 400, 401, 403, 404, 429])
def test_probe_other_than_2xx_is_no_user(world: World, app: App, status: int) -> None:
    app.me = Reply(status, [("Location", "/login")], b'{"id": 1}')
    assert probing(world, app).generate(COOKIE).code == "UNAUTHORIZED"


@pytest.mark.parametrize("status", [500, 502, 503])
def test_probe_5xx_is_unavailable(world: World, app: App, status: int) -> None:
    app.me = Reply(status)
    assert probing(world, app).generate(COOKIE).code == "SESSION_UNAVAILABLE"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[1, 2]",
        b"null",
        b"7",
        b'"name"',
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"id": 1, "x": "' + b"x" * 70_000 + b'"}',
    ],
)
def test_probe_2xx_without_a_json_object_is_a_user_without_an_id(
    world: World, app: App, body: bytes
) -> None:
    app.me = Reply(204 if not body else 200, (), body)
    site = probing(world, app)
    answer = site.verify(site.generate(COOKIE).json()["token"])
    assert answer.status == 200
    assert answer.json()["user"] is None
    assert answer.json()["session"]["userId"] is None


def test_probe_reads_64_kib_and_no_more(world: World, app: App) -> None:
    def body(size: int) -> bytes:
        empty = len(b'{"id": 7, "x": ""}')
        return b'{"id": 7, "x": "' + b"x" * (size - empty) + b'"}'

    site = probing(world, app, backend=MemoryBackend(clock=world.clock))
    for size, known in ((65536, True), (65537, False)):
        app.me = Reply(200, (), body(size))
        # Too much to be carried by a token: only who it is counts here.
        site.seen.clear()
        session = who(site)
        assert (session.user_id == "7") is known


def who(site: Any) -> Any:
    """The session that the middleware finds for the cookie."""
    found: list[Any] = []
    answers = site._app

    async def look_later(seen: Seen) -> Any:
        if seen.path != "/who":
            return answers(seen)
        found.append(await seen.ott.asession())
        return Reply()

    def look(seen: Seen) -> Any:
        if seen.path != "/who":
            return answers(seen)
        found.append(seen.ott.session)
        return Reply()

    site._app = look_later if site.interface == "asgi" else look
    site.get("/who", COOKIE)
    site._app = answers
    return found[0]


def test_probe_cuts_an_endless_response(world: World) -> None:
    chunks = 0

    async def endless_asgi(scope: Any, receive: Any, send: Any) -> None:
        nonlocal chunks
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            chunks += 1
            await send({"type": "http.response.body", "body": b"x" * 1024, "more_body": True})

    closed: list[bool] = []

    class Endless:
        def __iter__(self) -> Any:
            return self

        def __next__(self) -> bytes:
            nonlocal chunks
            chunks += 1
            return b"x" * 1024

        def close(self) -> None:
            closed.append(True)

    def endless_wsgi(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Endless()

    session = CookieSession("sid", probe="/me")
    answer = ask(world, endless_asgi, endless_wsgi, session)
    assert answer == 200
    assert 64 <= chunks <= 66
    assert closed == ([True] if world.interface == "wsgi" else [])


def ask(world: World, asgi_app: Any, wsgi_app: Any, session: CookieSession) -> int:
    """The status of the generate path in front of a raw app."""
    path, headers = "/one-time-token/generate", [("cookie", f"sid={LONG}")]
    if world.interface == "asgi":
        wrapped = ASGIMiddleware(asgi_app, session=session)
        return asyncio.run(call_asgi(wrapped, make_scope("GET", path, headers))).status
    started: list[str] = []
    environ = make_environ("GET", path, headers)
    b"".join(
        WSGIMiddleware(wsgi_app, session=session)(
            environ, lambda status, headers, exc_info=None: started.append(status)
        )
    )
    return int(started[0][:3])


def test_probe_drops_cookies_that_the_app_sets(world: World, app: App) -> None:
    app.me = Reply(200, [("Set-Cookie", "sid=renewed; Path=/"), ("X-Of", "probe")], b"{}")
    site = probing(world, app)
    answer = site.generate(COOKIE)
    assert answer.status == 200
    assert answer.all("set-cookie") == []
    assert answer.header("x-of") is None


def test_probe_of_an_app_that_fails_logs_the_type_alone(
    world: World, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    app.me = LookupError(f"sid={LONG}")
    assert probing(world, app).generate(COOKIE).code == "SESSION_UNAVAILABLE"
    (record,) = caplog.records
    assert "LookupError" in record.message
    assert LONG not in record.message


@pytest.mark.parametrize("how", ["silent", "start only", "half a body", "cancels itself"])
def test_probe_of_a_response_without_end_is_unavailable(world: World, how: str) -> None:
    async def app_asgi(scope: Any, receive: Any, send: Any) -> None:
        if how == "cancels itself":
            raise asyncio.CancelledError
        if how != "silent":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if how == "half a body":
            await send({"type": "http.response.body", "body": b"{}", "more_body": True})

    def app_wsgi(environ: Any, start_response: Any) -> Any:
        if how == "half a body":
            start_response("200 OK", [])
            raise ConnectionError
        if how == "start only":
            start_response("nonsense", [])
        if how == "cancels itself":
            return None
        return []

    assert ask(world, app_asgi, app_wsgi, CookieSession("sid", probe="/me")) == 503


def test_probe_reads_a_response_however_it_is_written(world: World) -> None:
    async def app_asgi(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"id"', "more_body": True})
        await send({"type": "http.response.body", "body": b": 1}"})
        assert (await receive())["type"] == "http.disconnect"

    def app_wsgi(environ: Any, start_response: Any) -> Any:
        assert environ["wsgi.input"].read() == b""
        write = start_response("200 OK", [])
        write(b'{"id"')
        return (part for part in [b": ", b"1}"])

    assert ask(world, app_asgi, app_wsgi, CookieSession("sid", probe="/me")) == 200


def test_probe_of_an_app_that_hangs_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_probe, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(wsgi_probe, "PROBE_SECONDS", 0.05)
    go_on = threading.Event()
    ended: list[str] = []

    async def app_asgi(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("cancelled")

    def app_wsgi(environ: Any, start_response: Any) -> Any:
        go_on.wait(30)
        ended.append("left behind")
        return []

    try:
        assert ask(world, app_asgi, app_wsgi, CookieSession("sid", probe="/me")) == 503
    finally:
        go_on.set()
    if world.interface == "asgi":
        assert ended == ["cancelled"]


def test_probe_of_an_app_that_hangs_is_cancelled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only when the loop is closed, which ends everything."""
    monkeypatch.setattr(asgi_probe, "PROBE_SECONDS", 0.01)
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("cancelled")

    front = ASGIMiddleware(app, session=CookieSession("sid", probe="/me"))

    async def whole() -> list[str]:
        scope = make_scope("GET", "/one-time-token/generate", [("cookie", f"sid={LONG}")])
        assert (await call_asgi(front, scope)).status == 503
        await asyncio.sleep(0)
        return list(ended)

    assert asyncio.run(whole()) == ["cancelled"]


def test_probe_has_a_context_of_its_own(world: World) -> None:
    """A user who was looked up for the request at work is not who the question is about."""
    looked_up: ContextVar[str] = ContextVar("looked_up")

    def app(seen: Seen) -> Any:
        user = looked_up.get(None) or seen.cookies["sid"].partition("-")[0]
        looked_up.set(user)
        if seen.path == "/me":
            return Reply(200, (), json.dumps({"id": user}).encode())
        return Reply(200, [("Set-Cookie", "sid=bob-cookie")], b"")

    site = probing(world, app, set_ott_header_on_new_session=True)
    answer = site.get("/login", {"cookie": "sid=alice-cookie"})
    assert site.verify(answer.header("set-ott")).json()["user"] == {"id": "bob"}


def test_probes_of_apps_that_hang_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi_probe, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(wsgi_probe, "MOST_PROBES", 2)
    go_on = threading.Event()
    entered, left = threading.Semaphore(0), threading.Semaphore(0)

    def app(environ: Any, start_response: Any) -> Any:
        entered.release()
        go_on.wait(30)
        start_response("200 OK", [])
        left.release()
        return [b"{}"]

    session = CookieSession("sid", probe="/me")
    WSGIMiddleware(app, session=session)
    try:
        for text in ("no response within", "no response within", "2 are without a response"):
            with pytest.raises(SessionUnavailable, match=text):
                current(session, "sid=x")
    finally:
        go_on.set()
    for _ in range(2):
        assert entered.acquire(timeout=10)
        assert left.acquire(timeout=10)
    assert not entered.acquire(blocking=False)
    monkeypatch.setattr(wsgi_probe, "PROBE_SECONDS", 10)
    deadline = threading.Event()
    for _ in range(100):  # a place is free a moment after the answer is
        try:
            assert current(session, "sid=x") is not None
            break
        except SessionUnavailable:
            deadline.wait(0.05)
    else:
        pytest.fail("no place became free")


def test_probe_without_a_thread_fails_and_keeps_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wsgi_probe, "MOST_PROBES", 1)

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [b"{}"]

    session = CookieSession("sid", probe="/me")
    WSGIMiddleware(app, session=session)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            with pytest.raises(SessionUnavailable, match="no thread"):
                current(session, "sid=x")
    assert current(session, "sid=x") is not None


def test_probe_shows_no_session_to_a_view_that_asks(world: World, app: App) -> None:
    heard: list[Any] = []

    async def me_later(seen: Seen) -> Reply:
        heard.append(await seen.ott.asession())
        return Reply(200, (), b'{"id": 7}')

    def me(seen: Seen) -> Reply:
        heard.append(seen.ott.session)
        return Reply(200, (), b'{"id": 7}')

    app.me = me_later if world.interface == "asgi" else me
    site = probing(world, app)
    assert site.generate(COOKIE).status == 200
    assert heard == [None]
    site.get("/me", COOKIE)  # asked by the browser, the view asks itself once more
    assert [session and session.user_id for session in heard] == [None, None, "7"]


def test_probe_of_the_first_layer_passes_the_second(world: World, app: App) -> None:
    heard: list[Any] = []

    async def me_later(seen: Seen) -> Reply:
        heard.append(await seen.ott.asession())
        return Reply(200, (), b'{"id": 7}')

    def me(seen: Seen) -> Reply:
        heard.append(seen.ott.session)
        return Reply(200, (), b'{"id": 7}')

    app.me = me_later if world.interface == "asgi" else me
    inner = probing(world, app)
    outer_session = CookieSession("sid", probe="/me")
    front: Any = ASGIMiddleware if world.interface == "asgi" else WSGIMiddleware
    outer = front(inner.middleware, session=outer_session, base_path="/outer")
    inner.middleware = outer
    answer = inner.get("/outer/one-time-token/generate", COOKIE)
    assert answer.status == 200
    assert heard == [None]
    assert len(app.probes) == 1


def test_probe_passes_a_layer_that_signs_in_itself(world: World, app: App) -> None:
    inner = world.serve(app, session=SealedSession(b"0" * 32))
    front: Any = ASGIMiddleware if world.interface == "asgi" else WSGIMiddleware
    session = CookieSession("sid", probe="/me")
    inner.middleware = front(inner.middleware, session=session, base_path="/outer")
    answer = inner.get("/outer/one-time-token/generate", COOKIE)
    assert answer.status == 200
    assert len(app.probes) == 1


def test_probe_outside_of_a_request_asks_as_localhost(app: App) -> None:
    site = probing(World("wsgi"), app)
    assert site.members.resolve(Session(id="s", token=LONG)).user_id == "7"
    (probe,) = app.probes
    assert probe.headers["host"] == "localhost"

    later = probing(World("asgi"), app)

    async def resolve() -> Any:
        return await later.members.resolve(Session(id="s", token=LONG))

    assert asyncio.run(resolve()).user_id == "7"
    assert app.probes[1].headers["host"] == "localhost"


def test_redeeming_call_sees_no_mixture_of_two_sessions(world: World) -> None:
    site = world.serve(session=CookieSession("sid", "csrf"))
    token = site.generate({"cookie": "sid=of-alice"}).json()["token"]
    answer = site.fetch(f"/?ott={token}", {"cookie": "sid=of-bob; csrf=of-bob; theme=dark"})
    assert site.seen[-1].cookies == {"sid": "of-alice", "theme": "dark"}
    assert answer.cookies == {"sid": "of-alice", "csrf": ""}
    assert "Max-Age=0" in answer.cookie("csrf")


def test_adapter_probes_one_app(world: World, app: App) -> None:
    session = CookieSession("sid", probe="/me")
    world.serve(app, session=session)
    with pytest.raises(ConfigurationError, match="make another"):
        world.serve(app, session=session)
    shared = CookieSession("sid", validate=lambda values: {})
    world.serve(app, session=shared)
    world.serve(app, session=shared)  # it asks nobody's app


def test_probe_ends_with_the_response(world: World) -> None:
    after: list[str] = []

    async def app_asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})
        after.append("began")
        await asyncio.sleep(3600)  # nobody waits for this

    def app_wsgi(environ: Any, start_response: Any) -> Any:
        class Body(list[bytes]):
            def close(self) -> None:
                after.append("began")

        start_response("200 OK", [])
        return Body([b"{}"])

    assert ask(world, app_asgi, app_wsgi, CookieSession("sid", probe="/me")) == 200
    assert after == ["began"]


def test_probe_without_an_app_says_what_to_do() -> None:
    adapter = CookieSession("sid", probe="/me")
    with pytest.raises(SessionUnavailable, match="validate="):
        current(adapter, "sid=x")
    tokens = OneTimeTokens(MemoryBackend(clock=Clock(NOW)), sessions=adapter)
    with pytest.raises(SessionUnavailable, match="needs a wrapped app"):
        tokens.verify(tokens.generate(person("alice")))


def test_probe_waits_where_its_app_does() -> None:
    adapter = CookieSession("sid", probe="/me")
    assert not is_async(adapter.current)
    probe = probing(World("asgi"), App())
    assert is_async(probe.members.current)
    assert not is_async(probing(World("wsgi"), App()).members.current)


def test_token_service_probes_too(world: World, app: App) -> None:
    adapter = CookieSession("sid", probe="/me")
    tokens = OneTimeTokens(MemoryBackend(clock=world.clock), sessions=adapter)
    site = world.serve(app, session=adapter, tokens=tokens)
    token = site.generate(COOKIE).json()["token"]
    assert site.verify(token).json()["session"]["userId"] == "7"
    assert len(app.probes) == 2


# What is told of the user, and what is taken for a cookie.


@pytest.mark.parametrize(
    ("expose", "told"),
    [
        (None, {"id": 7, "name": "Alice", "phone": "1"}),
        ([], {"id": 7}),
        (["name", "hair"], {"id": 7, "name": "Alice"}),
    ],
)
def test_expose_lists_the_fields_of_the_user(world: World, expose: Any, told: Any) -> None:
    user = {"id": 7, "name": "Alice", "phone": "1"}

    def probed(seen: Seen) -> Reply:
        return Reply(200, (), json.dumps(user).encode())

    for app, how in [
        (probed, {"probe": "/me"}),
        (probed, {"validate": lambda values: {"user": user, "user_id": user["id"]}}),
    ]:
        site = world.serve(app, session=CookieSession("sid", expose=expose, **how))
        answer = site.verify(site.generate({"cookie": "sid=s"}).json()["token"]).json()
        assert (answer["session"]["userId"], answer["user"]) == ("7", told)


def test_expose_of_a_session_without_a_user() -> None:
    adapter = CookieSession("sid", validate=lambda values: {}, expose=["name"])
    assert current(adapter, "sid=s").user is None


def test_expose_is_a_list_of_names() -> None:
    with pytest.raises(ConfigurationError, match="expose: 'name'; pass a list of names"):
        CookieSession("sid", expose="name")


@pytest.mark.parametrize("validate", [None, lambda values: {}])
@pytest.mark.parametrize(
    "token",
    [
        "",
        "club.AQIDBAUGBwgJCgsMDQ4PEA;",
        "a;b",
        "a\nb",
        "☃",
        "[1]",
        '"s"',
        "7",
        "null",
        '{"x": "1"}',
        '{"sid": 7, "csrf": "c"}',
        '{"sid": "a;", "csrf": "c"}',
        '{"sid": ""}',
        "[" * 100_000,
    ],
)
def test_token_without_these_cookies_is_no_session(token: str, validate: Any) -> None:
    session = Session(id="s", token=token)
    assert CookieSession("sid", "csrf", validate=validate).resolve(session) is None
    if not token or {*token} & {*";\n☃"}:
        assert CookieSession("sid", validate=validate).resolve(session) is None


@pytest.mark.parametrize("names", [["sid"], ["sid", "csrf"]])
def test_sealed_session_has_no_cookie_to_carry_over(world: World, names: list[str]) -> None:
    backend = MemoryBackend(clock=world.clock)
    sealed = SealedSession("a secret of thirty-two characters", clock=world.clock)
    value = sealed.start("alice", remember=True).token
    source = world.serve(session=sealed, backend=backend)
    site = world.serve(session=CookieSession(*names), backend=backend)
    token = source.generate({"cookie": f"ott_session={value}"}).json()["token"]
    answer = site.verify(token)
    assert (answer.code, answer.cookies) == ("SESSION_NOT_FOUND", {})
