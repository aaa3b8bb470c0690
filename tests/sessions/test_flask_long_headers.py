"""A Cookie header longer than browsers send: the session's cookie is the one that the app reads."""

from __future__ import annotations

import flask
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ott_middleware import FlaskSession
from ott_middleware.http import Request
from ott_middleware.http.client_text import MAX_COOKIE_HEADER, MAX_QUOTED_PIECES
from ott_middleware.sessions.flask.cookies import read_cookies
from ott_middleware.sessions.wsgi_environ import environ_of

FILLING = "a=b; " * (MAX_COOKIE_HEADER // 5 + 1)


@pytest.fixture(scope="module")
def adapter() -> FlaskSession:
    app = flask.Flask(__name__)
    app.config.update(SECRET_KEY="a secret of the tests", SESSION_COOKIE_NAME="sid")
    return FlaskSession(app)


@given(st.text(alphabet='sid=;" \t\\ab', max_size=40))
@example('x="; sid=planted; y"; sid=own')
@example('x= \t"; sid=planted; y"; sid=own')
@example('x"; sid=planted; y"; sid=own')
@example('"x=";sid=planted;";sid=own')
@example("sid =1; sid=2")
@example("sid; sid=2")
@example("sid=a b; sid=2")
@example("asid=1; sida=2; sid=3")
def test_session_cookie_is_the_one_that_the_app_reads(adapter: FlaskSession, text: str) -> None:
    for header in (f"{text};{FILLING}", f"{FILLING};{text}", f"{text};{FILLING};{text}"):
        request = Request("GET", "http", "/", headers={"cookie": header})
        read = adapter.app.request_class(environ_of(request)).cookies
        _, cookies = read_cookies(adapter.app, request, ("sid",))
        expected = read.get("sid") if any(request.cookies("sid")) else None
        assert cookies.get("sid") == expected


@pytest.mark.parametrize(
    ("piece", "count", "read"),
    [
        (r"\"", MAX_QUOTED_PIECES, "own"),
        (r"\"", MAX_QUOTED_PIECES + 1, None),
        ('";', MAX_QUOTED_PIECES - 1, "own"),
        ('";', MAX_QUOTED_PIECES, None),
    ],
)
def test_quoted_pieces_without_end_are_not_parsed(
    adapter: FlaskSession, piece: str, count: int, read: str | None
) -> None:
    header = 'x="' + piece * count + '"' + "a" * MAX_COOKIE_HEADER + "; sid=own"
    request = Request("GET", "http", "/", headers={"cookie": header})
    assert read_cookies(adapter.app, request, ("sid",))[1].get("sid") == read


def test_escapes_of_a_length_that_browsers_send_are_parsed(adapter: FlaskSession) -> None:
    header = 'x="' + r"\;" * (MAX_QUOTED_PIECES + 1) + '"; sid=own'
    request = Request("GET", "http", "/", headers={"cookie": header})
    assert read_cookies(adapter.app, request, ("sid",))[1] == {"sid": "own"}
