"""`on_replay="revoke"` ends, on the server, the session that the first use of a link began."""

from __future__ import annotations

import json
import time
from typing import Any

import flask
import pytest
from cachelib import SimpleCache
from flask_session import Session as ServerSide
from visitor import Visitor, of_wsgi

from ott_middleware import DjangoSession, FlaskSession, MemoryBackend, OTTMiddleware

from . import sites

ORIGIN = "http://app.example"
OPTIONS: dict[str, Any] = {
    "secret": "a secret of thirty-two characters",
    "on_replay": "revoke",
    "public_origin": ORIGIN,
}


class Later:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return time.time() + self.seconds


def visitors(send: Any) -> tuple[Visitor, Visitor, Visitor]:
    """A user, the same user in another browser, and a thief."""
    first, second, third = (Visitor({ORIGIN: send}) for _ in range(3))
    return first, second, third


def token_of(visitor: Visitor) -> str:
    token: str = json.loads(visitor.get(f"{ORIGIN}/one-time-token/generate").body)["token"]
    return token


@pytest.mark.parametrize("kind", ["django-wsgi", "django-asgi"])
def test_django(kind: str) -> None:
    sites.make_django_people()
    clock = Later()
    site = sites.site(
        kind,
        ORIGIN,
        lambda app: DjangoSession(mode="fork"),
        backend=MemoryBackend(clock=clock),
        **OPTIONS,
    )
    ada, arrived, thief = visitors(site.send)
    site.sign_in(ada)
    link = f"{ORIGIN}{site.home}?ott={token_of(ada)}"
    assert arrived.get(link).status == 303
    assert site.who(arrived) == sites.email_of("ada")
    # The user's own reload is no replay.
    clock.seconds = 60
    assert arrived.get(link).status == 303
    assert site.who(arrived) == sites.email_of("ada")
    assert thief.get(link).status == 400
    assert site.who(arrived) == "nobody"
    assert site.who(ada) == sites.email_of("ada")


def flask_app(*, on_server: bool) -> flask.Flask:
    app = flask.Flask("replay")
    app.secret_key = "flask's own secret"
    if on_server:
        app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=SimpleCache())
        ServerSide(app)

    @app.get("/in")
    def sign_in() -> str:
        flask.session["user_id"] = "7"
        return "in"

    @app.get("/")
    def home() -> str:
        return str(flask.session.get("user_id"))

    return app


@pytest.mark.parametrize("on_server", [True, False])
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
def test_flask(on_server: bool) -> None:
    app, clock = flask_app(on_server=on_server), Later()
    adapter = FlaskSession(app, mode="fork")
    wrapped = OTTMiddleware(
        app.wsgi_app, session=adapter, backend=MemoryBackend(clock=clock), **OPTIONS
    )
    ada, arrived, thief = visitors(of_wsgi(wrapped))
    ada.get(f"{ORIGIN}/in")
    link = f"{ORIGIN}/?ott={token_of(ada)}"
    assert arrived.get(link).status == 303
    assert arrived.get(f"{ORIGIN}/").body == b"7"
    live = token_of(arrived)
    clock.seconds = 60
    assert thief.get(link).status == 400
    # Where the cookie is the session, only its tokens can be revoked.
    assert arrived.get(f"{ORIGIN}/").body == (b"None" if on_server else b"7")
    assert thief.get(f"{ORIGIN}/?ott={live}").status == 400
    assert ada.get(f"{ORIGIN}/").body == b"7"
