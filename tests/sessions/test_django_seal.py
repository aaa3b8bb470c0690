"""What decides who is signed in comes from inside of the source's seal, not from beside it.

An attacker who can write to the backend, but knows no secret, has an account and so a token for a
session of their own. They put other values beside its sealed key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import django_project
import pytest

django_project.configure()

from django.contrib.auth import SESSION_KEY, login
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session as Stored
from django.http import HttpRequest

from ott_middleware import DjangoSession, Session
from ott_middleware.errors import NoAccount
from ott_middleware.http import Request
from ott_middleware.sessions.django import user as django_user

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
FAR = datetime.now(timezone.utc) + timedelta(days=10)


@pytest.fixture(autouse=True)
def _people() -> Iterator[None]:
    User.objects.all().delete()
    Stored.objects.all().delete()
    for number, name in ((1, "ada"), (2, "eve")):
        # One hash for both: a user model without passwords has no hash that tells users apart.
        User.objects.create(id=number, username=name, email=f"{name}@example.com", password="!")
    yield
    User.objects.all().delete()


def adapter(**options: Any) -> DjangoSession:
    return DjangoSession(
        **{"mode": "fork", "same_store": False, "data": ["role", "cart"], "expose": ["email"]}
        | options
    )


def left_by(adapter: DjangoSession, name: str = "eve") -> Session:
    request = HttpRequest()
    request.session = SessionStore()
    login(request, User.objects.get(username=name), MODEL_BACKEND)
    request.session.update({"role": "guest", "cart": ["oars", {"näme": 1.5}]})
    request.session.set_expiry(3600)
    request.session.save()
    cookies = {"sessionid": request.session.session_key}
    session = adapter.current(Request("GET", "http", "/").with_cookies(cookies))
    assert session is not None
    return Session.from_json(json.loads(json.dumps(adapter.expose(session).to_json())))


CLAIMS: dict[str, dict[str, Any]] = {
    "user_id": {"user_id": "1"},
    "user": {"user": {"id": "1", "email": "ada@example.com"}},
    "both": {"user_id": "1", "user": {"id": "1", "email": "ada@example.com"}},
    "id": {"id": "the id of another session"},
    "expires_at": {"expires_at": FAR},
    "no end": {"expires_at": None},
    "created_at": {"created_at": FAR},
    "data": {"data": {"role": "admin", "cart": ["oars", {"näme": 1.5}]}},
    "data of another name": {"data": {"cart": "guest", "role": ["oars", {"näme": 1.5}]}},
}


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("same_store", [False, True])
def test_values_beside_the_seal_do_not_count(
    claim: str, same_store: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(User, "get_session_auth_hash", lambda self: "the same for all")
    site = adapter(same_store=same_store)
    left = left_by(site)
    if not same_store:
        Stored.objects.all().delete()
    found: Any = site.resolve(replace(left, **CLAIMS[claim]))
    assert found.user_id == "2"
    assert found.user == {"id": "2", "email": "eve@example.com"}
    assert found.id == left.id
    assert found.created_at is None
    assert found.expires_at <= (left.expires_at or FAR)
    assert found.data.get("role", "guest") == "guest"
    cookie, *_ = site.establish(found, Request("GET", "http", "/"))
    begun = SessionStore(cookie.value)
    assert begun[SESSION_KEY] == "2"
    assert begun.get("role", "guest") == "guest"
    assert begun.get_expiry_age() <= 3600


@pytest.mark.parametrize("claim", ["user_id", "both", "data", "no end"])
def test_site_that_asks_the_source_takes_its_sealed_values(claim: str) -> None:
    class Elsewhere(DjangoSession):
        kind = "elsewhere"

    source = Elsewhere(expose=["email"], data=["role"])
    there = source._open(replace(left_by(source), **CLAIMS[claim]))
    assert there is not None
    assert (there.user_id, dict(there.user or {})["email"]) == ("2", "eve@example.com")
    assert there.expires_at is not None
    assert there.data.get("role", "guest") == "guest"


def test_honest_session_arrives_whole() -> None:
    site = adapter()
    left = left_by(site)
    found: Any = site.resolve(left)
    assert found.data == {"role": "guest", "cart": ["oars", {"näme": 1.5}]}
    assert (found.user_id, found.persistent) == ("2", True)
    assert found.expires_at <= left.expires_at
    assert adapter(data=["role"]).resolve(left).data == {"role": "guest"}
    assert isinstance(found, django_user.SignedIn)


def test_sealed_key_of_an_earlier_release_is_no_session() -> None:
    site = adapter()
    left = left_by(site)
    old = site._seal(json.dumps(["k" * 32, MODEL_BACKEND, "hash"]))
    with pytest.raises(NoAccount):
        site.resolve(replace(left, token=old))
