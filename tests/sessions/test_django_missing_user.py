"""A Django project that keeps its users in another place than `django.contrib.auth`."""

from __future__ import annotations

import django_project
import pytest
from harness import call_wsgi, make_environ

django_project.configure()

from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.wsgi import get_wsgi_application
from django.test import override_settings

from ott_middleware import OTTMiddleware


@pytest.mark.parametrize(
    ("cookie", "words"),
    [
        (None, "the session has the keys 'member_id', and no user under '_auth_user_id'"),
        ("jwt-auth=s3cret", "it has no cookie 'sessionid', and has the cookies 'jwt-auth'"),
    ],
)
def test_warning_names_what_there_is(
    caplog: pytest.LogCaptureFixture, cookie: str | None, words: str
) -> None:
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
        store = SessionStore()
        store["member_id"] = "s3cret"
        store.save()
        site = OTTMiddleware(get_wsgi_application())
        headers = {"cookie": cookie or f"sessionid={store.session_key}"}
        for _ in range(2):
            environ = make_environ("GET", "/one-time-token/generate", headers, host="localhost")
            assert call_wsgi(site, environ).status == 401
    (record,) = (each for each in caplog.records if each.levelname == "WARNING")
    assert record.message.startswith("DjangoSession: ")
    assert words in record.message
    assert "probe='/a/path'" in record.message
    assert "s3cret" not in caplog.text


def test_user_that_is_gone_is_no_reason(caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
        store = SessionStore()
        store["_auth_user_id"], store["_auth_user_backend"] = "7", "gone.Backend"
        store.save()
        headers = {"cookie": f"sessionid={store.session_key}"}
        environ = make_environ("GET", "/one-time-token/generate", headers, host="localhost")
        assert call_wsgi(OTTMiddleware(get_wsgi_application()), environ).status == 401
    assert [each for each in caplog.records if each.levelname == "WARNING"] == []
