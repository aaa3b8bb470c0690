"""What frameworks do themselves goes on as without ours: tokens of forms, messages, headers."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from django_project import configure
from harness import FETCH, Answer
from visitor import Visitor, forms_of, of_asgi, of_wsgi

from ott_middleware import MemoryBackend

from .sites import KINDS, FrameworkSite, email_of, found_by_itself, make_django_people, site

HERE, THERE = "http://here.example", "http://there.example"
DJANGO = [kind for kind in KINDS if kind.startswith("django")]


@pytest.fixture(autouse=True)
def people() -> None:
    make_django_people()


@pytest.fixture(params=DJANGO)
def django(request: pytest.FixtureRequest) -> FrameworkSite:
    """Both hosts of one project; what is asked is the same."""
    return two_of(request.param)


def two_of(kind: str) -> FrameworkSite:
    return site(kind, THERE, found_by_itself(kind), backend=MemoryBackend())


def visitor_of(target: FrameworkSite) -> Visitor:
    return Visitor({HERE: target.send, THERE: target.send})


def arrive(target: FrameworkSite, visitor: Visitor, *, remember: bool = True) -> Answer:
    """Sign in here, and go there by a link."""
    here = FrameworkSite(target.kind, HERE, target.middleware, target.send, target.home)
    here.sign_in(visitor, remember=remember)
    return visitor.get(f"{THERE}{target.home}?ott={visitor.token(HERE)}")


def test_page_is_the_same_as_without_the_middleware(django: FrameworkSite) -> None:
    of = of_wsgi if django.kind == "django-wsgi" else of_asgi
    bare = Visitor({HERE: of(django.middleware.app)})
    ours = Visitor({HERE: django.send})
    for path in (django.home, "/login/", "/visit/", "/nowhere/"):
        theirs, same = bare.get(HERE + path), ours.get(HERE + path)
        assert same.status == theirs.status
        assert [name for name, _ in same.headers] == [name for name, _ in theirs.headers], path
        assert same.all("vary") == theirs.all("vary")


def test_vary_cookie_stays_on_the_page_of_a_link(django: FrameworkSite) -> None:
    visitor = visitor_of(django)
    arrive(django, visitor)
    assert django.who(visitor) == email_of("ada")
    assert visitor.get(THERE + django.home).header("vary") == "Cookie"

    fetched = visitor_of(django)
    calling = fetched.ask(
        "GET",
        f"{THERE}{django.home}?ott={visitor.token(HERE)}",
        **{name.replace("-", "_"): value for name, value in FETCH.items()},
    )
    assert (calling.status, calling.header("vary")) == (200, "Cookie")
    assert email_of("ada") in calling.body.decode()
    assert calling.header("cache-control") == "private, no-store"


def test_forms_are_guarded_as_ever(django: FrameworkSite) -> None:
    visitor = visitor_of(django)
    (before,) = forms_of(visitor.get(THERE + "/login/"))
    arrive(django, visitor)
    # As after Django's own sign-in: a form from before was another visitor's.
    for fields in ({}, before.fields):
        posted = visitor.ask(
            "POST",
            THERE + "/logout/",
            urlencode(fields).encode(),
            content_type="application/x-www-form-urlencoded",
            origin=THERE,
        )
        assert posted.status == 403, fields
    assert django.who(visitor) == email_of("ada")
    django.sign_out(visitor)
    assert django.who(visitor) == "nobody"


def test_messages_from_before_the_arrival_are_told_after_it(django: FrameworkSite) -> None:
    visitor = visitor_of(django)
    visitor.get(THERE + "/visit/")
    arrive(django, visitor)
    assert visitor.get(THERE + "/told/").body == b"You were here."
    assert visitor.get(THERE + "/told/").body == b""


def test_messages_of_the_response_to_a_call_with_a_token_are_kept(django: FrameworkSite) -> None:
    visitor = visitor_of(django)
    arrive(django, visitor)
    token = visitor.token(HERE)
    other = visitor_of(django)
    called = other.ask(
        "GET",
        f"{THERE}/visit/?ott={token}",
        **{name.replace("-", "_"): value for name, value in FETCH.items()},
    )
    assert called.status == 200
    # The view wrote to the session: Django's cookie is the one that goes out.
    assert len([line for line in called.all("set-cookie") if "sessionid=" in line]) == 1
    assert other.get(THERE + "/told/").body == b"You were here."
    assert django.who(other) == email_of("ada")


@pytest.mark.parametrize("remember", [True, False])
def test_session_that_is_saved_with_every_request(django: FrameworkSite, remember: bool) -> None:
    configure()
    from django.test import override_settings

    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        visitor = visitor_of(django)
        arrived = arrive(django, visitor, remember=remember)
        assert arrived.status == 303
        for _ in range(2):
            answer = visitor.get(THERE + django.home)
            (line,) = [line.strip() for line in answer.all("set-cookie") if "sessionid=" in line]
            assert line.startswith(f"sessionid={visitor.jars[HERE]['sessionid']};")
            assert ("max-age" in line.lower()) is remember
        assert django.who(visitor) == email_of("ada")


def test_flask_varies_by_the_cookie_still() -> None:
    flask = two_of("flask")
    visitor = visitor_of(flask)
    arrive(flask, visitor)
    answer = visitor.get(THERE + "/")
    assert (answer.header("vary"), flask.who(visitor)) == ("Cookie", email_of("ada"))
