"""The account switch between all kinds of sites: a session is resolved twice, and is the same."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urljoin

import pytest
from harness import Answer, Members, World, person
from visitor import Visitor, forms_of

from ott_middleware import CookieSession, MemoryBackend, SealedSession

from .sites import (
    KINDS,
    FrameworkSite,
    email_of,
    family,
    found_by_itself,
    make_django_people,
    mapped,
    members,
    site,
)

HERE, THERE = "http://here.example", "http://there.example"
SECRET = "what both sides seal with"
PAIRS = [(source, target) for source in KINDS for target in KINDS]


@pytest.fixture(autouse=True)
def people() -> None:
    make_django_people()


class Pair:
    """Two sites with one backend; a visitor who is Ada at the one and Dan at the other."""

    def __init__(self, source: str, target: str, **at_target: Any) -> None:
        both = {"backend": MemoryBackend(), "secret": SECRET}
        alike = family(source) == family(target)
        here, there = (
            (found_by_itself(source), found_by_itself(target))
            if alike
            else (mapped(source), mapped(target))
        )
        self.source: FrameworkSite = site(source, HERE, here, handoff_targets=[THERE], **both)
        self.target: FrameworkSite = site(target, THERE, there, **both, **at_target)
        self.visitor = Visitor({HERE: self.source.send, THERE: self.target.send})
        self.source.sign_in(self.visitor, "ada")
        self.target.sign_in(self.visitor, "dan")

    def token(self, query: str = "") -> str:
        answer = self.visitor.get(
            f"{HERE}/one-time-token/generate{query}",
            accept="*/*",
            sec_fetch_mode="cors",
            sec_fetch_dest="empty",
            sec_fetch_site="same-origin",
        )
        return str(answer.json()["token"])

    def open(self, token: str) -> Answer:
        self.url = f"{THERE}{self.target.home}?ott={token}"
        return self.visitor.get(self.url, sec_fetch_site="cross-site")

    def press(self, page: Answer, choice: str) -> Answer:
        form = next(form for form in forms_of(page) if form.fields["choice"] == choice)
        return self.visitor.ask(
            "POST",
            urljoin(self.url, form.action),
            urlencode(form.fields).encode(),
            content_type="application/x-www-form-urlencoded",
            origin=THERE,
            sec_fetch_site="same-origin",
        )

    @property
    def who(self) -> str:
        return self.target.who(self.visitor)


class TestFrameworks:
    @pytest.mark.parametrize(("source", "target"), PAIRS)
    @pytest.mark.parametrize("choice", ["switch", "stay"])
    def test_choice(self, source: str, target: str, choice: str) -> None:
        pair = Pair(source, target)
        page = pair.open(pair.token())
        assert (page.status, len(forms_of(page))) == (200, 2), page.body
        assert pair.who == email_of("dan")
        answer = pair.press(page, choice)
        assert answer.status == 303, answer.body
        assert pair.who == email_of("ada" if choice == "switch" else "dan")
        assert pair.visitor.get(pair.url).status == 303
        assert pair.who == email_of("ada" if choice == "switch" else "dan")

    @pytest.mark.parametrize(("source", "target"), PAIRS)
    @pytest.mark.parametrize("query", ["", f"?audience={THERE}"])
    def test_token_is_bound_to_the_target(self, source: str, target: str, query: str) -> None:
        pair = Pair(source, target, public_origin=THERE)
        assert pair.press(pair.open(pair.token(query)), "switch").status == 303
        assert pair.who == email_of("ada")

    @pytest.mark.parametrize("target", KINDS)
    def test_app_that_writes_to_its_session_meanwhile(self, target: str) -> None:
        """Apps sign their cookie anew while the page is shown; the session is the same one."""
        pair = Pair("sealed" if target != "sealed" else "flask", target)
        page = pair.open(pair.token())
        pair.visitor.get(f"{THERE}/visit/")
        assert pair.press(page, "switch").status == 303
        assert pair.who == email_of("ada")

    @pytest.mark.parametrize("target", KINDS)
    def test_page_names_both(self, target: str) -> None:
        pair = Pair("sealed" if target != "sealed" else "flask", target)
        text = pair.open(pair.token()).body.decode()
        assert email_of("dan") in text
        # Without a table of users, a local user is no more than the id that `match` returned.
        ada = members("fastapi")[email_of("ada")]
        assert (f"\u2068{ada}\u2069" if target == "fastapi" else email_of("ada")) in text

    @pytest.mark.parametrize("source", ["django-wsgi", "django-asgi"])
    def test_session_that_ended_while_the_page_was_shown(self, source: str) -> None:
        pair = Pair(source, source)
        page = pair.open(pair.token())
        pair.source.sign_out(pair.visitor)
        answer = pair.press(page, "switch")
        assert answer.status == 400, answer.body
        assert pair.who == email_of("dan")


class TestCookieSession:
    def test_validated(self, world: World) -> None:
        live = {"a" * 20: "alice", "b" * 20: "bob"}

        def validate(values: Any) -> Any:
            name = live.get(values["sid"])
            return name and {"user_id": name, "user": {"id": name}}

        adapter = CookieSession("sid", validate=validate, renews_key=True)
        served = world.serve(session=adapter)
        visitor = Visitor({"http://app.example": served.send})
        visitor.jars["http://app.example"] = {"sid": "a" * 20}
        token = visitor.token("http://app.example")
        visitor.jars["http://app.example"] = {"sid": "b" * 20}
        pair = Pair.__new__(Pair)
        pair.visitor, pair.url = visitor, f"http://app.example/?ott={token}"
        page = visitor.get(pair.url)
        form = next(form for form in forms_of(page) if form.fields["choice"] == "switch")
        answer = visitor.ask(
            "POST",
            urljoin(pair.url, form.action),
            urlencode(form.fields).encode(),
            content_type="application/x-www-form-urlencoded",
            origin="http://app.example",
            sec_fetch_site="same-origin",
        )
        assert answer.status == 303
        assert visitor.jars["http://app.example"] == {"sid": "a" * 20}


class TestSealedSession:
    def test_match_sees_what_the_source_sent(self, world: World) -> None:
        """Not what is left of it by `expose` of this site, when the second token is made."""
        backend = MemoryBackend(clock=world.clock)
        arriving = person("x", user={"id": "x", "email": "ada@x.example"})
        source = world.serve(session=Members(arriving), backend=backend)
        seen: list[Any] = []

        def match(session: Any) -> Any:
            seen.append(dict(session.user))
            return {"id": "ada"}

        adapter = SealedSession(SECRET, expose=["name"], match=match, clock=world.clock)
        target = world.serve(session=adapter, backend=backend)
        dan = adapter.start("dan", remember=True).token
        url = f"http://app.example/?ott={source.token(arriving)}"
        visitor = Visitor({"http://app.example": target.send})
        visitor.jars["http://app.example"] = {"ott_session": dan}
        page = visitor.get(url)
        form = next(form for form in forms_of(page) if form.fields["choice"] == "switch")
        answer = visitor.ask(
            "POST",
            urljoin(url, form.action),
            urlencode(form.fields).encode(),
            content_type="application/x-www-form-urlencoded",
            origin="http://app.example",
            sec_fetch_site="same-origin",
        )
        assert answer.status == 303
        assert seen == [{"id": "x", "email": "ada@x.example"}] * 2
