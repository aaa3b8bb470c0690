"""The session cookie that the adapter reads is the one that Django's own handler reads."""

from __future__ import annotations

from io import BytesIO

import django_project
import pytest

django_project.configure()

from django.core.handlers.wsgi import WSGIRequest

from ott_middleware.http import Request
from ott_middleware.sessions.django.request import cookie_of

BLANKS = ["\x85", "\xa0", "\u00a0", "\u2000", "\u3000", "\u2028"]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("raw", [True, False])
def test_blank_before_a_name_counts_as_for_django(blank: str, raw: bool) -> None:
    spelled = blank if raw and ord(blank) < 256 else blank.encode().decode("latin-1")
    header = f"sessionid=mine; {spelled}sessionid=planted"
    environ = {"REQUEST_METHOD": "GET", "HTTP_COOKIE": header, "wsgi.input": BytesIO()}
    request = Request("GET", "http", "/", headers={"cookie": header}, carrier=environ)
    assert cookie_of(request, "sessionid") == WSGIRequest(environ).COOKIES["sessionid"]
