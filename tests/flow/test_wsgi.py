"""What is WSGI's own: environ, start_response, write(), iterables, and what passes untouched."""

from __future__ import annotations

import asyncio
import io
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest
from harness import (
    FETCH,
    HOST,
    NAVIGATION,
    NOW,
    Clock,
    Members,
    WaitingMembers,
    call_wsgi,
    main_lines,
    make_environ,
    person,
)

from ott_middleware import CookieSession, MemoryBackend, SealedSession, WSGIMiddleware
from ott_middleware.http import Response
from ott_middleware.interfaces import wsgi_probe

SECRET = "a secret of thirty-two characters"
ALICE = {"cookie": "sid=alice-cookie"}
TEXT = [("Content-Type", "text/plain")]


class Passed:
    """An app that keeps what it is called with and answers always the same object."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any]] = []
        self.answer = [b"hello"]

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.calls.append((environ, start_response))
        return self.answer


def wrap(app: Any, **options: Any) -> WSGIMiddleware:
    options.setdefault("session", Members(person("alice")))
    options.setdefault("backend", MemoryBackend(clock=Clock(NOW)))
    return WSGIMiddleware(app, **options)


def mint(middleware: WSGIMiddleware) -> str:
    return middleware.flow.tokens.generate(person("alice"))


def ask(middleware: Any, *args: Any, **how: Any) -> Any:
    return call_wsgi(middleware, make_environ(*args, **how))


def start(*args: Any) -> Any:
    raise AssertionError("nobody had anything to say")


@pytest.mark.parametrize("query", ["", "a=1", "%6Ftt2=1", "bott=x", "q=ottx&r=%7B%22"])
def test_very_same_objects_pass(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Passed()
    middleware = wrap(app)
    # Nobody is asked about it: that would take fifty times as long.
    monkeypatch.setattr(middleware.flow, "decide", None)
    environ = make_environ("GET", f"/?{query}", ALICE)
    before = dict(environ)
    assert middleware(environ, start) is app.answer
    assert [list(map(id, call)) for call in app.calls] == [[id(environ), id(start)]]
    assert environ.pop("ott.handle").redeemed is None
    assert environ == before


def test_same_start_response_where_a_link_redeems_nothing() -> None:
    app = Passed()
    assert wrap(app)(make_environ("HEAD", "/?ott=T"), start) is app.answer
    assert app.calls[0][1] is start


@pytest.mark.parametrize(
    "options", [{"set_ott_header_on_new_session": True}, {"session": SealedSession(SECRET)}]
)
def test_answer_is_watched_where_an_option_needs_it(options: Any) -> None:
    app = Passed()
    assert wrap(app, **options)(make_environ(), start) is app.answer
    assert app.calls[0][1] is not start


@pytest.mark.parametrize("missing", ["QUERY_STRING", "PATH_INFO", "SCRIPT_NAME"])
def test_environ_may_leave_out_what_is_empty(missing: str) -> None:
    app = Passed()
    environ = make_environ("GET", "/")
    del environ[missing]
    wrap(app)(environ, start)
    assert len(app.calls) == 1
    assert missing not in environ


def test_link_to_an_app_at_the_root_of_its_mount_point() -> None:
    middleware = wrap(Passed())
    environ = make_environ("GET", f"/?ott={mint(middleware)}", NAVIGATION, mount="/m")
    del environ["PATH_INFO"], environ["RAW_URI"]
    assert call_wsgi(middleware, environ).location == "./m"


# The app's side of the answer.


def started_by(middleware: WSGIMiddleware, target: str = "/", app_calls: Any = None) -> list[Any]:
    """The calls of start_response that the server sees."""
    calls: list[Any] = []

    def start_response(*args: Any) -> Any:
        calls.append(args)
        return lambda data: None

    for _ in middleware(make_environ("GET", target, FETCH), start_response):
        pass
    return calls


def test_start_response_with_exc_info() -> None:
    failure = (ValueError, ValueError("x"), None)

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 Fine", [*TEXT, ("ETag", "1")])
        start_response("500 Oops", TEXT, failure)
        return [b"sorry"]

    middleware = wrap(app)
    first, second = started_by(middleware, f"/?ott={mint(middleware)}")
    assert (first[0], len(first)) == ("200 Fine", 2)
    assert second[0] == "500 Oops"
    assert second[2] is failure
    for call in (first, second):
        names = [name for name, _ in call[1]]
        assert names == ["Content-Type", "Cache-Control", "Set-Cookie"]


def test_start_response_error_reaches_the_app() -> None:
    class HeadersSent(Exception):
        pass

    def refuse(*args: Any) -> Any:
        raise HeadersSent

    def app(environ: Any, start_response: Any) -> Any:
        with pytest.raises(HeadersSent):
            start_response("200 Fine", TEXT)
        return [b"caught"]

    middleware = wrap(app)
    environ = make_environ("GET", f"/?ott={mint(middleware)}", FETCH)
    assert middleware(environ, refuse) == [b"caught"]


def test_write_goes_to_the_server() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        write = start_response("200 Fine", TEXT)
        write(b"written, ")
        return [b"returned"]

    middleware = wrap(app)
    answer = ask(middleware, "GET", f"/?ott={mint(middleware)}", FETCH)
    assert answer.body == b"written, returned"
    assert answer.cookies == {"sid": "alice-cookie"}


class Stream:
    """An iterable that tells when it is read and closed."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def __iter__(self) -> Iterator[bytes]:
        for chunk in (b"a", b"b"):
            self.events.append(chunk.decode())
            yield chunk

    def close(self) -> None:
        self.events.append("closed")


