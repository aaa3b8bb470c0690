"""Starlette's sessions: read from its signed cookie, and written as `SessionMiddleware` would."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
import time
from base64 import b64decode, b64encode
from typing import Any

import itsdangerous
import pytest
from fastapi import FastAPI
from harness import NOW, Clock, call_asgi, make_scope, moment
from starlette.applications import Starlette
from starlette.datastructures import Secret
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

from ott_middleware import (
    ASGIMiddleware,
    ConfigurationError,
    MemoryBackend,
    OneTimeTokens,
    Session,
    StarletteSession,
)
from ott_middleware.errors import NoAccount, SessionExpired, SessionNotFound, SessionUnavailable
from ott_middleware.http import Request

SECRET, OTHER = "s" * 32, "another " * 4
TWO_WEEKS = 14 * 86400
NAVIGATION = {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def sealed_by_starlette(values: Any, secret: str = SECRET, at: float | None = None) -> str:
    signer = itsdangerous.TimestampSigner(secret)
    if at is not None:
        signer.get_timestamp = lambda: int(at)  # type: ignore[method-assign]  # the test's clock
    return signer.sign(b64encode(json.dumps(values).encode())).decode()


def asking(cookie: str | None, name: str = "session") -> Request:
    headers = {} if cookie is None else {"cookie": f"{name}={cookie}"}
    return Request("GET", "http", "/", headers=headers)


def adapter(**how: Any) -> StarletteSession:
    return StarletteSession(secret_key=SECRET, **how)


def current(values: Any, **how: Any) -> Session | None:
    return adapter(**how).current(asking(sealed_by_starlette(values)))


# A site: what is in its session can be set and seen from outside.


async def put(request: StarletteRequest) -> JSONResponse:
    request.session.clear()
    request.session.update(await request.json())
    return JSONResponse({})


async def see(request: StarletteRequest) -> JSONResponse:
    return JSONResponse(dict(request.session))


class StarletteSite:
    def __init__(
        self,
        kind: type[Starlette] = Starlette,
        secret: Any = SECRET,
        backend: Any = None,
        **how: Any,
    ) -> None:
        sessions = how.pop("sessions", {})
        self.app = kind(
            routes=[Route("/put", put, methods=["POST"]), Route("/see", see)],
            middleware=[Middleware(SessionMiddleware, secret_key=secret, **sessions)],
        )
        options = {key: how.pop(key) for key in ("revoke_on_sign_out",) if key in how}
        self.ott = ASGIMiddleware(
            self.app,
            session=StarletteSession(self.app, **how) if how else "auto",
            backend=MemoryBackend() if backend is None else backend,
            **options,
        )
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        if self.cookies:
            headers["cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        sent = b"" if body is None else json.dumps(body).encode()
        scope = make_scope(method, path, {"host": "app.example", **headers}, sent)
        messages = [{"type": "http.request", "body": sent}]
        answer = asyncio.run(call_asgi(self.ott, scope, messages))
        for name, value in answer.cookies.items():
            self.cookies[name] = value
            if value in ("", "null"):
                del self.cookies[name]
        return answer

    def sign_in(self, **values: Any) -> None:
        self.ask("POST", "/put", values)

    def token(self) -> str:
        answer = self.ask("GET", "/one-time-token/generate")
        assert answer.status == 200, answer.body
        return str(answer.json()["token"])

    def open(self, token: str) -> Any:
        return self.ask("GET", f"/see?ott={token}", **NAVIGATION)

    def see(self) -> Any:
        return self.ask("GET", "/see").json()


# Who is signed in.


@pytest.mark.parametrize(
    ("values", "user_id"),
    [
        ({"user_id": 7}, "7"),
        ({"user_id": "ada"}, "ada"),
        ({"_user_id": "1", "user_id": "2", "user": "3"}, "1"),
        ({"user": {"id": 7, "name": "Ada"}}, "7"),
        ({"user": {"sub": "google|7"}}, "google|7"),
        ({"user": {"id": "", "sub": "s"}}, "s"),
        ({"user_id": None, "username": "ada"}, "ada"),
        ({"uid": 5}, "5"),
        ({"sub": "x"}, "x"),
    ],
)
def test_user_is_found_under_the_usual_keys(values: Any, user_id: str) -> None:
    session = current(values)
    assert session is not None
    assert session.user_id == user_id
    assert session.user == {"id": user_id}
    assert session.data == {}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"cart": [1]},
        {"user_id": ""},
        {"user_id": 0},
        {"user_id": None},
        {"user_id": True},
        {"user": {}},
        {"user": {"name": "Ada"}},
        {"user": [1]},
        # What any visitor typed.
        {"email": "victim@example.com"},
        [1],
        "ada",
        None,
    ],
)
def test_session_without_a_user_is_none(values: Any) -> None:
    assert current(values) is None


def test_user_option_says_where_the_user_is() -> None:
    assert current({"user_id": 1, "member": 2}, user="member").user_id == "2"  # type: ignore[union-attr]  # it is there
    assert current({"user_id": 1}, user="member") is None
    deep = {"auth": {"who": 3}}
    assert current(deep, user=lambda s: s.get("auth", {}).get("who")).user_id == "3"  # type: ignore[union-attr]  # it is there
    assert current({}, user=lambda s: s.get("auth", {}).get("who")) is None


def test_exposed_fields_are_those_that_are_named() -> None:
    values = {"user_id": 1, "email": "a@b.example", "cart": [1], "csrf": "x"}
    session = current(values, expose=["email", "phone"], data=["cart", "theme"])
    assert session is not None
    assert session.user == {"id": "1", "email": "a@b.example"}
    assert session.data == {"cart": [1]}
    assert session.token not in repr(session)
    mapping = current({"user": {"id": 1, "name": "Ada"}, "email": "e"}, expose=["name", "email"])
    assert mapping is not None
    assert mapping.user == {"id": "1", "name": "Ada"}


def test_session_ends_with_its_signature() -> None:
    clock = Clock(NOW)
    value = sealed_by_starlette({"user_id": 1}, at=clock.now)
    at_first = adapter(clock=clock).current(asking(value))
    assert at_first is not None
    assert at_first.expires_at == moment(int(clock.now) + TWO_WEEKS)
    assert at_first.persistent
    clock.forward(TWO_WEEKS + 1)
    assert adapter(clock=clock).current(asking(value)) is None
    endless = adapter(clock=clock, max_age=None).current(asking(value))
    assert endless is not None
    assert endless.expires_at is None
    assert not endless.persistent
    # As SessionMiddleware has it.
    early = sealed_by_starlette({"user_id": 1}, at=clock.now + 60)
    assert adapter(clock=clock).current(asking(early)) is None


def test_forged_and_foreign_cookies_are_refused() -> None:
    good = sealed_by_starlette({"user_id": 1})
    ours = adapter()
    assert ours.current(asking(good)) is not None
    plain = b64encode(b'{"user_id": 1}').decode()
    signer = itsdangerous.TimestampSigner(SECRET)
    for value in [
        None,
        "",
        "null",
        plain,
        good[:-1],
        good[1:],
        good + "x",
        good.rpartition(".")[0],
        "é.x.y",
        sealed_by_starlette({"user_id": 1}, OTHER),
        itsdangerous.Signer(SECRET).sign(plain.encode()).decode(),
        signer.sign(b"no base 64").decode(),
        signer.sign(b64encode(b"no json")).decode(),
        signer.sign(b64encode(b"\xff")).decode(),
        signer.sign(b64encode(b"[" * 100_000)).decode(),
    ]:
        assert ours.current(asking(value)) is None
    for place in range(0, len(good), 7):
        changed = chr(ord(good[place]) ^ 1)
        forged = good[:place] + changed + good[place + 1 :]
        if changed not in ';"':
            assert ours.current(asking(forged)) is None, place


def test_two_cookies_count_as_the_app_reads_them() -> None:
    first, second = (sealed_by_starlette({"user_id": name}) for name in ("ada", "bob"))
    site = StarletteSite()
    header = {"cookie": f"session={first}; session={second}"}
    seen = site.ask("GET", "/see", **header).json()
    found = adapter().current(Request("GET", "http", "/", headers=header))
    assert found is not None
    assert found.user_id == seen["user_id"]


def test_id_is_one_for_a_user_s_sessions_and_reveals_nothing() -> None:
    one = current({"user_id": 1, "a": 1})
    other = current({"user_id": 1, "a": 2})
    third = current({"user_id": 2})
    assert one is not None
    assert other is not None
    assert third is not None
    assert one.id == other.id != third.id


# What is told to the adapter.


def test_options_are_those_of_the_app_s_middleware() -> None:
    class Own(SessionMiddleware):
        pass

    # Starlette has not always had it.
    known = inspect.signature(SessionMiddleware).parameters
    partitioned: Any = {"partitioned": True} if "partitioned" in known else {}
    app = FastAPI()
    app.add_middleware(
        Own,
        secret_key=Secret(SECRET),
        session_cookie="sid",
        max_age=60,
        path="/shop",
        same_site="strict",
        https_only=True,
        domain="app.example",
        **partitioned,
    )
    found = StarletteSession.of_app(app)
    assert found.secrets() == [SECRET.encode()]
    assert found.cookie_names == ("sid",)
    assert found.strict
    session = Session("s", "value", user_id="1")
    [cookie] = found.establish(session, asking(None))
    assert cookie.header()[1] == (
        "sid=value; Max-Age=60; Domain=app.example; Path=/shop; Secure; HttpOnly; "
        "SameSite=Strict" + "; Partitioned" * len(partitioned)
    )


def test_middleware_is_found_in_a_partial_and_by_itself() -> None:
    app = Starlette()
    app.add_middleware(functools.partial(SessionMiddleware, session_cookie="sid"), secret_key="x")
    assert StarletteSession(app).cookie_names == ("sid",)

    async def nothing(scope: Any, receive: Any, send: Any) -> None: ...

    layer = SessionMiddleware(nothing, "x", session_cookie="own")
    assert StarletteSession(layer).cookie_names == ("own",)
    assert StarletteSession.of_app(layer).cookie_names == ("own",)


def test_secrets_of_a_rotation_open_and_the_newest_signs() -> None:
    async def nothing(scope: Any, receive: Any, send: Any) -> None: ...

    layer = SessionMiddleware(nothing, "x")
    layer.signer = itsdangerous.TimestampSigner([OTHER, SECRET])
    rotating = StarletteSession(layer)
    assert rotating.secrets() == [SECRET.encode(), OTHER.encode()]
    assert rotating.current(asking(sealed_by_starlette({"user_id": 1}, OTHER))) is not None
    [cookie] = rotating.begin(Session("s", "", user_id="1"), asking(None))
    assert adapter().current(asking(cookie.value)) is not None


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "pass the app, or secret_key="),
    ({"secret_key": ""}, "secret_key: is empty"),
    ({"secret_key": "x", "no_such": 1}, "secret_key, no_such: pass what this Starlette"),
    ({"secret_key": "x", "same_site": "none"}, "SameSite=None without Secure"),
    ({"secret_key": "x", "max_age": 0}, "max_age: 0"),
    ({"secret_key": "x", "session_cookie": "a b"}, "cookie name"),
    ({"secret_key": "x", "user": ""}, "user: ''; pass the name of a key"),
    ({"secret_key": "x", "user": 7}, "user: 7; pass the name of a key"),
    ({"secret_key": "x", "user": id, "match": "id"}, "match: 'id'; since user= is a function"),
    ({"secret_key": "x", "data": ["user_id"]}, "data: 'user_id' may name the signed-in user"),
    ({"secret_key": "x", "data": ["m"], "user": "m"}, "data: 'm' may name the signed-in user"),
    ({"app": Starlette()}, "has no SessionMiddleware; add it before the app is wrapped"),
    ({"app": Starlette(), "secret_key": "x"}, "secret_key: leave out what the app's own"),
]


@pytest.mark.parametrize(("how", "why"), REFUSED)
def test_arguments_that_cannot_work_are_refused(how: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        StarletteSession(**how)
    assert why in str(caught.value)


def test_app_without_session_middleware_is_refused() -> None:
    app = Starlette()
    app.add_middleware(functools.partial(lambda app: app))  # a factory that is no class
    with pytest.raises(ConfigurationError, match="has no SessionMiddleware"):
        StarletteSession.of_app(app)


# Handoffs.


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_shared_cookie_signs_in_at_the_other_site(kind: type[Starlette]) -> None:
    backend = MemoryBackend()
    source, target = StarletteSite(kind, backend=backend), StarletteSite(kind, backend=backend)
    source.sign_in(user_id=7, cart=[1])
    token = source.token()
    answer = target.open(token)
    assert (answer.status, answer.location) == (303, "./see")
    # The same values and the same date, with the session's end beside them.
    dates = [c.cookies["session"].split(".")[1] for c in (source, target)]
    assert dates[0] == dates[1]
    assert opened(target.cookies["session"]) == opened(source.cookies["session"])
    assert target.see() == {"user_id": 7, "cart": [1]}
    attributes = answer.cookie("session")
    assert attributes >= {"Path=/", "HttpOnly", "SameSite=Lax"}
    assert any(each.startswith("Max-Age=12") for each in attributes)
    assert StarletteSite(kind, backend=backend).open(token).status == 400


def test_fork_holds_the_user_and_the_named_data() -> None:
    backend = MemoryBackend()
    source = StarletteSite(backend=backend)
    target = StarletteSite(backend=backend, mode="fork", data=["cart"])
    source.sign_in(user={"id": 7, "name": "Ada"}, cart=[1], csrf="x")
    target.sign_in(planted="by the visitor")
    before = dict(target.cookies)
    target.open(source.token())
    assert target.cookies["session"] not in (before["session"], source.cookies["session"])
    assert target.see() == {"user": {"id": 7, "name": "Ada"}, "cart": [1]}
    # Signing out here leaves the other signed in.
    target.ask("POST", "/put", {})
    assert target.see() == {}
    assert source.see()["csrf"] == "x"


def test_fork_by_a_function_has_all_of_the_session() -> None:
    ours = adapter(mode="fork", user=lambda s: s.get("auth", {}).get("who"))
    session = ours.current(asking(sealed_by_starlette({"auth": {"who": 7}, "x": 1})))
    assert session is not None
    alive = ours.resolve(ours.expose(session))
    assert isinstance(alive, Session)
    [cookie] = ours.establish(alive, asking(None))
    assert opened(cookie.value) == {"auth": {"who": 7}, "x": 1}


def opened(value: str, secret: str = SECRET) -> Any:
    """What is in a cookie, but for the end."""
    unsigned = itsdangerous.TimestampSigner(secret).unsign(value)
    values = json.loads(b64decode(unsigned))
    values.pop("_ott_expires_at", None)
    return values


def test_fork_never_outlives_its_parent() -> None:
    clock = Clock(NOW)
    ours = adapter(mode="fork", clock=clock)
    session = ours.current(asking(sealed_by_starlette({"user_id": 1}, at=clock.now)))
    assert session is not None
    exposed = ours.expose(session)
    clock.forward(100_000)
    alive = ours.resolve(exposed)
    assert isinstance(alive, Session)
    assert alive.token == ""
    [cookie] = ours.establish(alive, asking(None))
    forked = ours.current(asking(cookie.value))
    assert forked is not None
    assert forked.expires_at == session.expires_at


def test_data_is_decoded_at_the_source_and_signed_at_the_target() -> None:
    backend = MemoryBackend()
    source = StarletteSite(backend=backend, data=("cart",), expose=["email"])
    target = StarletteSite(secret=OTHER, backend=backend, data=("cart",), match="id")
    source.sign_in(user_id="ada", cart={"apples": 3}, email="e", csrf="secret")
    target.open(source.token())
    assert target.see() == {"user_id": "ada", "cart": {"apples": 3}}
    value = target.cookies["session"]
    assert opened(value, OTHER) == target.see()
    assert adapter().current(asking(value)) is None


def test_match_missing_refuses_other_sites(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = MemoryBackend()
    source, target = StarletteSite(backend=backend), StarletteSite(secret=OTHER, backend=backend)
    source.sign_in(user_id="ada")
    answer = target.open(source.token())
    assert answer.status == 400
    assert target.cookies == {}
    assert "pass match=" in caplog.text


def arriving(**values: Any) -> Session:
    return Session("there", "django.sealed;", user_id="7", **values)


def test_match_hook_returns_an_id_or_values() -> None:
    for match, values in [
        (lambda s: int(s.user_id), {"user_id": 7}),
        (lambda s: {"user": {"id": int(s.user_id), "role": "x"}}, {"user": {"id": 7, "role": "x"}}),
    ]:
        ours = adapter(match=match, data=["cart"])
        alive = ours.resolve(arriving(data={"cart": 1, "role": "admin"}))
        assert isinstance(alive, Session)
        assert alive.user_id == "7"
        assert alive.user == {"id": "7"}
        assert "role" not in alive.data
        [cookie] = ours.establish(alive, asking(None))
        assert opened(cookie.value) == {**values, "cart": 1}


async def matched_later(session: Session) -> Any:
    await asyncio.sleep(0)
    return {"who": session.user_id}


def test_match_hook_with_a_function_for_the_user() -> None:
    ours = adapter(user=lambda s: s.get("who"), match=lambda s: {"who": s.user_id, "x": 1})
    alive = ours.resolve(arriving())
    assert isinstance(alive, Session)
    [cookie] = ours.establish(alive, asking(None))
    assert opened(cookie.value) == {"who": "7", "x": 1}
    waiting = adapter(user="who", match=matched_later)
    later: Any = waiting.resolve(arriving())
    found = asyncio.run(later)
    assert found.user_id == "7"
    [cookie] = waiting.establish(found, asking(None))
    assert opened(cookie.value) == {"who": "7"}


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"match": lambda s: {"nobody": 1}}, "finds no user"),
        ({"match": lambda s: object()}, "match returned a object; return a mapping of the session"),
        ({"match": lambda s: 1.5}, "match returned a float"),
        ({"match": lambda s: 7, "user": lambda s: s.get("w")}, "a int; return a mapping"),
        ({"match": lambda s: None}, None),
        ({"match": "email", "user": "email"}, None),
    ],
)
def test_match_without_a_local_user_is_refused(
    how: dict[str, Any], told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(NoAccount):
        adapter(**how).resolve(arriving())
    assert (told or "") in caplog.text


def test_data_never_names_the_signed_in_user() -> None:
    # Only the function knows where the user is, so that the names of data cannot be checked.
    ours = adapter(user=lambda s: s.get("admin") or s.get("who"), data=["admin"], match=dict)
    session = Session("s", "", user_id="7", data={"admin": "root", "who": "7"})
    with pytest.raises(SessionUnavailable, match="name another user"):
        ours.begin(session, asking(None))


def test_data_counts_after_what_the_match_hook_returns() -> None:
    ours = adapter(data=["role"], match=lambda s: {"user_id": 7, "role": "guest"})
    alive = ours.resolve(arriving(data={"role": "admin"}))
    assert isinstance(alive, Session)
    [cookie] = ours.establish(alive, asking(None))
    assert opened(cookie.value) == {"user_id": 7, "role": "guest"}


def test_session_too_large_for_a_cookie_fails() -> None:
    ours = adapter(data=["cart"])
    with pytest.raises(SessionUnavailable, match="larger than a cookie"):
        ours.begin(Session("s", "", user_id="7", data={"cart": "x" * 4000}), asking(None))


def test_session_that_has_ended_meanwhile() -> None:
    clock = Clock(NOW)
    ours = adapter(clock=clock)
    backend = MemoryBackend(clock=clock)
    tokens = OneTimeTokens(backend, sessions=ours, expires_in=60 * 24 * 30)
    session = ours.current(asking(sealed_by_starlette({"user_id": 1}, at=clock.now)))
    assert session is not None
    token = tokens.generate(session)
    clock.forward(TWO_WEEKS + 1)
    with pytest.raises(SessionExpired):
        tokens.verify(token)
    with pytest.raises(SessionExpired):
        ours.alive(session)


def test_cookie_that_names_another_user_now() -> None:
    ours = adapter()
    session = ours.current(asking(sealed_by_starlette({"user_id": 1})))
    assert session is not None
    changed = Session(session.id, session.token, user_id="2")
    assert ours.resolve(ours.expose(changed)) is None
    gone = Session(session.id, "no such cookie", user_id="1")
    assert ours.resolve(ours.expose(gone)) is None
    tokens = OneTimeTokens(MemoryBackend(), sessions=ours)
    with pytest.raises(SessionNotFound):
        tokens.verify(tokens.generate(changed))


def test_revoked_at_sign_out() -> None:
    backend = MemoryBackend()
    source = StarletteSite(backend=backend, revoke_on_sign_out=True)
    target = StarletteSite(backend=backend)
    source.sign_in(user_id="ada")
    token = source.token()
    source.ask("POST", "/put", {})
    assert target.open(token).status == 400
    assert target.cookies == {}


def test_anonymous_session_gets_no_token_and_leaves_nothing() -> None:
    backend = MemoryBackend()
    site = StarletteSite(backend=backend)
    site.sign_in(cart=[1])
    assert site.cookies
    assert site.ask("GET", "/one-time-token/generate").code == "UNAUTHORIZED"
    site.cookies["session"] = sealed_by_starlette({"user_id": 1}, OTHER)
    assert site.ask("GET", "/one-time-token/generate").code == "UNAUTHORIZED"
    assert len(backend) == 0


def test_session_not_to_be_remembered_is_not() -> None:
    backend = MemoryBackend()
    how: dict[str, Any] = {"sessions": {"max_age": None}, "backend": backend}
    source, target = StarletteSite(**how), StarletteSite(**how)
    source.sign_in(user_id="ada")
    answer = target.open(source.token())
    assert not any(each.startswith(("Max-Age", "Expires")) for each in answer.cookie("session"))
    forgetful = StarletteSite(secret=OTHER, backend=backend, match="id")
    answer = forgetful.open(source.token())
    assert not any(each.startswith(("Max-Age", "Expires")) for each in answer.cookie("session"))
    assert forgetful.see() == {"user_id": "ada"}


def test_adapter_needs_no_thread_and_no_wait() -> None:
    assert not adapter().blocks
    began = time.perf_counter()
    assert current({"user_id": 1}) is not None
    assert time.perf_counter() - began < 1
