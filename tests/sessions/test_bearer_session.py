"""Access tokens of API clients as a source of one-time tokens."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import flask
import pytest
from harness import NAVIGATION, NOW, ORIGIN, Reply, Seen, Site, World, main_lines, moment
from starlette.applications import Starlette
from werkzeug.test import Client

from ott_middleware import (
    BearerSession,
    ConfigurationError,
    CookieSession,
    MemoryBackend,
    OTTMiddleware,
    SealedSession,
    Session,
)
from ott_middleware.http import Request
from ott_middleware.sessions import SessionAdapter

from .club import ClubSession

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl-_~+/=="
BEARER = {"authorization": f"Bearer {TOKEN}"}
PAGE = {"origin": "https://spa.example"}
SECRET = "a secret of thirty-two characters"


def ada(**more: Any) -> dict[str, Any]:
    user = {"id": "7", "name": "Ada"}
    return {"user_id": "7", "user": user, "expires_at": moment(NOW + 3600), **more}


def only(info: Any) -> Callable[[str], Any]:
    """A `validate` that knows one access token."""
    return lambda token: info if token == TOKEN else None


def later(function: Callable[[str], Any]) -> Callable[[str], Any]:
    async def validate(token: str) -> Any:
        await asyncio.sleep(0)
        return function(token)

    return validate


@pytest.fixture(params=["sync", "async"])
def session(request: pytest.FixtureRequest) -> BearerSession:
    validate = only(ada())
    return BearerSession(validate=validate if request.param == "sync" else later(validate))


def find(info: Any, authorization: str | None = BEARER["authorization"]) -> Session | None:
    headers = {} if authorization is None else {"authorization": authorization}
    found = BearerSession(validate=only(info)).current(
        Request("GET", "https", "/", headers=headers)
    )
    assert found is None or isinstance(found, Session)
    return found


async def show(seen: Seen) -> Reply:
    session = await seen.ott.asession()
    return Reply(200, body=f"{session and session.user_id} {seen.ott.redeemed}".encode())


class TestHeader:
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "])
    def test_scheme_of_any_case(self, scheme: str) -> None:
        assert find(ada(), f"{scheme} {TOKEN}")

    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "Bearer",
            "Bearer ",
            TOKEN,
            f"Bearer{TOKEN}",
            f"Bearer\t{TOKEN}",
            f"Basic {TOKEN}",
            f"Bearer {TOKEN} ",
            f"Bearer {TOKEN}\n",
            f'Bearer "{TOKEN}"',
            f"Bearer {TOKEN} {TOKEN}",
            # As servers join two headers.
            f"Bearer {TOKEN},Bearer {TOKEN}",
            f"Bearer {TOKEN}, Bearer {TOKEN}",
            f"Basic YTpi, Bearer {TOKEN}",
            # The Kelvin sign and the long s, of which lower() and upper() make letters.
            f"Bearer {TOKEN}\u212a",
            f"Bearer =={TOKEN}",
            "Bearer caf\xe9",
        ],
    )
    def test_other_forms_are_no_token(self, header: str | None) -> None:
        def validate(token: str) -> Any:
            raise AssertionError

        headers = {} if header is None else {"authorization": header}
        request = Request("GET", "https", "/", headers=headers)
        assert BearerSession(validate=validate).current(request) is None

    @pytest.mark.parametrize(("length", "found"), [(8192, True), (8193, False), (100_000, False)])
    def test_token_of_more_than_8_kib_is_none(self, length: int, found: bool) -> None:
        adapter = BearerSession(validate=lambda token: {"user_id": "7"})
        headers = {"authorization": "Bearer " + "A" * length}
        assert bool(adapter.current(Request("GET", "https", "/", headers=headers))) == found

    def test_two_headers_are_no_token(self, world: World, session: BearerSession) -> None:
        site = world.serve(session=session)
        assert site.generate([*BEARER.items(), *BEARER.items()]).status == 401

    def test_cookie_beside_it_decides_nothing(self, world: World, session: BearerSession) -> None:
        site = world.serve(session=session)
        assert site.generate({**BEARER, "cookie": "sid=other"}).status == 200
        assert site.generate({"cookie": f"token={TOKEN}"}).status == 401


class TestSession:
    def test_fields_are_those_of_the_mapping(self) -> None:
        found = find(ada(id="jti-1"))
        assert found == Session("jti-1", "", "7", ada()["user"], expires_at=moment(NOW + 3600))

    def test_id_is_made_of_the_user(self) -> None:
        ids = {find({"user_id": user}).id for user in ("7", 7, "8")}  # type: ignore[union-attr]  # found
        assert len(ids) == 2
        assert not any(each == "7" or TOKEN in each for each in ids)

    @pytest.mark.parametrize("value", [True, ["a"], {"a": 1}, b"a", False, "", None])
    def test_value_that_names_no_session_is_no_id(self, value: Any) -> None:
        first, second = find(ada(id=value)), find({"user_id": "8", "id": value})
        assert first is not None
        assert second is not None
        assert not first.is_same_person(second)
        assert first.id == find(ada()).id  # type: ignore[union-attr]  # found

    def test_id_without_a_user_is_made_of_the_access_token(self) -> None:
        found = find({})
        assert found is not None
        assert found.id not in (TOKEN, hashlib.sha256(TOKEN.encode()).hexdigest())
        assert found.id == find({"user_id": None}).id  # type: ignore[union-attr]  # found
        assert found.user_id is None

    @pytest.mark.parametrize("name", [TOKEN, f"session of {TOKEN}", TOKEN.replace("=", "%3D")])
    def test_id_that_holds_the_access_token_is_unavailable(self, world: World, name: str) -> None:
        site = world.serve(session=BearerSession(validate=only(ada(id=name))))
        assert site.generate(BEARER).code == "SESSION_UNAVAILABLE"

    def test_user_that_repeats_the_access_token_is_cut(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        found = find(ada(user={"id": "7", "jwt": TOKEN, "list": [f"Bearer {TOKEN}"]}))
        assert found is not None
        assert found.user == {"id": "7", "jwt": None, "list": [None]}
        (record,) = main_lines(caplog)
        assert "repeats the access token, which is left out" in record.getMessage()

    def test_claims_of_a_jwt_are_no_session_s_fields(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        adapter = BearerSession(validate=only({"sub": "7", "aud": "https://api.example"}))
        request = Request("GET", "https", "/", headers=BEARER)
        for _ in range(2):
            found = adapter.current(request)
            assert isinstance(found, Session)
            assert found.user_id is None
        (record,) = main_lines(caplog)
        assert "validate= returned a mapping with other keys than 'id'" in record.getMessage()

    def test_repr_shows_no_token(self, session: BearerSession) -> None:
        assert TOKEN not in repr(session)
        assert TOKEN not in repr(find(ada()))


class TestValidate:
    @pytest.mark.parametrize("validate", [None, "jwt", dict, 7])
    def test_no_function_is_refused(self, validate: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"validate: .*pass a function of the access"):
            BearerSession(validate=validate)

    def test_required(self) -> None:
        with pytest.raises(TypeError, match="validate"):
            BearerSession()  # type: ignore[call-arg]  # wrong on purpose

    @pytest.mark.parametrize("kind", ["sync", "async"])
    @pytest.mark.parametrize(
        ("result", "text"),
        [
            (True, "validate= returned bool: return None or a mapping"),
            ("7", "validate= returned str: return None or a mapping"),
            ({"user": "Ada"}, "validate= returned a user that is a str: return a mapping"),
            (
                {"expires_at": NOW},
                "validate= raised ValueError: expires_at must be a datetime with a time zone",
            ),
        ],
    )
    def test_wrong_result_names_the_hook(
        self, world: World, caplog: pytest.LogCaptureFixture, kind: str, result: Any, text: str
    ) -> None:
        validate = only(result) if kind == "sync" else later(only(result))
        site = world.serve(session=BearerSession(validate=validate))
        assert site.generate(BEARER).code == "SESSION_UNAVAILABLE"
        (record,) = main_lines(caplog)
        assert text in record.getMessage()

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_error_is_unavailable(
        self, world: World, caplog: pytest.LogCaptureFixture, kind: str
    ) -> None:
        def validate(token: str) -> Any:
            raise LookupError(f"no key for {token}")

        hook = validate if kind == "sync" else later(validate)
        answer = world.serve(session=BearerSession(validate=hook)).generate(BEARER)
        assert (answer.status, answer.code) == (503, "SESSION_UNAVAILABLE")
        assert answer.header("retry-after")
        (record,) = main_lines(caplog)
        assert "validate= raised LookupError at test_bearer_session.py:" in record.getMessage()
        assert TOKEN not in caplog.text

    def test_runs_in_the_context_of_a_flask_app(self) -> None:
        app = flask.Flask(__name__)

        def validate(token: str) -> Any:
            return {"user_id": flask.current_app.name}

        wrapped = OTTMiddleware(app.wsgi_app, session=BearerSession(validate=validate))
        client = Client(wrapped)
        assert client.get("/one-time-token/generate", headers=BEARER).status_code == 200

    def test_auto_does_not_guess(self) -> None:
        with pytest.raises(ConfigurationError, match=r"BearerSession\(validate=\.\.\.\)"):
            OTTMiddleware(Starlette())


class TestMissingUser:
    @pytest.mark.parametrize(
        ("headers", "text"),
        [
            (
                {"cookie": "sid=s3cret; _ga=1"},
                "no Authorization header, and has the cookies 'sid';",
            ),
            ({"authorization": "Basic s3cret"}, "an Authorization header (Basic); send the access"),
            ({"authorization": "Bearer s3cret s3cret"}, "not one token of at most 8 KiB; send one"),
        ],
    )
    def test_warning_says_where_the_user_may_be(
        self,
        world: World,
        session: BearerSession,
        caplog: pytest.LogCaptureFixture,
        headers: dict[str, str],
        text: str,
    ) -> None:
        site = world.serve(session=session)
        for _ in range(2):
            assert site.generate(headers).status == 401
        (record,) = main_lines(caplog)
        assert text in record.getMessage()
        assert "s3cret" not in caplog.text

    @pytest.mark.parametrize(
        "headers", [{}, {"authorization": "Bearer other"}, {"cookie": "_ga=1"}]
    )
    def test_routine_says_nothing(
        self,
        world: World,
        session: BearerSession,
        caplog: pytest.LogCaptureFixture,
        headers: dict[str, str],
    ) -> None:
        assert world.serve(session=session).generate(headers).status == 401
        assert main_lines(caplog) == []


class TestVerify:
    def test_response_has_the_session_and_sets_no_cookie(
        self, world: World, session: BearerSession
    ) -> None:
        site = world.serve(session=session)
        token = site.generate(BEARER).json()["token"]
        answer = site.verify(token)
        assert (answer.status, answer.all("set-cookie")) == (200, [])
        body = answer.json()
        assert body["user"] == {"id": "7", "name": "Ada"}
        assert (body["session"]["userId"], "token" in body["session"]) == ("7", False)
        assert site.verify(token).code == "INVALID_TOKEN"

    def test_cookie_s_value_is_empty(self, world: World, session: BearerSession) -> None:
        site = world.serve(session=session, disable_set_session_cookie=True)
        token = site.generate(BEARER).json()["token"]
        assert site.verify(token).json()["session"]["token"] == ""

    def test_end_of_the_access_token_is_that_of_the_one_time_token(
        self, world: World, session: BearerSession
    ) -> None:
        site = world.serve(session=session, expires_in=120)
        token = site.generate(BEARER).json()["token"]
        world.clock.now += 3600
        assert site.verify(token).code == "SESSION_EXPIRED"
        assert site.generate(BEARER).status == 401

    def test_tokens_of_a_user_are_revoked(self, world: World, session: BearerSession) -> None:
        site = world.serve(session=session)
        token = site.generate(BEARER).json()["token"]
        found = find(ada())
        assert found is not None
        site.flow.tokens.revoke(found.id)
        assert site.verify(token).code == "INVALID_TOKEN"


def links(world: World, session: BearerSession, **options: Any) -> tuple[Site, str]:
    site = world.serve(show, session=session, **options)
    return site, site.generate(BEARER).json()["token"]


class TestLinkInABrowser:
    @pytest.mark.parametrize("headers", [NAVIGATION, {"accept": "text/html"}])
    def test_refused_before_the_token_is_taken(
        self,
        world: World,
        session: BearerSession,
        caplog: pytest.LogCaptureFixture,
        headers: dict[str, str],
    ) -> None:
        site, token = links(world, session)
        caplog.set_level("DEBUG", "ott_middleware")
        for _ in range(2):
            answer = site.get(f"/?ott={token}", headers)
            assert (answer.status, answer.all("set-cookie")) == (400, [])
        assert not site.seen
        lines = [record.getMessage() for record in main_lines(caplog)]
        (warning,) = (r for r in main_lines(caplog) if r.levelname == "WARNING")
        assert "BearerSession sets no cookie" in warning.getMessage()
        assert sum("BearerSession sets no cookies" in line for line in lines) == 2
        assert site.verify(token).status == 200

    def test_confirm_link_shows_no_button(self, world: World, session: BearerSession) -> None:
        site = world.serve(show, session=session)
        found = find(ada())
        url = f"/?ott=confirm.{site.token(found, channel='confirm')}"
        form = {"content-type": "application/x-www-form-urlencoded", "origin": ORIGIN}
        opened = site.open(url)
        assert (opened.status, b"<button" in opened.body) == (400, False)
        posted = site.send("POST", url, {**NAVIGATION, **form}, b"nonce=x")
        assert (posted.status, posted.all("set-cookie"), site.seen) == (400, [], [])

    def test_on_invalid_decides(self, world: World, session: BearerSession) -> None:
        site, token = links(world, session, on_invalid="continue")
        assert site.open(f"/page?ott={token}").location == "./page"
        assert site.verify(token).status == 200


class TestCall:
    def test_app_sees_the_session(self, world: World, session: BearerSession) -> None:
        site, token = links(world, session)
        # An EventSource cannot send an Authorization header.
        answer = site.fetch(f"/events?ott={token}", {"accept": "text/event-stream"})
        assert (answer.body, answer.all("set-cookie")) == (b"7 handoff", [])
        assert answer.header("cache-control") == "private, no-store"
        assert site.fetch(f"/events?ott={token}").code == "INVALID_TOKEN"

    def test_app_s_handle_generates(self, world: World, session: BearerSession) -> None:
        async def generate(seen: Seen) -> Reply:
            return Reply(200, body=(await seen.ott.agenerate()).encode())

        site = world.serve(generate, session=session)
        assert site.verify(site.get("/", BEARER).body.decode()).status == 200

    def test_another_user_s_token_is_refused_to_the_signed_in_one(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        users = {TOKEN: {"user_id": "7"}, "other": {"user_id": "8"}}
        site = world.serve(show, session=BearerSession(validate=users.get))
        token = site.generate({"authorization": "Bearer other"}).json()["token"]
        assert site.fetch(f"/?ott={token}", BEARER).body != b"8 handoff"


def arrive(world: World, target: SessionAdapter, session: BearerSession) -> Any:
    backend = MemoryBackend(clock=world.clock)
    source = world.serve(session=session, backend=backend)
    token = source.generate(BEARER).json()["token"]
    return world.serve(show, session=target, backend=backend), token


class TestTargetWithCookies:
    def test_match_finds_the_user(self, world: World, session: BearerSession) -> None:
        sealed = SealedSession(SECRET, clock=world.clock, match=lambda s: s.user["name"])
        site, token = arrive(world, sealed, session)
        (value,) = site.open(f"/?ott={token}").cookies.values()
        found = sealed.current(Request("GET", "https", "/").with_cookies({"ott_session": value}))
        assert (found and found.user_id, found and found.expires_at) == ("Ada", moment(NOW + 3600))

    def test_framework_begins_a_session_of_its_own(
        self, world: World, session: BearerSession
    ) -> None:
        club = ClubSession(match=lambda s: {"7": "1"}[s.user_id])
        site, token = arrive(world, club, session)
        assert site.open(f"/?ott={token}").status == 303
        (kept,) = club.store.sessions.values()
        assert kept["user"] == "1"

    def test_adapter_that_carries_cookies_refuses(
        self, world: World, session: BearerSession
    ) -> None:
        for names in (("sid",), ("sid", "tenant")):
            cookies = CookieSession(*names, renews_key=True)
            site, token = arrive(world, cookies, session)
            assert site.verify(token).code == "SESSION_NOT_FOUND"


class TestSessionOfAnotherSite:
    @pytest.mark.parametrize(
        "source",
        [
            SealedSession(SECRET, clock=lambda: NOW),
            CookieSession("sid", renews_key=True, validate=lambda values: {"user_id": "7"}),
            ClubSession(),
        ],
    )
    def test_no_account(
        self, world: World, session: BearerSession, source: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG", "ott_middleware")
        backend = MemoryBackend(clock=world.clock)
        made = world.serve(session=source, backend=backend)
        token = made.token(Session("s", "x" * 20, "7", {"id": "7"}))
        target = world.serve(session=session, backend=backend)
        assert target.verify(token).code == "NO_ACCOUNT"
        assert "the token is of a site with another kind of session" in caplog.text


class TestOptions:
    @pytest.mark.parametrize("option", ["revoke_on_sign_out", "set_ott_header_on_new_session"])
    def test_options_that_watch_cookies_are_refused(
        self, world: World, session: BearerSession, option: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=f"{option}: True, but the sessions of Bearer"):
            world.serve(session=session, **{option: True})

    def test_issuer_is_refused(self, world: World, session: BearerSession) -> None:
        with pytest.raises(ConfigurationError, match=r"issuer: .* BearerSession sets no cookies"):
            world.serve(session=session, secret=SECRET, issuer="https://a.example")

    def test_vouches(self, session: BearerSession) -> None:
        assert session.vouches is True
        assert session.cookie_names == ()


class TestOriginRule:
    def test_page_of_a_trusted_origin(self, world: World, session: BearerSession) -> None:
        site = world.serve(session=session, trusted_origins=PAGE.values())
        asked = {
            **PAGE,
            "access-control-request-method": "GET",
            "access-control-request-headers": "authorization",
        }
        preflight = site.send("OPTIONS", "/one-time-token/generate", asked)
        assert preflight.status == 204
        assert preflight.header("access-control-allow-origin") == PAGE["origin"]
        assert preflight.header("access-control-allow-headers") == "authorization"
        assert preflight.header("access-control-allow-methods") == "GET"
        sent = {**PAGE, **BEARER, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
        answer = site.generate(sent)
        assert answer.status == 200
        assert answer.header("access-control-allow-origin") == PAGE["origin"]

    def test_page_of_another_origin(self, world: World, session: BearerSession) -> None:
        site = world.serve(session=session, trusted_origins=PAGE.values())
        assert site.generate({**BEARER, "origin": "https://evil.example"}).code == "INVALID_ORIGIN"

    def test_client_that_is_no_browser(self, world: World, session: BearerSession) -> None:
        assert world.serve(session=session).generate(BEARER).status == 200