@pytest.mark.parametrize("options", [{}, {"set_ott_header_on_new_session": True}])
@pytest.mark.parametrize("redeems", [False, True])
def test_iterable_is_the_servers_to_read_and_close(options: Any, redeems: bool) -> None:
    stream = Stream()

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 Fine", TEXT)
        return stream

    middleware = wrap(app, **options)
    target = f"/?ott={mint(middleware)}" if redeems else "/"
    answer = middleware(make_environ("GET", target, FETCH), lambda *args: None)
    assert answer is stream
    assert stream.events == []


def test_file_wrapper_reaches_the_server_as_one() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 Fine", TEXT)
        return environ["wsgi.file_wrapper"](io.BytesIO(b"file"))

    middleware = wrap(app)
    environ = make_environ("GET", f"/?ott={mint(middleware)}", FETCH)
    environ["wsgi.file_wrapper"] = FileWrapper
    answer = middleware(environ, lambda *args: None)
    assert isinstance(answer, FileWrapper)


def test_app_that_starts_late() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 Fine", TEXT)
        yield b"late"

    middleware = wrap(app)
    answer = ask(middleware, "GET", f"/?ott={mint(middleware)}", FETCH)
    assert (answer.body, answer.cookies) == (b"late", {"sid": "alice-cookie"})


def test_apps_list_of_headers_is_not_changed_in_place() -> None:
    headers = [*TEXT, ("ETag", "1")]

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 Fine", headers)
        return [b""]

    middleware = wrap(app)
    assert ask(middleware, "GET", f"/?ott={mint(middleware)}", FETCH).all("etag") == []
    assert headers == [*TEXT, ("ETag", "1")]


@pytest.mark.parametrize("target", ["/", "/?ott=dead", "/?ott={}", "/one-time-token/generate"])
def test_reference_validator_finds_nothing(target: str) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 Fine", TEXT)
        return [b"x"]

    middleware = wrap(app)
    environ = make_environ("GET", target.format(mint(middleware)), {"accept": "*/*"})
    call_wsgi(validator(middleware), environ)


@pytest.mark.parametrize("target", ["/", "/?ott={}"])
@pytest.mark.parametrize("probe", ["/me", None])
def test_reference_validator_finds_nothing_inside(target: str, probe: str | None) -> None:
    """The app is validated too: its environ holds the handle, and is a probe's at times."""
    handles: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        handles.append(environ["ott.handle"])
        start_response("200 Fine", TEXT)
        return [b"x"]

    adapter = CookieSession("sid", probe=probe) if probe else Members(person("alice"))
    middleware = wrap(validator(app), session=adapter, revoke_on_sign_out=True)
    environ = make_environ("GET", target.format(mint(middleware)), {**ALICE, **FETCH})
    assert call_wsgi(validator(middleware), environ).body == b"x"
    assert environ["ott.handle"] in handles
    assert environ["ott.handle"].session.token == "alice-cookie"


