"""Django's sessions that no browser has are deleted by their own cookie alone."""

from __future__ import annotations

import django_project

django_project.configure()

from django.contrib.sessions.backends.db import SessionStore

from ott_middleware import DjangoSession
from ott_middleware.http import Cookie, Request


class TestDiscard:
    def test_other_cookies_name_no_session(self) -> None:
        store = SessionStore()
        store["a"] = 1
        store.save()
        key = str(store.session_key)
        request = Request("GET", "http", "/")
        adapter = DjangoSession(mode="fork")
        adapter.discard([Cookie("csrftoken", key)], request)
        assert SessionStore().exists(key)
        adapter.discard([Cookie("csrftoken", "x"), Cookie("sessionid", key)], request)
        assert not SessionStore().exists(key)
