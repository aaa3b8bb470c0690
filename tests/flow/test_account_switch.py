"""A link for another user than the signed-in one asks the visitor: switch, or stay."""

from __future__ import annotations

import logging
from functools import partial
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
from harness import ORIGIN, SECRET, Answer, Members, Reply, Seen, Site, World, person
from visitor import Form, Visitor, forms_of

from ott_middleware import MemoryBackend, Session
from ott_middleware.errors import BackendFull, BackendUnavailable
from ott_middleware.events import Event
from ott_middleware.http import Request, Response
from ott_middleware.tokens.revocations import revocations

PEOPLE = ("alice", "bob", "carol")


def who(seen: Seen) -> Reply:
    session = seen.ott.session
    return Reply(body=(session.user_id or "unknown" if session else "nobody").encode())


class Asked:
    """A visitor with a session, in front of the page.

    :param link: of another user's.
    """

    def __init__(self, site: Site, as_whom: str = "bob", *, scheme: str = "http") -> None:
        self.site = site
        self.origin = ORIGIN.replace("http", scheme)
        self.visitor = Visitor({self.origin: partial(site.send, scheme=scheme)})
        self.sign_in(as_whom)

    @property
    def jar(self) -> dict[str, str]:
        return self.visitor.jars[self.origin]

    @property
    def questions(self) -> list[str]:
        return [name for name in self.jar if "_switch_" in name]

    def sign_in(self, name: str | None) -> None:
        """What the app's own form does."""
        jar = self.visitor.jars.setdefault(self.origin, {})
        jar.pop("sid", None)
        if name:
            jar["sid"] = f"{name}-cookie"

    def open(self, token: str | None = None, path: str = "/p?a=1", **headers: str) -> Answer:
        self.token = token or self.site.token()
        joint = "&" if "?" in path else "?"
        self.url = f"{self.origin}{path}{joint}ott={self.token}"
        self.page = self.visitor.get(self.url, **headers)
        return self.page

    def form(self, choice: str) -> Form:
        return next(form for form in forms_of(self.page) if form.fields["choice"] == choice)

    def press(self, choice: str, *, to: str = "", **headers: str) -> Answer:
        form = self.form(choice)
        return self.visitor.ask(
            "POST",
            to or urljoin(self.url, form.action),
            urlencode(form.fields).encode(),
            **{
                "content_type": "application/x-www-form-urlencoded",
                "origin": self.origin,
                "sec_fetch_site": "same-origin",
                **headers,
            },
        )

    @property
    def who(self) -> str:
        return self.visitor.get(f"{self.origin}/").body.decode()


def serve(world: World, **options: Any) -> Site:
    options.setdefault("session", Members(*map(person, PEOPLE)))
    return world.serve(who, **options)


def ask(world: World, **options: Any) -> Asked:
    asked = Asked(serve(world, **options))
    assert asked.open().status == 200
    return asked


def is_clean(answer: Answer) -> bool:
    return (answer.status, answer.location) == (303, "?a=1")