# The body of verify.


class Input(io.BytesIO):
    """Counts what is read, gives at most `most` at once, and knows no end of its own."""

    most = 1 << 20
    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert size >= 0, "read() without a size would wait for ever"
        data = super().read(min(size, self.most))
        self.taken += len(data)
        return data


def verify(
    body: bytes, stream: Any = None, middleware: Any = None, **environ: Any
) -> tuple[Any, Any]:
    stream = Input(body) if stream is None else stream
    made = make_environ("POST", "/one-time-token/verify", {"content-type": "application/json"})
    made.update({"wsgi.input": stream, **environ})
    return call_wsgi(middleware or wrap(Passed()), made), stream


def test_declared_body_is_read_to_its_length_and_no_further() -> None:
    middleware = wrap(Passed())
    body = b'{"token": "' + mint(middleware).encode() + b'"}'
    answer, stream = verify(body + b"next request", None, middleware, CONTENT_LENGTH=str(len(body)))
    assert answer.status == 200
    assert stream.taken == len(body)


def test_body_may_come_in_pieces() -> None:
    middleware = wrap(Passed())
    body = b'{"token": "' + mint(middleware).encode() + b'"}'
    stream = Input(body)
    stream.most = 3
    assert verify(body, stream, middleware, CONTENT_LENGTH=str(len(body)))[0].status == 200


@pytest.mark.parametrize("length", ["16385", "99999999999999999999999999"])
def test_large_body_is_not_read_at_all(length: str) -> None:
    answer, stream = verify(b"x" * 20000, CONTENT_LENGTH=length)
    assert (answer.status, answer.code, stream.taken) == (413, "PAYLOAD_TOO_LARGE", 0)


@pytest.mark.parametrize("length", ["-1", "+5", "1_0", "5.0", "x", " 5", "\u0665", "0x5", "5, 5"])
def test_length_that_is_none(length: str) -> None:
    answer, stream = verify(b"{}   ", CONTENT_LENGTH=length)
    assert (answer.status, answer.code, stream.taken) == (400, "BAD_REQUEST", 0)


def test_body_that_ends_early_redeems_nothing() -> None:
    middleware = wrap(Passed())
    body = b'{"token": "' + mint(middleware).encode() + b'"}'
    answer, _ = verify(body, None, middleware, CONTENT_LENGTH=str(len(body) + 1))
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    assert verify(body, None, middleware, CONTENT_LENGTH=str(len(body)))[0].status == 200


def test_client_that_is_gone() -> None:
    class Gone(Input):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionResetError("gone")

    for environ in ({"CONTENT_LENGTH": "5"}, {"wsgi.input_terminated": True}):
        answer, _ = verify(b"", Gone(), **environ)
        assert (answer.status, answer.code) == (400, "BAD_REQUEST")


def test_body_that_the_server_ends() -> None:
    middleware = wrap(Passed())
    body = b'{"token": "' + mint(middleware).encode() + b'"}'
    ended = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    assert verify(body, None, middleware, **ended)[0].status == 200
    answer, stream = verify(b"x" * 100_000, **ended)
    assert answer.status == 413
    assert stream.taken == 16 * 1024 + 1


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, 411),
        ({"SERVER_PROTOCOL": "HTTP/2"}, 411),
        ({"SERVER_PROTOCOL": ""}, 411),
        ({}, 400),  # HTTP/1 without either has no body
        ({"CONTENT_LENGTH": ""}, 400),
        ({"CONTENT_LENGTH": "0"}, 400),
    ],
)
def test_body_of_unknown_length(environ: Any, status: int) -> None:
    answer, stream = verify(b"{}", **environ)
    assert answer.status == status
    assert answer.code == {411: "LENGTH_REQUIRED", 400: "VALIDATION_ERROR"}[status]
    assert stream.taken == 0


