"""`ott_middleware.testing.django`: clients and a live server with the middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import django_project
import pytest

django_project.configure()

from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.test import AsyncRequestFactory, RequestFactory, override_settings
from django.test.client import Client
from django.urls import path

from ott_middleware import ConfigurationError, MemoryBackend, OTTMiddleware, get_handle
from ott_middleware.testing.django import (
    OTTAsyncClient,
    OTTClient,
    OTTLiveServerThread,
    _around,
    add_handle,
)

OPTIONS: dict[str, Any] = {
    "backend": MemoryBackend(),
    "public_origin": ["http://testserver", "https://shop.example"],
}


def wsgi_with(**options: Any) -> Any:
    return OTTMiddleware(get_wsgi_application(), **{**OPTIONS, **options})


def asgi_with(**options: Any) -> Any:
    return OTTMiddleware(get_asgi_application(), **{**OPTIONS, **options})


application: Any = wsgi_with()
asgi_application: Any = asgi_with()


def own_link(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_handle(request).link(request.build_absolute_uri("/who/?a=1")))


def who(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    response = HttpResponse(user.username or "nobody")
    response.set_cookie("seen", "1")
    response["X-Host"] = request.get_host()
    return response


def away(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/who/")


def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body)


urlpatterns = [
    path("own/", own_link),
    path("who/", who),
    path("away/", away),
    path("echo/", echo),
]


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    with override_settings(
        ROOT_URLCONF=__name__,
        WSGI_APPLICATION=f"{__name__}.application",
        ASGI_APPLICATION=f"{__name__}.asgi_application",
    ):
        yield


@pytest.fixture
def ada() -> Iterator[Any]:
    user = User.objects.create_user("ada-of-the-tests", password="sesame")
    yield user
    user.delete()


class TestOTTClient:
    def test_link_and_paths_work_as_over_a_connection(self, ada: Any) -> None:
        client, other = OTTClient(), OTTClient()
        client.force_login(ada)
        link = client.get("/own/").content.decode()
        response = other.open_link(link)
        assert response.status_code == 303
        assert urljoin("/who/", response.url) == "/who/?a=1"
        assert response["cache-control"] == "no-store"
        assert response.wsgi_request.path == "/who/"
        assert other.get("/who/").content == b"ada-of-the-tests"

        token = client.get("/one-time-token/generate").json()["token"]
        verified = OTTClient().post(
            "/one-time-token/verify", {"token": token}, content_type="application/json"
        )
        assert verified.json()["user"]["id"] == str(ada.pk)
        assert verified.cookies["sessionid"]["httponly"]

    def test_call_keeps_what_the_app_sets(self, ada: Any) -> None:
        client = OTTClient()
        client.force_login(ada)
        link = client.get("/own/").content.decode()
        other = OTTClient()
        # A script: the app handles the request itself, and its response gains the cookie.
        response = other.get(link, headers={"sec-fetch-site": "none"})
        assert response.content == b"ada-of-the-tests"
        assert set(response.cookies) == {"seen", "sessionid"}
        assert response["cache-control"] == "private, no-store"
        assert response["x-host"] == "testserver"
        assert other.get("/who/").content == b"ada-of-the-tests"

    def test_partitioned_cookie_is_kept(self, ada: Any) -> None:
        from ott_middleware import DjangoSession

        class Partitioned(OTTClient):
            application = wsgi_with(session=DjangoSession(partitioned=True, secure=True))

        client, other = Partitioned(), Partitioned()
        client.force_login(ada)
        link = client.get("/own/", secure=True, headers={"host": "shop.example"}).content.decode()
        assert other.open_link(link).status_code == 303
        assert "sessionid" in other.cookies

    def test_open_link_goes_to_the_host_of_the_url(self) -> None:
        response = OTTClient().open_link("https://shop.example/who/")
        assert response["x-host"] == "shop.example"
        assert response.wsgi_request.is_secure()
        assert OTTClient().open_link("/who/", headers={"x-a": "1"})["x-host"] == "testserver"

    def test_responses_of_the_app_are_djangos(self) -> None:
        client = OTTClient()
        response = client.get("/away/")
        assert (response.status_code, response.url) == (302, "/who/")
        assert client.get("/away/", follow=True).content == b"nobody"
        assert client.post("/echo/", b"body", content_type="text/plain").content == b"body"

    def test_csrf_checks_stay_as_asked(self) -> None:
        assert OTTClient(enforce_csrf_checks=True).post("/echo/").status_code == 403
        assert OTTClient().post("/echo/").status_code == 200

    def test_application_of_a_subclass_counts(self) -> None:
        class Own(OTTClient):
            application = wsgi_with(base_path="/auth")

        assert Own().get("/auth/one-time-token/generate").status_code == 401

    @pytest.mark.parametrize("name", [None, f"{__name__}.own_link"])
    def test_project_without_the_middleware_is_told(self, name: str | None) -> None:
        with (
            override_settings(WSGI_APPLICATION=name),
            pytest.raises(ImproperlyConfigured, match=r"WSGI_APPLICATION; let it name the wrapped"),
        ):
            OTTClient()

    def test_client_of_django_is_told_of_this_one(self) -> None:
        with pytest.raises(LookupError, match=r"ott_middleware\.testing\.django"):
            Client().get("/own/")


class TestOTTAsyncClient:
    def test_link_and_paths_work_as_over_a_connection(self, ada: Any) -> None:
        async def visit() -> None:
            client, other = OTTAsyncClient(), OTTAsyncClient()
            await client.aforce_login(ada)
            link = (await client.get("/own/")).content.decode()
            response = await other.open_link(link)
            assert response.status_code == 303
            assert urljoin("/who/", response.url) == "/who/?a=1"
            assert response.asgi_request.path == "/who/"
            assert (await other.get("/who/")).content == b"ada-of-the-tests"

            token = (await client.get("/one-time-token/generate")).json()["token"]
            verified = await OTTAsyncClient().post(
                "/one-time-token/verify", {"token": token}, content_type="application/json"
            )
            assert verified.json()["user"]["id"] == str(ada.pk)
            posted = await client.post("/echo/", b"body", content_type="text/plain")
            assert posted.content == b"body"
            called = await OTTAsyncClient().get(
                (await client.get("/own/")).content.decode(), headers={"sec-fetch-site": "none"}
            )
            assert set(called.cookies) == {"seen", "sessionid"}

        asyncio.run(visit())

    def test_open_link_goes_to_the_host_of_the_url(self) -> None:
        response = asyncio.run(OTTAsyncClient().open_link("https://shop.example/who/"))
        assert response["x-host"] == "shop.example"

    def test_query_as_bytes(self) -> None:
        response = asyncio.run(OTTAsyncClient().get("/who/", QUERY_STRING=b"a=1"))
        assert response.content == b"nobody"

    def test_project_without_the_middleware_is_told(self) -> None:
        with (
            override_settings(ASGI_APPLICATION=None),
            pytest.raises(ImproperlyConfigured, match="ASGI_APPLICATION"),
        ):
            OTTAsyncClient()


class TestAddHandle:
    def test_requests_of_both_factories(self) -> None:
        for factory in (RequestFactory(), AsyncRequestFactory()):
            request = factory.get("/")
            with pytest.raises(LookupError, match="add_handle"):
                get_handle(request)
            assert add_handle(request) is request
            assert (
                get_handle(request).carrier["path" if hasattr(request, "scope") else "PATH_INFO"]
                == "/"
            )

    def test_application_is_an_argument(self) -> None:
        request = add_handle(RequestFactory().get("/"), wsgi_with(query_param="t"))
        assert get_handle(request).services.options.query_param == "t"


class TestOTTLiveServerThread:
    def test_its_app_has_the_middleware_around(self) -> None:
        import urllib.error
        import urllib.request

        server = OTTLiveServerThread("localhost", lambda handler: handler)
        server.daemon = True
        server.start()
        server.is_ready.wait(10)
        assert server.error is None
        try:
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"http://localhost:{server.port}/one-time-token/generate")
            caught.value.close()
            assert caught.value.code == 401
        finally:
            server.terminate()


class TestAround:
    def test_subclass_of_the_middleware(self) -> None:
        made: Any = _around(asgi_application, application)
        assert made.app is application
        assert made.flow is asgi_application.flow
        assert asgi_application.app is not application


class TestCanonicalHost:
    """A project redirects to www.shop.example, inside of the middleware."""

    @pytest.mark.parametrize("domain", [None, ".shop.example"])
    def test_cookie_of_the_other_host(self, ada: Any, domain: str | None) -> None:
        origins = ["https://shop.example", "https://www.shop.example"]
        canonical = "django.middleware.common.CommonMiddleware"
        assert canonical in django_project.SETTINGS["MIDDLEWARE"]
        with override_settings(PREPEND_WWW=True, SESSION_COOKIE_DOMAIN=domain):

            class Own(OTTClient):
                application = wsgi_with(public_origin=origins)

            client, other = Own(), Own()
            client.force_login(ada)
            headers = {"host": "www.shop.example"}
            link = client.get("/own/", secure=True, headers=headers).content.decode()
            # At the canonical host nothing is in the way.
            assert other.open_link(link).status_code == 303
            assert other.get("/who/", secure=True, headers=headers).content == b"ada-of-the-tests"
            # At the other one, the cookie goes along only with a domain of both.
            wrapped = other.open_link("https://shop.example/who/")
            assert wrapped.url == "https://www.shop.example/who/"
            assert other.cookies["sessionid"]["domain"] == (domain or "")


class TestMiddlewareSetting:
    """In `MIDDLEWARE`, which Django loads itself, under both handlers."""

    @pytest.mark.parametrize(
        "entry",
        [
            "ott_middleware.OTTMiddleware",
            "ott_middleware.WSGIMiddleware",
            "ott_middleware.ASGIMiddleware",
        ],
    )
    @pytest.mark.parametrize("place", ["first", "last"])
    @pytest.mark.parametrize("is_async", [False, True])
    def test_error_names_wsgi_py_and_asgi_py(self, entry: str, place: str, is_async: bool) -> None:
        layers = ["django.contrib.sessions.middleware.SessionMiddleware"]
        layers.insert(0 if place == "first" else 1, entry)
        handler = WSGIHandler.__new__(WSGIHandler)
        with (
            override_settings(MIDDLEWARE=layers),
            pytest.raises(ConfigurationError, match=r"wsgi\.py or asgi\.py: application = OTTMid"),
        ):
            handler.load_middleware(is_async=is_async)
