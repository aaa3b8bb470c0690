"""A field name as `match` is a look-up: sessions without a table of users refuse it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask_login import LoginManager

from ott_middleware import ConfigurationError, FlaskSession, StarletteSession
from ott_middleware.sessions import Session

SECRET = "s" * 32


def flask_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = SECRET
    return app


def starlette(**options: Any) -> StarletteSession:
    return StarletteSession(secret_key=SECRET, **options)


def flask(**options: Any) -> FlaskSession:
    return FlaskSession(flask_app(), **options)


@pytest.mark.parametrize("make", [starlette, flask])
class TestMatchByFieldWithoutTable:
    @pytest.mark.parametrize("field", ["email", "username", "user_id", "sub", "e-mail"])
    def test_refused_with_the_function_to_write(self, make: Callable[..., Any], field: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            make(match=field)
        assert f"match: {field!r}" in str(caught.value)
        # What the error shows is Python that works.
        shown = str(caught.value).partition("match=")[2].partition(", where")[0]
        match = eval(shown, {"find_user": {"ada@example.com": "7"}.get})
        assert match(Session(id="1", token="", user={field: "ada@example.com"})) == "7"
        assert match(Session(id="1", token="", user={field: "eve@example.com"})) is None
        assert match(Session(id="1", token="", user=None)) is None

    def test_refused_beside_another_key(self, make: Callable[..., Any]) -> None:
        with pytest.raises(ConfigurationError, match="find_user"):
            make(match="email", user="member")

    def test_id_and_functions_are_taken(self, make: Callable[..., Any]) -> None:
        make(match="id")
        make(match=lambda s: None)
        make()

    def test_the_field_that_the_app_takes_for_the_id(self, make: Callable[..., Any]) -> None:
        make(match="email", user="email")


class TestMatchByFieldWithFlaskLogin:
    def test_left_to_the_loader(self) -> None:
        app = flask_app()
        LoginManager(app)
        FlaskSession(app, match="email")

    def test_refused_when_the_loader_is_not_asked(self) -> None:
        app = flask_app()
        LoginManager(app)
        with pytest.raises(ConfigurationError, match="find_user"):
            FlaskSession(app, match="email", user="user_id")

    def test_never_an_id_though_flask_login_went_after_the_check(self) -> None:
        app = flask_app()
        LoginManager(app)
        adapter = FlaskSession(app, match="email")
        del app.login_manager  # type: ignore[attr-defined]  # Flask-Login put it there
        with pytest.raises(ConfigurationError, match="find_user"):
            adapter.person_from_match("7")