def test_body_of_a_call_is_the_apps() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 Fine", TEXT)
        return [environ["wsgi.input"].read(4)]

    middleware = wrap(app)
    target = f"/?ott={mint(middleware)}"
    assert ask(middleware, "POST", target, FETCH, b"body").body == b"body"


# Odds and ends of environ.


def test_unknown_status_has_a_phrase_all_the_same() -> None:
    middleware = wrap(Passed(), on_invalid=lambda request, error: Response(499))
    calls = started_by(middleware, "/?ott=dead")
    assert calls[0][0] == "499 Unknown"


def test_phrase_of_a_known_one() -> None:
    assert started_by(wrap(Passed()), "/?ott=dead")[0][0] == "400 Bad Request"


@pytest.mark.parametrize(
    ("path", "environ", "location"),
    [
        ("/x/y", {"RAW_URI": "/x%2Fy?ott=T"}, "./x%2Fy"),
        ("/x/y", {"RAW_URI": "", "REQUEST_URI": "/x%2Fy"}, "./x%2Fy"),
        ("/x/y", {"RAW_URI": "/elsewhere"}, "./y"),
        ("/x", {"RAW_URI": "http://evil.example/x?ott=T"}, "./x"),
        ("http://evil.example/x", {"RAW_URI": "http://evil.example/x"}, "./x"),
        ("/x", {"SCRIPT_NAME": "/m", "RAW_URI": "/m/x"}, "./x"),
        ("/x", {"SCRIPT_NAME": "/m", "RAW_URI": "/x"}, "./x"),
        ("/x", {"SCRIPT_NAME": "//evil.example", "RAW_URI": "/x"}, "./x"),
        ("/caf\xc3\xa9", {"RAW_URI": "/caf%c3%a9"}, "./caf%c3%a9"),
        ("/\u0100", {"RAW_URI": "/"}, "./%3F"),  # what PEP 3333 forbids breaks nothing
    ],
)
def test_location(path: str, environ: Any, location: str) -> None:
    middleware = wrap(Passed())
    made = make_environ("GET", f"/?ott={mint(middleware)}", NAVIGATION)
    made.update({"PATH_INFO": path, **environ})
    assert call_wsgi(middleware, made).location == location


# Colours.


def test_sync_adapters_run_in_the_servers_thread() -> None:
    where: list[int] = []

    class Noting(Members):
        blocks = True

        def current(self, request: Any) -> Any:
            where.append(threading.get_ident())
            return super().current(request)

    middleware = wrap(Passed(), session=Noting(person("alice")))
    ask(middleware, "GET", "/one-time-token/generate", ALICE)
    assert where == [threading.get_ident()]


def test_async_adapters_need_a_thread_without_a_loop() -> None:
    middleware = wrap(Passed(), session=WaitingMembers(person("alice")))

    async def inside() -> None:
        with pytest.raises(RuntimeError, match="event loop"):
            ask(middleware, "GET", "/one-time-token/generate", ALICE)

    asyncio.run(inside())
    assert ask(middleware, "GET", "/one-time-token/generate", ALICE).status == 200


def test_threads_race_one_wins() -> None:
    middleware = wrap(Passed())
    with ThreadPoolExecutor(64) as pool:
        for _ in range(20):
            target = f"/?ott={mint(middleware)}"
            gate = threading.Barrier(64)

            def open_link(target: str = target, gate: threading.Barrier = gate) -> int:
                gate.wait(20)
                return int(ask(middleware, "GET", target, NAVIGATION).status)

            answers = list(pool.map(lambda _: open_link(), range(64)))
            assert sorted(answers) == [303] + [400] * 63


# REMOTE_USER.

SMUGGLED = {
    "REMOTE_USER": "root",
    "AUTH_TYPE": "Basic",
    "HTTP_REMOTE_USER": "root",
    "HTTP_REMOTE-USER": "root",
    "HTTP_X_REMOTE_USER": "root",
    "HTTP_X_FORWARDED_USER": "root",
    "HTTP_X_AUTH_REQUEST_USER": "root",
    "http_x-Remote_User": "root",
}


