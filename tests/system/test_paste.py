"""Apps that are deployed from an .ini file: a pipeline of PasteDeploy with the middleware in it."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from harness import NAVIGATION
from paste.deploy import loadapp
from werkzeug.test import Client

from ott_middleware import ConfigurationError
from ott_middleware.paste import filter_app_factory

APP = """
from ott_middleware import CookieSession
from ott_middleware.http import Response

MEMBERS = {"ada-cookie": "Ada"}


def app(environ, start_response):
    user = MEMBERS.get(environ.get("HTTP_COOKIE", "").partition("sid=")[2])
    start_response("200 OK" if user else "401 Unauthorized", [("Content-Type", "text/plain")])
    return [str(user).encode()]


def app_factory(global_conf, **local_conf):
    return app


def refuse(request, error):
    return Response(410, body=b"gone")


adapter = CookieSession("sid", probe="/account")
"""
INI = """
[filter:handoff]
{use}
public_origin = https://a.example
{options}

[app:site]
paste.app_factory = ini_app:app_factory

[pipeline:main]
pipeline = handoff site
"""
FACTORY = "paste.filter_app_factory = ott_middleware.paste:filter_app_factory"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "ini_app.py").write_text(APP)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ini_app", raising=False)

    def load(*options: str, use: str = FACTORY) -> Any:
        ini = tmp_path / "site.ini"
        ini.write_text(INI.format(use=use, options="\n".join(options)))
        return loadapp(f"config:{ini}")

    return load


def client_of(app: Any, cookie: str = "ada-cookie") -> Client:
    client = Client(app)
    client.set_cookie("sid", cookie, domain="a.example")
    return client


URL = "https://a.example"


class TestPaste:
    def test_entry_point_is_declared(self) -> None:
        (entry,) = (
            point
            for point in entry_points(group="paste.filter_app_factory")
            if point.value.startswith("ott_middleware.")
        )
        assert entry.load() is filter_app_factory
        assert entry.name == "main"

    def test_handoff(self, load: Any) -> None:
        app = load("session = sid", "probe = /account", "store_token = hashed")
        made = client_of(app).get("/one-time-token/generate", base_url=URL)
        token = made.json["token"]
        other = Client(app)
        response = other.get(f"/page?ott={token}", base_url=URL, headers=NAVIGATION)
        assert response.status_code == 303
        assert other.get("/page", base_url=URL).text == "Ada"

    def test_probe_refuses_unknown_cookies(self, load: Any) -> None:
        app = load("session = sid", "probe = /account")
        assert client_of(app, "made-up").get("/one-time-token/generate").status_code == 401

    def test_lists_numbers_and_words(self, load: Any) -> None:
        options = load(
            "session = python:ini_app:adapter",
            "handoff_targets = https://b.example https://c.example/app/",
            "expires_in = 1.5",
            "max_per_session = none",
            "set_ott_header_on_new_session = true",
            "revoke_on_sign_out = False",
            "on_invalid = continue",
            "secret = true or false, it is 16 bytes",
        ).flow.options
        assert [str(target.origin) for target in options.targets] == [
            "https://b.example",
            "https://c.example",
        ]
        assert options.token_options.expires_in == 1.5
        assert options.token_options.max_per_session is None
        assert options.set_ott_header_on_new_session is True
        assert options.revoke_on_sign_out is False

    def test_hook_by_its_module(self, load: Any) -> None:
        app = load("session = python:ini_app:adapter", "on_invalid = python:ini_app:refuse")
        response = Client(app).get(f"/?ott={'A' * 32}", headers=NAVIGATION)
        assert (response.status_code, response.text) == (410, "gone")

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            (
                "on_invalid = python:ini_app:missing",
                "on_invalid: 'python:ini_app:missing' can't be",
            ),
            ("on_invalid = python:no_such_module:f", "on_invalid: 'python:no_such_module:f' can't"),
            ("on_invalid = python:", "on_invalid: 'python:' can't be imported"),
            ("expires_in = soon", "expires_in: 'soon'; use a number"),
            ("probe = /account", "probe: '/account' without cookie names; add 'session = '"),
            ("session = auto", "session: 'auto' finds neither Django"),
            ("expire_in = 3", "expire_in: no such option; did you mean 'expires_in'"),
        ],
    )
    def test_bad_option_names_the_cure(self, load: Any, option: str, message: str) -> None:
        with pytest.raises(ConfigurationError) as raised:
            load(option, *([] if option.startswith(("probe", "session")) else ["session = sid"]))
        assert str(raised.value).startswith(message)

    def test_lists_may_have_commas(self, load: Any) -> None:
        options = load("session = sid", "trusted_origins = https://a.example, https://b.example")
        assert len(options.flow.options.trusted) == 2