class TestPage:
    def test_names_both_users(self, world: World) -> None:
        text = ask(world).page.body.decode()
        assert "You are signed in as \u2068Bob\u2069 (\u2068bob\u2069)." in text
        assert "This link is for \u2068Alice\u2069 (\u2068alice\u2069)." in text

    def test_nobody_is_signed_in_by_it(self, world: World) -> None:
        asked = ask(world)
        assert set(asked.page.cookies) == set(asked.questions)
        assert "establish" not in asked.site.members.asked
        assert asked.who == "bob"

    def test_no_token_in_body_or_url(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        asked = ask(world, backend=backend)
        (question,) = asked.questions
        second = asked.jar[question].split(".")[1]
        text = unescape(asked.page.body.decode())
        assert second not in text
        assert asked.token not in text
        assert len(backend) == 1  # the second token alone
        assert asked.site.verify(asked.token).status == 400

    def test_is_shown_in_no_frame(self, world: World) -> None:
        page = ask(world).page
        policy = page.header("content-security-policy") or ""
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert page.header("x-frame-options") == "DENY"
        assert page.header("cache-control") == "no-store"

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_cookie(self, world: World, scheme: str) -> None:
        asked = Asked(serve(world), scheme=scheme)
        asked.open(asked.site.token(expires_in=2))
        (name,) = asked.questions
        secure = {"Secure"} if scheme == "https" else set()
        expected = {"Max-Age=120", "Path=/", "HttpOnly", "SameSite=Lax"} | secure
        assert asked.page.cookie(name) == expected
        assert name.startswith("__Host-ott_switch_" if secure else "ott_switch_")
        assert is_clean(asked.press("switch"))
        assert asked.who == "alice"
        assert asked.questions == []

    def test_without_names_it_names_none(self, world: World) -> None:
        unknown = person("x", user=None, user_id=None)
        asked = Asked(serve(world, session=Members(person("alice"), unknown)), "x")
        text = asked.open().body.decode()
        assert "You are signed in here already, and this link is for another user." in text
        assert is_clean(asked.press("switch"))
        assert asked.who == "alice"

    def test_names_are_escaped(self, world: World) -> None:
        evil = person("evil", user={"id": "7", "name": "<b>{arriving}"})
        asked = Asked(serve(world, session=Members(person("alice"), evil)), "evil")
        text = asked.open().body.decode()
        assert "&lt;b&gt;{arriving}\u2069" in text

    def test_page_of_your_own(self, world: World) -> None:
        def show(page: Any) -> str:
            (stay, switch) = page.forms
            assert (stay.fields["choice"], switch.fields["choice"]) == ("stay", "switch")
            fields = "".join(f'<input name="{k}" value="{v}">' for k, v in switch.fields.items())
            return (
                f"{page.present_name}|{page.arriving_name}<form action='{switch.action}'>{fields}"
            )

        asked = ask(world, pages={"switch": show})
        assert "Bob\u2069 (\u2068bob\u2069)|\u2068Alice" in asked.page.body.decode()
        assert is_clean(asked.press("switch"))
        assert asked.who == "alice"

    def test_token_that_expires_now(self, world: World) -> None:
        class Slow(Members):
            def resolve(self, session: Session) -> Any:
                world.clock.forward(59.5)
                return super().resolve(session)

        asked = Asked(serve(world, session=Slow(*map(person, PEOPLE))))
        page = asked.open(asked.site.token(expires_in=1))
        assert page.status == 303
        assert asked.questions == []
        assert asked.who == "bob"

    @pytest.mark.parametrize("error", [BackendFull, BackendUnavailable])
    def test_backend_that_fails(self, world: World, error: type[Exception]) -> None:
        class Fails(MemoryBackend):
            failing = False

            def put(self, *args: Any, **how: Any) -> None:
                if self.failing:
                    raise error
                super().put(*args, **how)

        backend = Fails(clock=world.clock)
        asked = Asked(serve(world, backend=backend))
        token = asked.site.token()
        backend.failing = True
        assert asked.open(token).status == 503
        assert asked.who == "bob"

    @pytest.mark.parametrize("how", ["note_ended", "note_revoked"])
    def test_session_that_was_revoked_meanwhile(self, world: World, how: str) -> None:
        class Ends(Members):
            def resolve(self, session: Session) -> Any:
                getattr(revocations, how)(session.id)
                return super().resolve(session)

        backend = MemoryBackend(clock=world.clock)
        asked = Asked(serve(world, session=Ends(*map(person, PEOPLE)), backend=backend))
        assert asked.open().status == 303
        assert asked.questions == []
        assert len(backend) == 0

    def test_same_user_is_not_asked(self, world: World) -> None:
        again = person("alice", id="another", token="again-cookie")
        asked = Asked(serve(world, session=Members(person("alice"), again)), "again")
        assert is_clean(asked.open())


class TestSwitch:
    def test_signs_the_link_s_user_in(self, world: World) -> None:
        asked = ask(world)
        answer = asked.press("switch")
        assert is_clean(answer)
        assert answer.cookies == {"sid": "alice-cookie", **dict.fromkeys(asked.page.cookies, "")}
        assert asked.who == "alice"
        assert asked.questions == []

    def test_second_press_changes_nothing(self, world: World) -> None:
        asked = ask(world)
        asked.press("switch")
        for choice in ("switch", "stay"):
            answer = asked.press(choice)
            assert is_clean(answer)
            assert answer.cookies == {}
            assert asked.who == "alice"

    def test_double_click(self, world: World) -> None:
        asked = ask(world)
        jar = dict(asked.jar)
        asked.press("switch")
        asked.jar.update(jar)  # the second request left before the first was responded to
        answer = asked.press("switch")
        assert is_clean(answer)
        assert "sid" not in answer.cookies

    def test_back_button_and_reload(self, world: World) -> None:
        asked = ask(world)
        asked.press("switch")
        answer = asked.visitor.get(asked.url)
        assert is_clean(answer)
        assert answer.cookies == {}
        assert asked.who == "alice"

    def test_expired_question(self, world: World) -> None:
        asked = ask(world)
        world.clock.forward(181)
        answer = asked.press("switch")
        assert (answer.status, answer.cookies.get("sid")) == (400, None)
        assert "This link no longer works" in answer.body.decode()
        assert asked.who == "bob"

    def test_cookie_that_expired_is_no_silence(self, world: World) -> None:
        asked = ask(world)
        del asked.jar[asked.questions[0]]
        assert asked.press("switch").status == 400
        assert is_clean(asked.press("stay"))

    def test_token_lives_no_longer_than_the_link_s(self, world: World) -> None:
        asked = Asked(serve(world))
        token = asked.site.token(expires_in=1)
        world.clock.forward(50)
        asked.open(token)
        (name,) = asked.questions
        assert "Max-Age=10" in asked.page.cookie(name)
        world.clock.forward(10)
        assert asked.press("switch").status == 400

    def test_session_that_ended_meanwhile(self, world: World) -> None:
        asked = ask(world)
        del asked.site.members.live["alice-cookie"]
        answer = asked.press("switch")
        assert (answer.status, answer.cookies.get("sid")) == (400, None)
        assert "Please sign in again" in answer.body.decode()

    def test_on_invalid(self, world: World) -> None:
        asked = ask(world, on_invalid="continue")
        world.clock.forward(181)
        assert is_clean(asked.press("switch"))

        def own(request: Request, error: Exception) -> Response:
            return Response(418)

        asked = ask(world, on_invalid=own)
        world.clock.forward(181)
        assert asked.press("switch").status == 418

    def test_backend_that_fails_keeps_the_question(self, world: World) -> None:
        class Fails(MemoryBackend):
            failing = False

            def take(self, key: str) -> bytes | None:
                if self.failing:
                    raise OSError
                return super().take(key)

        backend = Fails(clock=world.clock)
        asked = ask(world, backend=backend)
        backend.failing = True
        assert asked.press("switch").status == 503
        backend.failing = False
        assert is_clean(asked.press("switch"))
        assert asked.who == "alice"

    def test_staying_works_without_a_backend(self, world: World) -> None:
        class Fails(MemoryBackend):
            def take(self, key: str) -> bytes | None:
                if ":confirm:" in key:
                    raise OSError
                return super().take(key)

        asked = ask(world, backend=Fails(clock=world.clock))
        assert is_clean(asked.press("stay"))
        assert asked.questions == []


class TestStay:
    def test_nothing_changes(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        asked = ask(world, backend=backend)
        answer = asked.press("stay")
        assert is_clean(answer)
        assert set(answer.cookies.values()) == {""}
        assert len(backend) == 0
        assert asked.who == "bob"

    def test_back_button_and_the_other_one(self, world: World) -> None:
        asked = ask(world)
        jar = dict(asked.jar)
        asked.press("stay")
        assert asked.press("switch").status == 400
        asked.jar.update(jar)  # the cookie was copied before
        assert is_clean(asked.press("switch"))
        assert asked.who == "bob"

    def test_second_press_changes_nothing(self, world: World) -> None:
        asked = ask(world)
        asked.press("stay")
        assert is_clean(asked.press("stay"))


class TestReload:
    def test_asks_the_same_again(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        asked = ask(world, backend=backend)
        first = asked.page.body
        again = asked.open(asked.token)
        assert (again.status, again.body, again.cookies) == (200, first, {})
        assert len(backend) == 1
        assert is_clean(asked.press("switch"))
        assert asked.who == "alice"

    def test_of_a_signed_out_visitor(self, world: World) -> None:
        asked = ask(world)
        asked.sign_in(None)
        assert asked.open(asked.token).status == 400

    def test_as_another_user(self, world: World) -> None:
        asked = ask(world)
        asked.sign_in("carol")
        assert is_clean(asked.open(asked.token))

    def test_link_of_the_form_is_none(self, world: World) -> None:
        asked = ask(world)
        assert is_clean(asked.visitor.get(urljoin(asked.url, asked.form("stay").action)))
        asked.sign_in(None)
        assert asked.visitor.get(urljoin(asked.url, asked.form("stay").action)).status == 400


class TestTwoTabs:
    def test_each_asks_for_itself(self, world: World) -> None:
        one = ask(world)
        two = Asked(one.site)
        two.visitor = one.visitor
        two.open(one.site.token(person("carol")), "/q?a=1")
        assert len(one.questions) == 2
        assert is_clean(one.press("stay"))
        assert is_clean(two.press("switch"))
        assert one.who == "carol"

    def test_switch_in_one_ends_the_other(self, world: World) -> None:
        one = ask(world)
        two = Asked(one.site)
        two.visitor = one.visitor
        two.open(one.site.token(person("carol")), "/q?a=1")
        one.press("switch")
        answer = two.press("switch")
        assert (answer.status, answer.cookies.get("sid")) == (400, None)
        assert one.who == "alice"
        assert one.questions == []

    def test_questions_are_few(self, world: World) -> None:
        asked = Asked(serve(world, max_per_session=None))
        for _ in range(12):
            asked.open()
        assert len(asked.questions) == 5
        assert is_clean(asked.press("switch"))  # the newest is among them
        assert asked.who == "alice"

    def test_made_up_cookies_take_few_deletions(self, world: World) -> None:
        """64 kB of names would be two thousand headers, and hold up a worker."""
        site = serve(world)
        flood = "; ".join(f"ott_switch_{number:016x}=1" for number in range(2000))
        answer = site.open(f"/?ott={site.token()}", {"cookie": f"sid=bob-cookie; {flood}"})
        assert b"Switch user?" in answer.body
        assert len(answer.all("set-cookie")) < 40


CROSS_SITE = [
    {"origin": "https://evil.example", "sec_fetch_site": "cross-site"},
    {"origin": "http://sub.app.example", "sec_fetch_site": "same-site"},
    {"origin": "https://spa.example", "sec_fetch_site": "cross-site"},
    {"origin": "null", "sec_fetch_site": "cross-site"},
    {"origin": "", "sec_fetch_site": "cross-site"},
    {"origin": "", "sec_fetch_site": "", "sec_fetch_mode": "", "sec_fetch_dest": ""},
]


class TestAttacks:
    @pytest.mark.parametrize("headers", CROSS_SITE)
    def test_other_site_posts_the_form(self, world: World, headers: dict[str, str]) -> None:
        asked = ask(world, trusted_origins=["https://spa.example"])
        # The nonce and the cookie are the right ones: the origin alone is not.
        gone = {name for name, value in headers.items() if not value}
        form = asked.form("switch")
        sent = {
            "accept": "text/html",
            "content-type": "application/x-www-form-urlencoded",
            "cookie": "; ".join(f"{k}={v}" for k, v in asked.jar.items()),
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        sent = {name: value for name, value in sent.items() if name.replace("-", "_") not in gone}
        target = urljoin(asked.url, form.action).removeprefix(ORIGIN)
        answer = asked.site.send("POST", target, sent, urlencode(form.fields).encode())
        assert (answer.status, answer.cookies) == (403, {})
        assert is_clean(asked.press("switch"))  # nothing was taken

    def test_refused_form_shows_a_page(self, world: World) -> None:
        asked = ask(world)
        answer = asked.press("switch", origin="https://evil.example", accept="*/*")
        assert answer.status == 403
        assert answer.body.startswith(b"<!doctype html>")

    @pytest.mark.parametrize("nonce", ["", "x" * 32, "é"])
    def test_form_without_the_nonce(self, world: World, nonce: str) -> None:
        asked = ask(world)
        right = asked.page
        body = right.body.decode()
        held = asked.form("switch").fields["nonce"]
        asked.page = Answer(200, [], body.replace(held, nonce).encode())
        assert is_clean(asked.press("switch"))
        assert asked.who == "bob"
        asked.page = right
        assert is_clean(asked.press("switch"))
        assert asked.who == "alice"

    def test_choice_of_neither(self, world: World) -> None:
        asked = ask(world)
        form = asked.form("switch")
        form.fields["choice"] = "both"
        body = urlencode(form.fields).encode()
        how = {"content_type": "application/x-www-form-urlencoded", "origin": ORIGIN}
        url = urljoin(asked.url, form.action)
        assert is_clean(asked.visitor.ask("POST", url, body, **how, sec_fetch_site="same-origin"))
        assert asked.who == "bob"

    def test_body_that_is_no_form(self, world: World) -> None:
        asked = ask(world)
        url = urljoin(asked.url, asked.form("switch").action)
        how = {"origin": ORIGIN, "sec_fetch_site": "same-origin"}
        form = "application/x-www-form-urlencoded"
        assert asked.visitor.ask("POST", url, b"\xff", content_type=form, **how).status == 400
        json = "application/json"
        assert asked.visitor.ask("POST", url, b"{}", content_type=json, **how).status == 400
        assert is_clean(asked.press("switch"))

    def test_session_changed_meanwhile(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "ott_middleware")
        backend = MemoryBackend(clock=world.clock)
        asked = ask(world, backend=backend)
        asked.sign_in("carol")
        answer = asked.press("switch")
        assert (answer.status, answer.cookies.get("sid")) == (400, None)
        assert asked.who == "carol"
        assert len(backend) == 0
        (reason,) = [r.ott_reason for r in caplog.records if "session that the" in r.message]
        assert reason == "other_user"

    def test_same_user_signed_in_anew_meanwhile(self, world: World) -> None:
        asked = ask(world)
        asked.site.members.live["bob-cookie"] = person("bob", id="another")
        assert asked.press("switch").status == 400
        assert asked.who == "bob"

    def test_user_of_the_session_changed_meanwhile(self, world: World) -> None:
        asked = ask(world)
        changed = person("carol", id="session-of-bob", token="bob-cookie")
        asked.site.members.live["bob-cookie"] = changed
        assert asked.press("switch").status == 400
        assert asked.who == "carol"

    def test_visitor_signed_out_meanwhile(self, world: World) -> None:
        asked = ask(world)
        asked.sign_in(None)
        assert asked.press("switch").status == 400
        assert asked.who == "nobody"

    def test_visitor_signed_out_and_cookie_gone(self, world: World) -> None:
        asked = ask(world)
        asked.jar.clear()
        assert asked.press("switch").status == 400

    def test_cookie_copied_to_another_browser(self, world: World) -> None:
        asked = ask(world)
        (name,) = asked.questions
        thief = Asked(asked.site, "carol")
        thief.jar[name] = asked.jar[name]
        thief.url, thief.page = asked.url, asked.page
        assert thief.press("switch").status == 400
        assert thief.who == "carol"

    def test_second_token_is_worth_nothing_elsewhere(self, world: World) -> None:
        asked = ask(world)
        second = asked.jar[asked.questions[0]].split(".")[1]
        assert asked.site.verify(second).status == 400
        assert asked.site.fetch(f"/?ott={second}").status == 400
        assert is_clean(asked.press("switch"))  # another channel: it was not found there

    @pytest.mark.parametrize("value", ["x", "a.b.c", "a.b.c.%", "a.b.c._w", f"{'n' * 32}.t.c."])
    def test_planted_cookie_is_no_question(self, world: World, value: str) -> None:
        asked = ask(world)
        asked.jar[asked.questions[0]] = value
        assert asked.press("switch").status == 400
        assert asked.who == "bob"
        assert is_clean(asked.visitor.get(asked.url))

    def test_planted_token_of_a_confirm_link(self, world: World) -> None:
        """Over http a neighbouring host may set the cookie, with all that an attacker knows."""
        asked = ask(world)
        (name,) = asked.questions
        nonce, _, challenge, shown = asked.jar[name].split(".")
        other = asked.site.token(person("carol"), channel="confirm")
        asked.jar[name] = ".".join((nonce, other, challenge, shown))
        answer = asked.press("switch")
        assert (answer.status, answer.cookies.get("sid")) == (400, None)
        assert asked.who == "bob"

    def test_planted_question_of_another_session(self, world: World) -> None:
        attacker = Asked(serve(world), "carol")
        attacker.open()
        victim = Asked(attacker.site, "bob")
        victim.jar.update({name: attacker.jar[name] for name in attacker.questions})
        victim.url, victim.page = attacker.url, attacker.page
        assert victim.press("switch").status == 400
        assert victim.who == "bob"

    def test_app_s_links_are_not_retired(self, world: World) -> None:
        """A question counts for itself: the user's own confirm links stay."""
        site = serve(world, max_per_session=1)
        mine = site.token(channel="confirm")
        asked = Asked(site)
        asked.open()
        assert site.flow.tokens.verify(mine, channel="confirm").user_id == "alice"

    def test_questions_retire_one_another(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        asked = Asked(serve(world, max_per_session=2, backend=backend))
        for _ in range(5):
            asked.open()
        assert len(backend) == 2

    def test_sign_out_revokes_the_question(self, world: World) -> None:
        asked = ask(world)
        assert asked.site.flow.tokens.revoke("session-of-alice") == 1
        assert is_clean(asked.press("switch"))
        assert asked.who == "bob"


class TestBinding:
    @pytest.mark.parametrize("audience", [None, ORIGIN])
    def test_second_token_is_bound_to_this_site(self, world: World, audience: str | None) -> None:
        asked = Asked(serve(world, public_origin=ORIGIN))
        asked.open(asked.site.token(audience=audience))
        second = asked.jar[asked.questions[0]].split(".")[1]
        elsewhere = serve(world, backend=asked.site.flow.tokens.backend, public_origin="http://b.c")
        asked.visitor.sites[ORIGIN] = partial(elsewhere.send)
        assert asked.press("switch", origin="http://b.c").status == 400
        assert second
        assert asked.who == "bob"

    def test_without_an_own_origin(self, world: World) -> None:
        class Nameless(Members):
            def own_hosts(self) -> Any:
                return ()

        asked = ask(world, session=Nameless(*map(person, PEOPLE)))
        assert is_clean(asked.press("switch"))
        assert asked.who == "alice"


class TestConfirmLinks:
    """A confirm link has been opened on its own page before; the question comes after that."""

    def confirmed(self, world: World) -> Asked:
        asked = Asked(serve(world))
        token = asked.site.token(channel="confirm")
        page = asked.open(f"confirm.{token}")
        (form,) = forms_of(page)
        self.posted = urlencode(form.fields).encode()
        self.post(asked)
        return asked

    def post(self, asked: Asked) -> None:
        asked.page = asked.visitor.ask(
            "POST",
            asked.url,
            self.posted,
            content_type="application/x-www-form-urlencoded",
            origin=ORIGIN,
            sec_fetch_site="same-origin",
        )

    def test_form_asks(self, world: World) -> None:
        asked = self.confirmed(world)
        assert len(forms_of(asked.page)) == 2
        assert asked.who == "bob"
        assert is_clean(asked.press("switch"))
        assert asked.who == "alice"

    def test_reload_asks_again(self, world: World) -> None:
        asked = self.confirmed(world)
        self.post(asked)
        assert len(forms_of(asked.page)) == 2
        assert is_clean(asked.press("stay"))
        assert asked.who == "bob"
        self.post(asked)
        assert is_clean(asked.page)
        assert asked.who == "bob"

    def test_second_token_is_no_confirm_link(self, world: World) -> None:
        asked = self.confirmed(world)
        (name,) = asked.questions
        second = asked.jar[name].split(".")[1]
        page = asked.open(f"confirm.{second}")
        self.posted = urlencode(forms_of(page)[0].fields).encode()
        self.post(asked)
        assert asked.page.cookies.get("sid") is None
        assert asked.who == "bob"


class TestPullHandoff:
    def came_back(self, world: World) -> Asked:
        asked = Asked(
            serve(
                world,
                issuer="https://a.example",
                secret=SECRET,
                public_origin=ORIGIN,
                protected=lambda request: request.path == "/account",
            )
        )
        asked.sign_in(None)
        sent = asked.visitor.get(f"{ORIGIN}/account?tab=1").location or ""
        (challenge,) = parse_qs(urlsplit(sent).query)["code_challenge"]
        asked.sign_in("bob")  # in another tab
        asked.open(
            asked.site.token(audience=ORIGIN, code_challenge=challenge),
            "/one-time-token/return",
            sec_fetch_site="cross-site",
        )
        return asked

    @pytest.mark.parametrize(("choice", "user"), [("switch", "alice"), ("stay", "bob")])
    def test_leads_to_the_wanted_page(self, world: World, choice: str, user: str) -> None:
        asked = self.came_back(world)
        assert len(forms_of(asked.page)) == 2
        assert [each for each in asked.jar if "ott_pull_" in each] == ["ott_pull_returns"]
        answer = asked.press(choice)
        assert (answer.status, urljoin(f"{ORIGIN}/account", answer.location or "")) == (
            303,
            f"{ORIGIN}/account?tab=1",
        )
        assert asked.who == user

    def test_reload_asks_again(self, world: World) -> None:
        asked = self.came_back(world)
        first = asked.page.body
        asked.open(asked.token, "/one-time-token/return", sec_fetch_site="cross-site")
        assert asked.page.body == first
        assert asked.press("switch").status == 303
        assert asked.who == "alice"
        again = asked.visitor.get(asked.url)
        assert (again.status, again.location) == (303, "/account?tab=1")
        assert asked.who == "alice"


class TestWithoutPage:
    def test_call(self, world: World) -> None:
        site = serve(world)
        token = site.token()
        answer = site.fetch(f"/?ott={token}", {"cookie": "sid=bob-cookie"})
        assert (answer.status, answer.code, answer.cookies) == (409, "SESSION_SWITCH", {})
        assert site.verify(token).status == 400

    @pytest.mark.parametrize("on_switch", ["ask", "keep"])
    def test_verify(self, world: World, on_switch: str) -> None:
        site = serve(world, on_switch=on_switch)
        token = site.token()
        answer = site.verify(token, {"cookie": "sid=bob-cookie"})
        assert (answer.status, answer.code, answer.cookies) == (409, "SESSION_SWITCH", {})
        assert site.verify(token).status == 400

    def test_verify_replaces(self, world: World) -> None:
        site = serve(world, on_switch="replace")
        answer = site.verify(site.token(), {"cookie": "sid=bob-cookie"})
        assert (answer.status, answer.cookies) == (200, {"sid": "alice-cookie"})

    @pytest.mark.parametrize("cookie", [None, "other=1", "sid=dead", "sid=alice-cookie"])
    def test_verify_without_another_user(self, world: World, cookie: str | None) -> None:
        site = serve(world)
        headers = {"cookie": cookie} if cookie else {}
        assert site.verify(site.token(), headers).cookies == {"sid": "alice-cookie"}

    def test_verify_asks_for_no_session_without_a_cookie(self, world: World) -> None:
        site = serve(world)
        site.verify(site.token())
        assert site.members.asked == ["resolve", "establish"]

    def test_verify_that_sets_no_cookie(self, world: World) -> None:
        site = serve(world, disable_set_session_cookie=True)
        answer = site.verify(site.token(), {"cookie": "sid=bob-cookie"})
        assert (answer.status, answer.cookies) == (200, {})
        assert answer.json()["session"]["userId"] == "alice"

    def test_adapter_that_cannot_verify_sessions(self, world: World) -> None:
        site = world.serve(session="sid")
        token = site.generate({"cookie": "sid=alice-cookie"}).json()["token"]
        assert site.verify(token, {"cookie": "sid=bob-cookie"}).cookies == {"sid": "alice-cookie"}


class TestOwnTokenService:
    def test_ask_acts_as_keep(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        class Own:
            clock = world.clock

            def __init__(self) -> None:
                self.answers = {"T" * 32: person("alice")}

            def verify(self, token: str, **how: Any) -> Session:
                return self.answers[token]

            async def averify(self, token: str, **how: Any) -> Session:
                return self.answers[token]

            generate = agenerate = revoke = arevoke = lambda self, *args, **how: None

        with caplog.at_level(logging.INFO, "ott_middleware"):
            asked = Asked(serve(world, tokens=Own()))
        (line,) = [each for each in caplog.messages if each.startswith("on_switch")]
        assert "acts as 'keep'" in line
        assert "pass a OneTimeTokens" in line
        assert is_clean(asked.open("T" * 32))
        assert asked.who == "bob"
        call = asked.site.fetch(f"/?ott={'T' * 32}", {"cookie": "sid=bob-cookie"})
        assert (call.status, call.body) == (200, b"bob")


class TestOtherOptions:
    def test_choice_where_none_is_asked(self, world: World) -> None:
        asked = ask(world)
        other = serve(world, backend=asked.site.flow.tokens.backend, on_switch="keep")
        asked.visitor.sites[ORIGIN] = other.send
        assert asked.press("switch").status == 400
        assert asked.who == "bob"


class TestReports:
    def test_events(self, world: World) -> None:
        events: list[Event] = []
        asked = ask(world, on_event=events.append)
        asked.press("switch")
        asked.open()  # as Alice: the same user
        asked.sign_in("bob")
        asked.open()
        asked.press("stay")
        asked.site.flow.services.reports.events.flush(10)
        told = [(each.kind, each.channel, each.session_id) for each in events]
        assert told == [
            ("generated", "confirm", "session-of-alice"),
            ("redeemed", "confirm", "session-of-alice"),
            ("redeemed", "handoff", "session-of-alice"),
            ("generated", "confirm", "session-of-alice"),
            ("refused", "confirm", "session-of-alice"),
        ]

    def test_page_is_one_debug_line(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG, "ott_middleware"):
            ask(world)
        assert [record.levelname for record in caplog.records if "switch" in record.message] == [
            "DEBUG"
        ]


class TestRateLimit:
    def test_choice_misses_no_attempt(self, world: World) -> None:
        """The visitor who stays is not counted among those who guess."""
        site = serve(world, rate_limit="1000/minute")
        missed: list[Any] = []

        async def note_miss(*args: Any) -> None:
            missed.append(args)

        limit = site.flow.services.rate_limit
        limit.note_miss = note_miss
        asked = Asked(site)
        asked.open()
        assert is_clean(asked.press("stay"))
        assert missed == []


class TestReplay:
    def test_reload_of_the_question_is_none(self, world: World) -> None:
        events: list[Event] = []
        asked = ask(world, on_event=events.append, on_replay="revoke", secret=SECRET)
        world.clock.forward(30)
        asked.open(asked.token)
        asked.press("switch")
        world.clock.forward(30)
        asked.open(asked.token)
        asked.site.flow.services.reports.events.flush(10)
        assert "replayed" not in [event.kind for event in events]
        assert asked.who == "alice"