def naming(adapter: Any) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 Fine", TEXT)
        told = {key: environ[key] for key in environ if "USER" in key.upper() or key == "AUTH_TYPE"}
        return [repr(told).encode("latin-1")]

    return wrap(app, session=adapter)


@pytest.mark.parametrize("target", ["/", "/?a=1", "/?ott=x&ott=y", "/one-time-token/"])
def test_remote_user_of_a_header_is_not_trusted(target: str) -> None:
    adapter = SealedSession(SECRET, remote_user=lambda session: session.user_id, clock=Clock(NOW))
    middleware = naming(adapter)
    environ = make_environ("HEAD", target, carrier=SMUGGLED)
    assert call_wsgi(middleware, environ).body == b"{}"
    value = adapter.start("ali\xe9\u20ac", remember=True).token
    environ = make_environ("HEAD", target, {"cookie": f"ott_session={value}"}, carrier=SMUGGLED)
    call_wsgi(middleware, environ)
    assert environ["REMOTE_USER"].encode("latin-1").decode() == "ali\xe9\u20ac"
    assert not set(SMUGGLED) & set(environ) - {"REMOTE_USER"}


def test_remote_user_is_the_redeemed_user_at_once() -> None:
    adapter = SealedSession(SECRET, remote_user=lambda session: session.user_id, clock=Clock(NOW))
    middleware = naming(adapter)
    token = middleware.flow.tokens.generate(adapter.start("alice", remember=True))
    answer = ask(middleware, "GET", f"/?ott={token}", FETCH, carrier=SMUGGLED)
    assert answer.body == b"{'REMOTE_USER': 'alice'}"


def raises(session: Any) -> Any:
    raise RuntimeError("alice-cookie")


@pytest.mark.parametrize(
    ("hook", "lines"),
    [
        (lambda session: None, 0),
        (lambda session: "", 1),
        (lambda session: "a\r\nb", 1),
        (lambda session: "a\0", 1),
        (lambda session: 7, 1),
        (raises, 1),
    ],
)
def test_name_that_is_none_is_nobodys(
    hook: Any, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = SealedSession(SECRET, remote_user=hook, clock=Clock(NOW))
    value = adapter.start("alice", remember=True).token
    cookie = {"cookie": f"ott_session={value}"}
    assert ask(naming(adapter), "GET", "/", cookie, carrier=SMUGGLED).body == b"{}"
    assert len(main_lines(caplog)) == lines
    assert "alice-cookie" not in caplog.text


# Asking the app who is signed in.


def probing(app: Any) -> WSGIMiddleware:
    return WSGIMiddleware(app, session=CookieSession("sid", probe="/me"), backend=MemoryBackend())


def generate(app: Any, **how: Any) -> Any:
    return ask(probing(app), "GET", "/one-time-token/generate", ALICE, **how)


def test_app_is_asked_in_process() -> None:
    environs: list[Any] = []
    stream = Stream()

    def app(environ: Any, start_response: Any) -> Any:
        environs.append(environ)
        write = start_response("200 Fine", [("Set-Cookie", "x=y")])
        write(b'{"id": "alice"}')
        return stream

    answer = generate(app, mount="/m", scheme="https")
    assert answer.status == 200
    assert answer.all("set-cookie") == []
    assert stream.events == ["a", "b", "closed"]
    (environ,) = environs
    assert (environ["REQUEST_METHOD"], environ["PATH_INFO"]) == ("GET", "/me")
    assert (environ["SCRIPT_NAME"], environ["wsgi.url_scheme"]) == ("/m", "https")
    assert {key: environ[key] for key in environ if key.startswith("HTTP_")} == {
        "HTTP_HOST": HOST,
        "HTTP_ACCEPT": "application/json",
        "HTTP_COOKIE": "sid=alice-cookie",
    }
    assert environ["wsgi.input"].read() == b""


def test_app_that_does_not_answer_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi_probe, "PROBE_SECONDS", 0.01)
    release = threading.Event()
    done = threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        release.wait(20)
        start_response("200 Fine", [])
        done.set()
        return []

    try:
        assert generate(app).code == "SESSION_UNAVAILABLE"
    finally:
        release.set()
        assert done.wait(20)


