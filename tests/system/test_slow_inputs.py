"""What a client can make the middleware spend: processor time for 64 kB of text in any field.

A client without an account must not be able to hold a worker. What counts is the time of a request
less that of the bare app for the same request, which parses with its own framework what it likes.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import log_watch
import pytest
from harness import (
    FETCH,
    NAVIGATION,
    SECRET,
    Members,
    Reply,
    Seen,
    World,
    call_asgi,
    call_wsgi,
    make_environ,
    make_scope,
    messages_of,
    person,
)
from sessions.sites import make_django_people

from ott_middleware import (
    CookieSession,
    DjangoSession,
    FlaskSession,
    SealedSession,
    Session,
    StarletteSession,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("untraced")]

FULL, HALF = 64 * 1024, 32 * 1024
MOST = 0.020  # seconds
# What is this quick is not compared: it is the price of any request, and the clock's own grain.
QUICK = 0.006
TIMES_HARMLESS, TIMES_HALF = 3, 2.6
# What holds in one of so many rounds holds: a reader in quadratic time fails in all.
ROUNDS = 4

DEAD = "A" * 32
HARMLESS_IN = {"cookie": "a=b; ", "referer": "k=v&"}

# What parsers stumble over, to be repeated. Most are blanks to some pattern, openings without an
# end, escapes, or separators with nothing between them.
FILLINGS = (
    *" \t\\\"=;,%&([*'./@:?#<{|~+-_!0A",
    *("\x01", "\x7f", "\x85", "\xa0", "\xe9", "\xff", "\xc3\xa9", "\xe2\x80\x83"),
    *('\\"', '\\\\"', '"a\\', '"a', '" ', '"=', '="', '";', '",', "\\;", "\\,"),
    *("\\012", "\\u0041", "%2", "%6f", "%6ftt=", "%u0", "&#x;"),
    *("a=", "q=", "a;b=", "a=b;", "a; ", "; ", " ;", ";=", "=;", ", ", " ,", ";q=0,", ",;"),
    *("a ", " a", "\t ", "\xa0;", "a=\xa0", "sid=", "sid=;", "sid ", "; sid", "sid=a; ", "sid;"),
    *("//", "/./", "/../", "a.", ".a", "YQ.", "-_", "a://", "://", "::1]", "@:", "a/b,", "*/*,"),
    *("&ott", "&ott=", "&ot", "?ott=#", "#ott=", ";ott=a", "&%6ftt=a", "&ott=" + DEAD),
    *(";a*0*=", ";a*=utf-8''%20", ";a*1=b", 'a="b\\;', 'a="b";', "text/html,", "text/html;q=0.1,"),
    *("Wed, 09 Jun 2021 ", "Expires=", "1970 ", "+0000", "[[]]", '{"a":', "[{", '"\\ud800"', "1e9"),
)
# Of these, what parsers of cookies may stumble over: frameworks take longer for any request.
COOKIE_FILLINGS = (
    *' \t\\"=;,.%|A\xa0\xe9',
    *('\\"', '"a\\', '" ', '="', '";', "\\;", "\\012", "a;b=", "; ", "=;", "\xa0;", "YQ.", "-_"),
    *("sid=;", "; sid=a", "sid ", "sessionid=;", "; remember=a|b"),
)
# A parser may need a beginning, and an end that is not what it looks for.
FRAMES = ("a{}b",)


def full_of(filling: str, size: int, frame: str = "{}") -> str:
    return frame.replace("{}", (filling * (size // len(filling) + 1))[:size])


# Sites, and what they are asked.

# Method, target, headers, body.
Asked = tuple[str, str, dict[str, str], bytes]


@dataclass
class Timed:
    """An app, wrapped and bare."""

    interface: str
    wrapped: Any
    bare: Any

    def seconds(self, app: Any, asked: Asked) -> float:
        """The processor time of one request, threads included."""
        method, target, headers, body = asked
        if self.interface == "wsgi":
            environ = make_environ(method, target, headers, body)
            started = time.process_time()
            _consume(app(environ, lambda *_: None))
            return time.process_time() - started
        scope, messages = make_scope(method, target, headers, body), messages_of(body)

        async def receive() -> Any:
            return messages.pop(0) if messages else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            pass

        loop = asyncio.new_event_loop()
        try:
            called = app(scope, receive, send)
            started = time.process_time()
            loop.run_until_complete(called)
            return time.process_time() - started
        finally:
            loop.close()

    def status(self, asked: Asked) -> int:
        method, target, headers, body = asked
        if self.interface == "wsgi":
            return call_wsgi(self.wrapped, make_environ(method, target, headers, body)).status
        scope = make_scope(method, target, headers, body)
        return asyncio.run(call_asgi(self.wrapped, scope, messages_of(body))).status

    def excess(self, asked: Callable[[], Asked], *, tries: int = 4) -> float:
        """What the middleware adds to a request of the app."""
        spent = self.seconds(self.wrapped, asked())
        # Quick enough for anything, or so slow that nobody need look twice.
        if not QUICK < spent < 10 * MOST:
            return spent
        spent = min(spent, *(self.seconds(self.wrapped, asked()) for _ in range(tries)))
        return spent - min(self.seconds(self.bare, asked()) for _ in range(tries))


def _consume(chunks: Any) -> None:
    try:
        b"".join(chunks)
    finally:
        getattr(chunks, "close", lambda: None)()


def slow_ones(
    site: Timed,
    request_of: Callable[[str], Asked],
    harmless: str,
    fillings: tuple[str, ...] = FILLINGS,
) -> Iterator[tuple[str, str]]:
    """The fillings, and what is around them, with which a request is not quick."""
    for filling in fillings:
        for frame in FRAMES:
            text = full_of(filling, FULL, frame)
            spent = site.excess(lambda text=text: request_of(text))
            # Less than the closer look allows: a sign-in of Django's writes to a database, and is
            # not quick with any text.
            if spent > QUICK and spent > 2 * site.excess(
                lambda: request_of(full_of(harmless, FULL))
            ):
                yield filling, frame


def complaints(
    site: Timed,
    request_of: Callable[[str], Asked],
    harmless: str,
    *,
    fillings: tuple[str, ...] = FILLINGS,
    frames: tuple[str, ...] = FRAMES,
) -> list[str]:
    """The fillings of a field that cost too much, and how."""
    found = []
    for filling in fillings:
        for frame in frames:
            whole, half = full_of(filling, FULL, frame), full_of(filling, HALF, frame)
            for _ in range(ROUNDS):
                spent = site.excess(lambda whole=whole: request_of(whole))
                if spent <= QUICK:
                    break
                # Measured in the same moment: the machine may be slow for seconds.
                most = TIMES_HARMLESS * site.excess(lambda: request_of(full_of(harmless, FULL)))
                least = TIMES_HALF * site.excess(lambda half=half: request_of(half))
                # What the request takes whatever its text is no price of the text.
                limit = MOST + site.excess(lambda: request_of("a"))
                if spent <= min(limit, max(QUICK, most), max(QUICK, least)):
                    break
            else:
                found.append(
                    f"{frame.replace('{}', filling)!r}: {spent * 1000:.1f} ms, of "
                    f"{limit * 1000:.0f}, {most * 1000:.1f} (harmless) and {least * 1000:.1f} "
                    f"(half)"
                )
    return found


@pytest.fixture(autouse=True)
def _no_collection(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # The watch of the log keeps each cookie of each request, which takes longer than all else.
    monkeypatch.setattr(log_watch, "watches", [])
    gc.disable()
    yield
    gc.enable()


def plain(interface: str) -> Timed:
    site = World(interface).serve(
        session=Members(person("alice"), samesite="Strict"),
        trusted_origins=["https://front.example", "https://*.example.com"],
    )
    bare = site._asgi if interface == "asgi" else site._wsgi
    return Timed(interface, site.middleware, bare)


LINK = f"/?ott={DEAD}"
VERIFY = b'{"token":"%s"}' % DEAD.encode()
DOORS: dict[str, Asked] = {
    "page": ("GET", LINK, {}, b""),
    "link": ("GET", LINK, NAVIGATION, b""),
    "call": ("GET", LINK, FETCH, b""),
    "generate": ("GET", "/one-time-token/generate", {}, b""),
    "verify": ("POST", "/one-time-token/verify", {"content-type": "application/json"}, VERIFY),
    "form": (
        "POST",
        f"/?ott=confirm.{DEAD}",
        {
            **NAVIGATION,
            "sec-fetch-site": "same-origin",
            "content-type": "application/x-www-form-urlencoded",
        },
        b"nonce=" + DEAD.encode(),
    ),
    "preflight": (
        "OPTIONS",
        "/one-time-token/verify",
        {"origin": "https://front.example"},
        b"",
    ),
}
# By the second kind a request is refused, or read in another way: apart, so that all are read.
HARMLESS_HEADERS = (
    *("accept", "accept-language", "access-control-request-headers", "authorization", "cookie"),
    *("forwarded", "host", "if-none-match", "purpose", "range", "referer", "sec-fetch-user"),
    *("sec-purpose", "user-agent", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
    *("x-forwarded-uri", "x-moz", "x-original-url", "x-rewrite-url"),
)
DECIDING_HEADERS = (
    *("content-length", "content-type", "origin", "sec-fetch-dest", "sec-fetch-mode"),
    "sec-fetch-site",
)


def with_header(door: str, name: str) -> Callable[[str], Asked]:
    method, target, headers, body = DOORS[door]
    return lambda value: (method, target, {**headers, name: value}, body)


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
class TestPlainApp:
    """What the package reads itself, whatever the adapter."""

    @pytest.mark.parametrize("door", DOORS)
    def test_headers(self, interface: str, door: str) -> None:
        site = plain(interface)

        def all_of(names: tuple[str, ...]) -> Callable[[str], Asked]:
            method, target, headers, body = DOORS[door]
            return lambda text: (method, target, {**headers, **dict.fromkeys(names, text)}, body)

        refuse(
            (name, complaint)
            # Most fillings cost little in all headers at once: only others are looked at closely.
            for names in (HARMLESS_HEADERS, DECIDING_HEADERS)
            for filling, frame in slow_ones(site, all_of(names), "x,")
            for name in names
            for complaint in complaints(
                site, with_header(door, name), "x,", fillings=(filling,), frames=(frame,)
            )
        )

    @pytest.mark.parametrize("door", ["page"])
    def test_target(self, interface: str, door: str) -> None:
        site = plain(interface)
        method, target, headers, body = DOORS[door]
        path, mark, query = target.partition("?")

        def as_path(text: str) -> Asked:
            return method, f"/{as_bytes_of_a_target(text, '?#')}{mark}{query}", headers, body

        def as_query(text: str) -> Asked:
            text = as_bytes_of_a_target(text, "#")
            return method, f"{path}?{text}&{query}", headers, body

        def as_last(text: str) -> Asked:
            text = as_bytes_of_a_target(text, "#")
            return method, f"{path}?{query}&{text}", headers, body

        def as_value(text: str) -> Asked:
            return method, f"{path}?ott={as_bytes_of_a_target(text, '#')}", headers, body

        readers = {"query": as_query, "query behind": as_last, "value": as_value}
        if mark:
            readers["path"] = as_path
        refuse(
            (name, complaint)
            for name, reader in readers.items()
            for complaint in complaints(site, reader, "k=v&")
        )

    def test_body(self, interface: str) -> None:
        site = plain(interface)
        method, target, headers, _ = DOORS["verify"]

        def as_body(text: str) -> Asked:
            return method, target, headers, text.encode("latin-1", "replace")[: 16 * 1024]

        def as_token(text: str) -> Asked:
            inside = text.encode("latin-1", "replace")[: 16 * 1024 - 20]
            return method, target, headers, b'{"token":"' + inside + b'"}'

        refuse(
            (name, complaint)
            for name, reader in (("body", as_body), ("token", as_token))
            for complaint in complaints(site, reader, "k=v&")
        )

    def test_copies_of_the_link(self, interface: str) -> None:
        """Marks, separators and blanks by the thousand, in what may hold a copy of the target."""
        site = plain(interface)
        frame = f"/?ott={DEAD}&{{}}&x"
        for filling in ("/?&ott=A ", "&", "&;", f"&ott={DEAD[:16]}", f"; /?ott={DEAD}"):
            for name in ("user-agent", "x-forwarded-uri"):
                headers = {name: full_of(filling, FULL, frame)}
                spent = site.excess(lambda headers=headers: ("GET", LINK, headers, b""))
                assert spent < 0.8 * MOST, f"{name}, {filling!r}: {spent * 1000:.1f} ms"

    def test_many_headers_of_one_name(self, interface: str) -> None:
        if interface == "wsgi":
            return  # servers have joined them by then
        site = plain(interface)

        def asked(count: int) -> Callable[[], Asked]:
            pairs: Any = [("accept", "a"), *[("x", "")] * count]
            return lambda: ("GET", LINK, pairs, b"")

        for _ in range(ROUNDS):
            half, whole = site.excess(asked(FULL // 8)), site.excess(asked(FULL // 4))
            if whole <= MOST and whole <= max(QUICK, TIMES_HALF * half):
                return
        raise AssertionError(f"{whole * 1000:.1f} ms, and {half * 1000:.1f} for half as many")


def as_bytes_of_a_target(text: str, ends: str) -> str:
    """What a server lets through in a target, of which `ends` would begin another part."""
    for end in ends:
        text = text.replace(end, f"%{ord(end):02x}")
    return text.encode("utf-8").decode("latin-1") if max(text) > "\xff" else text


def refuse(found: Any) -> None:
    lines = [f"{name}: {complaint}" for name, complaint in found]
    assert not lines, "\n".join(["64 kB of", *lines])


# The adapters.


def cookie_app(interface: str) -> Timed:
    return _of_world(interface, session=CookieSession("sid", probe="/probe"))


def sealed_app(interface: str) -> Timed:
    return _of_world(interface, session=SealedSession(SECRET, name="sid"))


def is_probe_of_a_dead_session(seen: Seen) -> bool:
    return seen.path == "/probe" and seen.headers.get("cookie") != "sid=x"


def _of_world(interface: str, **options: Any) -> Timed:
    def app(seen: Seen) -> Reply:
        if seen.path == "/session":
            _ = seen.carrier.get("ott.handle") and seen.ott.session
        return Reply(401 if is_probe_of_a_dead_session(seen) else 200)

    async def async_app(seen: Seen) -> Reply:
        if seen.path == "/session" and "ott" in seen.carrier:
            await seen.ott.asession()
        return Reply(401 if is_probe_of_a_dead_session(seen) else 200)

    if interface == "asgi":
        app = async_app  # type: ignore[assignment]  # either will do
    site = World(interface).serve(app, **options)
    bare = site._asgi if interface == "asgi" else site._wsgi
    return Timed(interface, site.middleware, bare)


def flask_app(interface: str, *, login: bool = False) -> Timed:
    from flask import Flask
    from flask_login import LoginManager, UserMixin

    class Member(UserMixin):  # type: ignore[misc]  # its base has no types
        id = "1"

    app = Flask("slow")
    app.secret_key = SECRET
    app.config["SESSION_COOKIE_NAME"] = "sid"
    if login:
        app.config["REMEMBER_COOKIE_NAME"] = "remember"
        LoginManager(app).user_loader(lambda _: Member())
    return _of_world(interface, session=FlaskSession(app, match="id"))


def flask_login_app(interface: str) -> Timed:
    return flask_app(interface, login=True)


def starlette_app(interface: str) -> Timed:
    # The app reads nothing: Starlette's own parser takes seconds for some of these cookies.
    adapter = StarletteSession(secret_key=SECRET, session_cookie="sid", match="id")
    return _of_world(interface, session=adapter)


def django_app(interface: str) -> Timed:
    make_django_people()
    # The app reads nothing: Django's own parser takes seconds for some of these cookies.
    return _of_world(interface, session=DjangoSession(mode="fork", match="id"))


ADAPTERS: dict[str, tuple[Callable[[str], Timed], str, tuple[str, ...]]] = {
    "cookie": (cookie_app, "asgi", ("sid",)),
    "cookie-wsgi": (cookie_app, "wsgi", ("sid",)),
    "sealed": (sealed_app, "asgi", ("sid",)),
    "sealed-wsgi": (sealed_app, "wsgi", ("sid",)),
    "flask": (flask_app, "wsgi", ("sid",)),
    "flask-login": (flask_login_app, "wsgi", ("sid", "remember")),
    "starlette": (starlette_app, "asgi", ("sid",)),
    "django": (django_app, "wsgi", ("sessionid",)),
    "django-asgi": (django_app, "asgi", ("sessionid",)),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
class TestAdapters:
    """What an adapter reads, and what it makes its framework read."""

    @pytest.mark.parametrize("door", ["link", "session"])
    def test_cookies(self, adapter: str, door: str) -> None:
        make, interface, names = ADAPTERS[adapter]
        site = make(interface)
        method, target, headers, body = {**DOORS, "session": ("GET", "/session", {}, b"")}[door]

        def reader(before: str, after: str = "") -> Callable[[str], Asked]:
            return lambda text: (
                method,
                target,
                {**headers, "cookie": f"{before}{text}{after}"},
                body,
            )

        readers = {}
        for name in names:
            readers[f"{name} quoted"] = reader(f'{name}="', '"')
            readers[f"{name} and more"] = reader(f"{name}=a; ")
        refuse(
            (where, complaint)
            for where, read in readers.items()
            for complaint in complaints(
                site, read, "a=b; ", fillings=COOKIE_FILLINGS, frames=("{}",)
            )
        )

    def test_establish(self, adapter: str) -> None:
        """A live token in a request of which everything else is hostile."""
        make, interface, _ = ADAPTERS[adapter]
        site = make(interface)
        tokens = site.wrapped.flow.tokens
        session = Session(id="s", token="" if "cookie" not in adapter else "x", user_id="1")

        def reader(*fields: str) -> Callable[[str], Asked]:
            def asked(text: str) -> Asked:
                target = f"/?ott={tokens.generate(session)}"
                return "GET", target, {**NAVIGATION, **dict.fromkeys(fields, text)}, b""

            return asked

        assert site.status(reader("accept")("text/html")) == 303
        fields = ("accept", "content-type", "cookie", "user-agent", "x-forwarded-for")
        refuse(
            (name, complaint)
            for filling, frame in slow_ones(site, reader(*fields), "a=b; ", COOKIE_FILLINGS)
            for name in fields
            for complaint in complaints(
                site, reader(name), "a=b; ", fillings=(filling,), frames=(frame,)
            )
        )


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
@pytest.mark.parametrize("door", ["link", "generate"])
def test_numbered_cookies(interface: str, door: str) -> None:
    """Sixteen names, each of which the header has, are read as quickly as one."""
    one, sixteen = (
        _of_world(interface, session=CookieSession(name, probe="/probe"))
        for name in ("token_0", "token_*")
    )
    method, target, headers, body = DOORS[door]
    named = "".join(f"token_{number}=a; " for number in range(16))
    for filling in (";", "; ", "=;", "a=b; ", "token_1;"):
        cookies = {"cookie": named + full_of(filling, FULL)}

        def asked(cookies: dict[str, str] = cookies) -> Asked:
            return method, target, {**headers, **cookies}, body

        for _ in range(ROUNDS):
            spent = sixteen.excess(asked)
            if spent <= max(QUICK, TIMES_HARMLESS * one.excess(asked)):
                break
        else:
            raise AssertionError(f"{filling!r}: {spent * 1000:.1f} ms")
