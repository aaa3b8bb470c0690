"""Who arrives, and for how long, is what the source sealed: nothing outside of the seal changes it.

The attacker has an account, and can write to the token store. They have no secret of a site.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import flask
import pytest
from flask.sessions import SecureCookieSessionInterface
from harness import moment

from ott_middleware import FlaskSession, Session, StarletteSession
from ott_middleware.context import Bounds, using_bounds
from ott_middleware.errors import SessionExpired
from ott_middleware.http import Request

from .club import ClubSession
from .test_starlette import sealed_by_starlette

SECRET, OTHER = "s" * 32, "another " * 4
MALLORY = {"user": {"id": "mallory", "email": "mallory@example.com"}}


def asking(cookie: str | None = None) -> Request:
    headers = {} if cookie is None else {"cookie": f"session={cookie}"}
    return Request("GET", "http", "/", headers=headers)


def flask_app(secret: str = SECRET) -> flask.Flask:
    app = flask.Flask(__name__)
    app.secret_key = secret
    return app


def flask_cookie(values: Mapping[str, Any]) -> str:
    serializer = SecureCookieSessionInterface().get_signing_serializer(flask_app())
    assert serializer is not None
    cookie = serializer.dumps(dict(values))
    assert isinstance(cookie, str)
    return cookie


def flask_session(secret: str = SECRET, **how: Any) -> FlaskSession:
    return FlaskSession(flask_app(secret), expose=["email"], **how)


def starlette_session(secret: str = SECRET, **how: Any) -> StarletteSession:
    return StarletteSession(secret_key=secret, expose=["email"], **how)


KINDS: list[tuple[Callable[..., Any], Callable[..., str]]] = [
    (flask_session, flask_cookie),
    (starlette_session, sealed_by_starlette),
]


def exposed(source: Any, cookie: str) -> Session:
    """Mallory's own session, as it leaves the source with a token."""
    session = source.current(asking(cookie))
    assert session is not None
    assert session.user_id == "mallory"
    left = source.expose(session)
    assert isinstance(left, Session)
    return left


# What the attacker writes beside the sealed cookie of their own session.
FORGERIES: list[dict[str, Any]] = [
    {"user_id": "alice"},
    {"user": {"id": "alice", "email": "alice@example.com"}},
    {"user": {"id": "mallory", "email": "alice@example.com"}},
    {"user_id": "alice", "user": {"id": "alice", "email": "alice@example.com"}},
    {"expires_at": None},
    {"expires_at": moment(time.time() + 10**9)},
    {"persistent": True},
    {"id": "of another session"},
    {"created_at": moment(time.time() + 10**9)},
]


def resolved(adapter: Any, session: Session) -> Session | None:
    found = adapter.resolve(session)
    if inspect.isawaitable(found):

        async def wait() -> Any:
            return await found

        found = asyncio.run(wait())
    assert found is None or isinstance(found, Session)
    return found


def later(match: Callable[[Session], Any]) -> Any:
    async def match_later(session: Session) -> Any:
        await asyncio.sleep(0)
        return match(session)

    return match_later


def email_of(session: Session) -> Any:
    return (session.user or {}).get("email")


MATCHES: list[Any] = ["id", email_of, lambda session: session.user_id]


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize(("make", "cookie"), KINDS)
@pytest.mark.parametrize("mode", ["share", "fork"])
def test_own_session_is_what_was_sealed(
    mode: str, make: Any, cookie: Any, forgery: dict[str, Any]
) -> None:
    ours = make(mode=mode)
    left = exposed(ours, cookie(MALLORY))
    honest = resolved(ours, left)
    assert honest is not None
    found = resolved(ours, replace(left, **forgery))
    assert found is not None
    assert found.user_id == "mallory"
    assert found.user == honest.user == MALLORY["user"]
    assert found.expires_at == honest.expires_at
    assert (found.id, found.persistent) == (honest.id, honest.persistent)


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize(("make", "cookie"), KINDS)
@pytest.mark.parametrize("match", [*MATCHES, later(email_of)])
def test_arrival_is_matched_by_what_its_source_sealed(
    match: Any, make: Any, cookie: Any, forgery: dict[str, Any]
) -> None:
    source = make()
    target = make(OTHER, match=match, sources=[source])
    left = exposed(source, cookie(MALLORY))
    honest = resolved(target, left)
    assert honest is not None
    found = resolved(target, replace(left, **forgery))
    assert found is not None
    assert found.user_id == honest.user_id
    assert str(found.user_id).startswith("mallory")
    assert found.expires_at == honest.expires_at
    assert (found.id, found.persistent) == (honest.id, honest.persistent)


@pytest.mark.parametrize(("make", "cookie"), KINDS)
@pytest.mark.parametrize("mode", ["share", "fork"])
@pytest.mark.parametrize("match", ["id", later(lambda session: session.user_id)])
def test_arrival_brings_the_data_that_its_source_knows(
    match: Any, mode: str, make: Any, cookie: Any
) -> None:
    source = make(mode=mode, data=["role", "cart"])
    target = make(OTHER, match=match, sources=[source], data=["role", "cart"])
    left = exposed(source, cookie({**MALLORY, "cart": [1]}))
    found = resolved(target, replace(left, data={"role": "admin"}))
    assert found is not None
    assert found.data == {"cart": [1]}
    found = resolved(source, replace(left, data={"role": "admin"}))
    assert found is not None
    assert found.data == {"cart": [1]}


def test_arrival_shows_its_match_no_cookie() -> None:
    seen: list[Session] = []
    source = flask_session()
    target = flask_session(OTHER, match=lambda s: seen.append(s) or "ada", sources=[source])
    cookie = flask_cookie(MALLORY)
    assert resolved(target, exposed(source, cookie)) is not None
    [session] = seen
    assert cookie not in session.token
    assert session.token.endswith(";")


def test_end_that_was_sealed_is_compared_when_the_token_is_redeemed() -> None:
    ours = starlette_session(max_age=None)
    cookie = sealed_by_starlette({**MALLORY, "_ott_expires_at": int(time.time()) + 60})
    left = exposed(ours, cookie)
    assert left.expires_at is not None
    passed = replace(left, expires_at=None)
    ours._clock = lambda: left.expires_at.timestamp()
    with pytest.raises(SessionExpired):
        ours.resolve(passed)


def test_seal_of_one_token_is_of_no_use_with_another() -> None:
    ours = flask_session()
    with using_bounds(Bounds("https://b.example", time.time() + 60)):
        left = exposed(ours, flask_cookie(MALLORY))
    for audience, now, opens in [
        ("https://b.example", time.time(), True),
        ("https://c.example", time.time(), False),
        (None, time.time(), False),
        ("https://b.example", time.time() + 61, False),
    ]:
        with using_bounds(Bounds(audience, now)):
            assert (ours._open(left) is not None) is opens


def test_seal_without_an_identity_is_of_an_adapter_that_seals_its_own() -> None:
    club = ClubSession()
    session = Session("s", "", user_id="1")
    left = replace(session, token=club._seal("a cookie"))
    opened = club._open(left)
    assert opened is not None
    assert (opened.token, opened.user_id) == ("a cookie", "1")
