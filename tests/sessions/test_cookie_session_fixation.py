"""Session fixation by a link: a session key that an attacker knows is planted in a browser."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from harness import Reply, Seen, Site, World, set_cookie

from ott_middleware import ConfigurationError, CookieSession, OTTMiddleware

ANONYMOUS = "a key that the attacker knows"


class App:
    """Sessions in a table, by a key that stays the same at sign-in, and sign-out, if so told."""

    def __init__(self, *, renews: bool = False) -> None:
        self.users: dict[str, str | None] = {}
        self.renews = renews

    def __call__(self, seen: Seen) -> Reply:
        key = seen.cookies.get("sid", "")
        if seen.path == "/me":
            user = self.users.get(key)
            return Reply(200, (), json.dumps({"id": user}).encode()) if user else Reply(401)
        if seen.path == "/visit":
            self.users[ANONYMOUS] = None
            return Reply(200, [set_cookie("sid", ANONYMOUS)])
        if seen.path == "/sign-in":
            user = seen.headers["x-user"]
            if self.renews or key not in self.users:
                self.users.pop(key, None)
                key = f"a new key of {user}"
            self.users[key] = user
            return Reply(200, [set_cookie("sid", key)])
        if seen.path == "/sign-out":
            self.users[key] = None
        return Reply()

    def validate(self, values: Any) -> Any:
        user = self.users.get(values["sid"])
        return user and {"user_id": user, "user": {"id": user}}

    async def validate_later(self, values: Any) -> Any:
        return self.validate(values)


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture(params=["probe", "validate", "validate later"])
def site(request: pytest.FixtureRequest, world: World, app: App) -> Site:
    how: dict[str, Any] = {
        "probe": {"probe": "/me"},
        "validate": {"validate": app.validate},
        "validate later": {"validate": app.validate_later},
    }[request.param]
    return world.serve(app, session=CookieSession("sid", **how), set_ott_header_on_new_session=True)


class Browser:
    """Keeps the cookies that it gets."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Any:
        if self.cookies:
            headers["cookie"] = "; ".join(f"{n}={v}" for n, v in self.cookies.items())
        answer = self.site.open(path, headers)
        self.cookies.update(answer.cookies)
        return answer

    def user(self) -> Any:
        answer = self.get("/me")
        return answer.json()["id"] if answer.status == 200 else None

    def sign_in(self, user: str) -> Any:
        return self.get("/sign-in", **{"x-user": user})


# The attack.


def test_bare_name_is_attacked_and_the_log_says_so(
    world: World, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """What a bare cookie name leaves open: why there is a warning."""
    site = world.serve(app, session="sid")
    attacker, victim = Browser(site), Browser(site)
    attacker.get("/visit")
    token = attacker.get("/one-time-token/generate").json()["token"]
    victim.get(f"/?ott={token}")
    victim.sign_in("victim")
    assert attacker.user() == "victim"
    (record,) = caplog.records
    assert "session fixation" in record.getMessage()


def test_new_key_at_sign_in_keeps_the_attacker_out(world: World) -> None:
    site = world.serve(App(renews=True), session=CookieSession("sid", renews_key=True))
    attacker, victim = Browser(site), Browser(site)
    attacker.get("/visit")
    token = attacker.get("/one-time-token/generate").json()["token"]
    victim.get(f"/?ott={token}")
    victim.sign_in("victim")
    assert victim.user() == "victim"
    assert attacker.user() is None


def test_anonymous_session_gets_no_token(site: Site) -> None:
    attacker = Browser(site)
    assert attacker.get("/visit").header("set-ott") is None
    assert attacker.cookies == {"sid": ANONYMOUS}
    answer = attacker.get("/one-time-token/generate")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    attacker.sign_in("attacker")
    assert attacker.get("/one-time-token/generate").status == 200


def test_session_that_became_anonymous_redeems_no_token(site: Site, app: App) -> None:
    attacker, victim = Browser(site), Browser(site)
    attacker.get("/visit")
    attacker.sign_in("attacker")
    tokens = [attacker.get("/one-time-token/generate").json()["token"] for _ in range(3)]
    attacker.get("/sign-out")
    assert ANONYMOUS in app.users
    answer = site.verify(tokens[0])
    assert (answer.code, answer.cookies) == ("SESSION_NOT_FOUND", {})
    for open_link in (victim.get, site.fetch):
        answer = open_link(f"/?ott={tokens.pop()}")
        assert (answer.status, answer.cookies) == (400, {})
    victim.sign_in("victim")
    assert (victim.user(), attacker.user()) == ("victim", None)


def test_anonymous_session_is_none_to_the_app(world: World, app: App) -> None:
    found: list[Any] = []

    async def look_later(seen: Seen) -> Any:
        if seen.path == "/look":
            found.append(await seen.ott.asession())
        return app(seen)

    def look(seen: Seen) -> Any:
        if seen.path == "/look":
            found.append(seen.ott.session)
        return app(seen)

    session = CookieSession("sid", validate=app.validate)
    site = world.serve(look_later if world.interface == "asgi" else look, session=session)
    visitor = Browser(site)
    visitor.get("/visit")
    visitor.get("/look")
    visitor.sign_in("alice")
    visitor.get("/look")
    assert [each and each.user_id for each in found] == [None, "alice"]


# The warning.

HOOKS: list[dict[str, Any]] = [{}, {"probe": "/me"}, {"validate": lambda values: {}}]


@pytest.mark.parametrize("names", [("sid",), ("sid", "csrf")])
@pytest.mark.parametrize("how", HOOKS, ids=["bare", "probe", "validate"])
def test_warning_once_at_each_start(
    how: dict[str, Any], names: tuple[str, ...], world: World, caplog: pytest.LogCaptureFixture
) -> None:
    session = CookieSession(*names, **how)
    world.serve(session=session).get("/")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("ott_middleware", logging.WARNING)
    text = record.getMessage()
    assert "session fixation" in text
    assert "renews_key=True" in text
    assert "new session key at sign-in" in text
    assert ("any value counts as a session" in text) is (not how)
    for name in names:
        assert repr(name) in text
    assert "\n" not in text
    CookieSession(*names, **how)
    assert len(caplog.records) == 2


@pytest.mark.parametrize("how", HOOKS, ids=["bare", "probe", "validate"])
def test_warning_of_fixation_is_off_with_renews_key(
    how: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    CookieSession("sid", renews_key=True, **how)
    assert "fixation" not in caplog.text
    assert len(caplog.records) == (0 if how else 1)


@pytest.mark.parametrize("session", ["sid", ["sid", "csrf"]])
def test_warning_of_a_bare_name(session: Any, caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        return []

    OTTMiddleware(app, session=session)
    (record,) = caplog.records
    assert "session fixation" in record.getMessage()


@pytest.mark.parametrize("value", ["no", "", 0, 1, None, [], object()])
def test_renews_key_is_a_bool(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"renews_key: .*; use True or False"):
        CookieSession("sid", renews_key=value)
