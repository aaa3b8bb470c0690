"""Every kind of site hands people over to every other: the right ones, once, and nothing more."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from harness import Answer
from visitor import Visitor

from ott_middleware import MemoryBackend, Session
from ott_middleware.crypto import TokenSeal
from ott_middleware.tokens.names import backend_key

from .sites import (
    KINDS,
    PASSWORD,
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
DJANGO = ("django-wsgi", "django-asgi")
PAIRS = [(source, target) for source in KINDS for target in KINDS]


class CountingBackend(MemoryBackend):
    """Knows how much was ever put into it."""

    count = 0

    def put(self, key: str, value: bytes, **how: Any) -> None:
        self.count += 1
        super().put(key, value, **how)


@dataclass
class Pair:
    source: FrameworkSite
    target: FrameworkSite
    backend: CountingBackend

    def visitor(self) -> Visitor:
        return Visitor({HERE: self.source.send, THERE: self.target.send})

    def open(self, visitor: Visitor, token: str) -> Answer:
        return visitor.get(f"{THERE}{self.target.home}?ott={token}")

    def redeem(self, visitor: Visitor, token: str) -> Answer:
        """By the verify path, whose errors are told by their code."""
        body = json.dumps({"token": token}).encode()
        return visitor.ask(
            "POST",
            f"{THERE}/one-time-token/verify",
            body,
            content_type="application/json",
            origin=THERE,
            sec_fetch_site="same-origin",
        )

    def assert_refused(self, visitor: Visitor, token: str, code: str) -> None:
        refused = self.redeem(visitor, token)
        assert (refused.status, refused.code) == (400, code)
        assert refused.all("set-cookie") == []
        assert self.target.who(visitor) == "nobody"


def pair_of(source: str, target: str, *, ask: bool = False, **at_source: Any) -> Pair:
    """Two sites with one backend.

    :param ask: whether the target asks the source if a session still lives.
    """
    backend = CountingBackend()
    both = {"backend": backend, "secret": SECRET}
    if family(source) == family(target):
        # One secret, one store, one table of people: nothing needs to be said.
        here = site(source, HERE, found_by_itself(source), **both, **at_source)
        there = site(target, THERE, found_by_itself(target), **both)
    else:
        here = site(source, HERE, mapped(source), **both, **at_source)
        asked = (here.adapter,) if ask else ()
        there = site(target, THERE, mapped(target, asked), **both)
    return Pair(here, there, backend)


@pytest.fixture(autouse=True)
def people() -> None:
    make_django_people()


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_link_signs_in_the_right_user_once(source: str, target: str) -> None:
    pair = pair_of(source, target)
    for name in ("ada", "dan"):
        visitor, thief = pair.visitor(), pair.visitor()
        pair.source.sign_in(visitor, name)
        assert pair.target.who(visitor) == "nobody"
        token = visitor.token(HERE)

        arrival = pair.open(visitor, token)
        assert arrival.status == 303, arrival.body
        assert arrival.location == "./" + pair.target.home.rpartition("/")[2]
        assert pair.target.who(visitor) == email_of(name)

        refused = pair.open(thief, token)
        assert (refused.status, refused.all("set-cookie")) == (400, [])
        assert pair.target.who(thief) == "nobody"


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_session_not_remembered_ends_with_the_browser(source: str, target: str) -> None:
    pair = pair_of(source, target)
    remembered, passing = pair.visitor(), pair.visitor()
    for visitor, remember in ((remembered, True), (passing, False)):
        pair.source.sign_in(visitor, remember=remember)
        assert pair.open(visitor, visitor.token(HERE)).status == 303
        lines = session_cookies(pair, visitor)
        assert lines
        for line in lines:
            lasting = "max-age=" in line or "expires=" in line
            # Starlette's sessions do not tell whether they are to be remembered.
            if source == "fastapi":
                continue
            assert not lasting or remember, line


def session_cookies(pair: Pair, visitor: Visitor) -> list[str]:
    names = pair.target.adapter.cookie_names
    return [line.lower() for name, line in visitor.lines[THERE].items() if name in names]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_sign_out_revokes_the_links_that_were_made(source: str, target: str) -> None:
    pair = pair_of(source, target, revoke_on_sign_out=True)
    visitor = pair.visitor()
    pair.source.sign_in(visitor)
    token = visitor.token(HERE)
    pair.source.sign_out(visitor)
    pair.assert_refused(visitor, token, "INVALID_TOKEN")


@pytest.mark.parametrize(("source", "target"), [(s, t) for s, t in PAIRS if s in DJANGO])
@pytest.mark.parametrize("end", ["signed out", "deactivated", "new password"])
def test_session_that_ended_at_the_source_is_refused(source: str, target: str, end: str) -> None:
    """Where the target can see it: the same store, or a source that it may ask."""
    pair = pair_of(source, target, ask=True)
    visitor = pair.visitor()
    pair.source.sign_in(visitor)
    token = visitor.token(HERE)
    if end == "signed out":
        pair.source.sign_out(visitor)
    else:
        change_ada(end)
    pair.assert_refused(visitor, token, "SESSION_NOT_FOUND")


def change_ada(end: str) -> None:
    from django.contrib.auth.models import User

    ada = User.objects.get(email=email_of("ada"))
    if end == "deactivated":
        ada.is_active = False
    else:
        ada.set_password(PASSWORD[::-1])
    ada.save()


@pytest.mark.parametrize(("source", "target"), [(s, t) for s, t in PAIRS if t in DJANGO])
def test_user_deactivated_at_the_target_is_refused(source: str, target: str) -> None:
    pair = pair_of(source, target)
    visitor = pair.visitor()
    pair.source.sign_in(visitor)
    token = visitor.token(HERE)
    change_ada("deactivated")
    # A session of this project's own ended with its user; another site's session finds no user.
    own = family(source) == family(target)
    pair.assert_refused(visitor, token, "SESSION_NOT_FOUND" if own else "NO_ACCOUNT")


@pytest.mark.parametrize(
    ("source", "target"), [(s, t) for s, t in PAIRS if family(s) != family(t) and t != "sealed"]
)
def test_user_unknown_at_the_target_is_refused(source: str, target: str) -> None:
    """Nobody has the e-mail address any more, though somebody has the id."""
    pair = pair_of(source, target)
    pair.target.adapter._match = lambda session: None
    visitor = pair.visitor()
    pair.source.sign_in(visitor)
    pair.assert_refused(visitor, visitor.token(HERE), "NO_ACCOUNT")


@pytest.mark.parametrize(
    ("source", "target"), [(s, t) for s, t in PAIRS if family(s) != family(t) and t != "sealed"]
)
def test_users_are_not_mixed_up_without_a_match(source: str, target: str, caplog: Any) -> None:
    backend = CountingBackend()
    here = site(source, HERE, mapped(source), backend=backend, secret=SECRET)
    there = site(target, THERE, found_by_itself(target), backend=backend, secret=SECRET)
    pair = Pair(here, there, backend)
    visitor = pair.visitor()
    pair.source.sign_in(visitor)
    pair.assert_refused(visitor, visitor.token(HERE), "NO_ACCOUNT")
    assert "pass match=" in caplog.text


@pytest.mark.parametrize(("source", "target"), [(s, t) for s, t in PAIRS if family(s) != family(t)])
def test_sign_out_at_one_site_leaves_the_other_alone(source: str, target: str) -> None:
    pair = pair_of(source, target)
    visitor = pair.visitor()
    pair.source.sign_in(visitor)
    pair.open(visitor, visitor.token(HERE))
    pair.target.sign_out(visitor)
    assert (pair.source.who(visitor), pair.target.who(visitor)) == (email_of("ada"), "nobody")

    pair.open(visitor, visitor.token(HERE))
    pair.source.sign_out(visitor)
    assert (pair.source.who(visitor), pair.target.who(visitor)) == ("nobody", email_of("ada"))


# Nobody.


def alone(kind: str, make: Any = found_by_itself) -> tuple[FrameworkSite, CountingBackend]:
    backend = CountingBackend()
    return site(kind, HERE, make(kind), backend=backend, secret=SECRET), backend


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "sealed"])
def test_session_without_a_user_gets_no_token(kind: str) -> None:
    source, backend = alone(kind)
    visitor = Visitor({HERE: source.send})
    assert visitor.get(f"{HERE}/visit/").body == b"seen"
    assert visitor.jars[HERE], "there is a session"
    refused = visitor.generate(HERE)
    assert (refused.status, refused.code, backend.count) == (401, "UNAUTHORIZED", 0)


def forgeries(value: str) -> list[str]:
    head, _, tail = value.rpartition(".")
    # Not the last one: of base64, it may stand for fewer bits than it has.
    swapped = value[:-10] + ("A" if value[-10] != "A" else "B") + value[-9:]
    return [value[:-1], value[1:], head, tail, swapped, value.swapcase(), "null", "%00", "." * 40]


@pytest.mark.parametrize("kind", KINDS)
def test_cookie_that_is_forged_is_no_session(kind: str) -> None:
    source, backend = alone(kind)
    visitor = Visitor({HERE: source.send})
    source.sign_in(visitor)
    name = source.adapter.cookie_names[0]
    value = visitor.jars[HERE][name]
    for forged in forgeries(value):
        if forged == value or not forged:
            continue
        visitor.jars[HERE][name] = forged
        refused = visitor.generate(HERE)
        assert (refused.status, refused.code, backend.count) == (401, "UNAUTHORIZED", 0), forged
    visitor.jars[HERE][name] = value
    assert visitor.generate(HERE).status == 200


@pytest.mark.parametrize(
    ("source", "target"), [pair for pair in PAIRS if family(pair[0]) != family(pair[1])]
)
def test_cookie_of_another_kind_is_no_session(source: str, target: str) -> None:
    pair = pair_of(source, target)
    visitor = pair.visitor()
    pair.source.sign_in(visitor)
    name = pair.source.adapter.cookie_names[0]
    visitor.jars[THERE] = {pair.target.adapter.cookie_names[0]: visitor.jars[HERE][name]}
    assert visitor.generate(THERE).status == 401
    assert pair.backend.count == 0


# What travels.


@pytest.mark.parametrize("kind", KINDS)
def test_expose_and_data_limit_what_leaves(kind: str) -> None:
    backend = CountingBackend()
    source = site(
        kind,
        HERE,
        mapped(kind),
        backend=backend,
        secret=SECRET,
        generate_token=lambda session, context: "a-known-token",
    )
    visitor = Visitor({HERE: source.send})
    source.sign_in(visitor)
    assert visitor.token(HERE) == "a-known-token"

    key = backend_key("handoff", "a-known-token")
    value = backend.take(key)
    assert value is not None
    opened = TokenSeal((SECRET.encode(),)).open(value, token="a-known-token", key=key)
    assert opened is not None
    plain = opened[0].decode()
    session = json.loads(plain)["session"]
    number = members(family(kind))[email_of("ada")]
    assert session["user_id"] == number
    assert session["user"] == {"id": number, "email": email_of("ada")}
    assert session["data"] == {}
    for kept in ("dark", "oars", "shoe", PASSWORD, "csrf"):
        assert kept not in plain
    if kind != "sealed":
        # The cookie goes along under the site's own seal: nobody else can use it.
        assert visitor.jars[HERE][source.adapter.cookie_names[0]] not in plain
        assert session["token"].startswith(f"{source.adapter.kind}.")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "sealed"])
def test_expose_and_data_limit_a_session_that_the_app_names(kind: str) -> None:
    """Whoever made it, and whatever is in it: the list decides."""
    backend = CountingBackend()
    source = site(kind, HERE, mapped(kind), backend=backend, secret=SECRET)
    user = {"id": "2", "email": email_of("ada"), "shoe_size": 38}
    given = Session(id="s", token="a-cookie", user_id="2", user=user, data={"theme": "dark"})
    token = source.middleware.flow.tokens.generate(given)

    key = backend_key("handoff", token)
    opened = TokenSeal((SECRET.encode(),)).open(backend.take(key) or b"", token=token, key=key)
    assert opened is not None
    session = json.loads(opened[0])["session"]
    assert session["user"] == {"id": "2", "email": email_of("ada")}
    assert session["data"] == {}
    assert "a-cookie" not in opened[0].decode()