def test_hanging_questions_are_limited(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wsgi_probe, "MOST_PROBES", 1)
    monkeypatch.setattr(wsgi_probe, "PROBE_SECONDS", 0.01)
    release = threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        release.wait(20)
        start_response("200 Fine", [])
        return []

    middleware = probing(app)
    target = "/one-time-token/generate"
    try:
        for why in ("no response within", "1 are without a response"):
            caplog.clear()
            assert ask(middleware, "GET", target, ALICE).status == 503
            assert why in caplog.text
    finally:
        release.set()
    # Who was left behind gives its place back.
    monkeypatch.setattr(wsgi_probe, "PROBE_SECONDS", 20)
    for _ in range(1000):
        if ask(middleware, "GET", target, ALICE).status == 200:
            break
    else:
        raise AssertionError("the place was not given back")


def test_system_that_gives_no_more_threads(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    middleware = probing(Passed())
    monkeypatch.setattr(wsgi_probe, "MOST_PROBES", 1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            answer = ask(middleware, "GET", "/one-time-token/generate", ALICE)
            assert answer.code == "SESSION_UNAVAILABLE"
    assert caplog.text.count("no thread") == 2


def raising(environ: Any, start_response: Any) -> Any:
    raise RuntimeError("alice-cookie")


def silent(environ: Any, start_response: Any) -> Any:
    return [b"x"]


def exiting(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    raise SystemExit


def cancelled(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    yield b"{"
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("app", "why"),
    [
        (raising, "RuntimeError"),
        (silent, "start_response"),
        (exiting, "SystemExit"),
        (cancelled, "CancelledError"),
    ],
)
def test_app_that_fails_when_it_is_asked(
    app: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert generate(app).code == "SESSION_UNAVAILABLE"
    assert why in caplog.text
    assert "alice-cookie" not in caplog.text


def test_response_to_a_question_is_read_up_to_a_limit() -> None:
    read = 0

    def app(environ: Any, start_response: Any) -> Any:
        nonlocal read
        start_response("200 Fine", [])
        while True:
            read += 1
            yield b" " * 9999

    assert generate(app).status == 200
    assert read == 7


def test_layer_below_lets_the_question_pass() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        assert environ["ott.handle"].redeemed is None
        assert environ["ott.handle"].session is None
        start_response("200 Fine", [])
        return [b'{"id": "alice"}']

    below = WSGIMiddleware(
        app, session=CookieSession("sid", probe="/me"), set_ott_header_on_new_session=True
    )
    assert generate(below).status == 200


def test_app_can_be_asked_outside_of_a_request() -> None:
    hosts: list[str] = []

    def app(environ: Any, start_response: Any) -> Any:
        hosts.append(environ["HTTP_HOST"])
        start_response("401 No", [])
        return []

    middleware = probing(app)
    session = person("x", token='{"sid":"x-cookie"}', expires_at=None)
    token = middleware.flow.tokens.generate(session)
    with pytest.raises(Exception, match="Session not found"):
        middleware.flow.tokens.verify(token)
    assert hosts == ["localhost"]


def test_error_reports_of_a_failing_app_hold_no_token() -> None:
    """Some report an exception with the variables of every caller; this token is a live one."""

    def app(environ: Any, start_response: Any) -> Any:
        raise LookupError

    # A HEAD redeems nothing.
    with pytest.raises(LookupError) as caught:
        wrap(app)(make_environ("HEAD", "/x?ott=live-token"), lambda *_: None)
    frames = [frame for frame, _ in traceback.walk_tb(caught.tb)]
    ours = [frame for frame in frames if "ott_middleware" in frame.f_code.co_filename]
    found = [value for frame in ours for value in frame.f_locals.values()]
    told = [repr(value) + repr(getattr(value, "links", "")) for value in found]
    assert len(told) > 5
    assert "live-token" not in " ".join(told)
