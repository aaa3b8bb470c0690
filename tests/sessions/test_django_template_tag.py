"""The template tag `ott_link` of the Django app `ott_middleware.django`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import django_project
import pytest

django_project.configure()

from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine, RequestContext
from django.test import RequestFactory, override_settings
from django.urls import path
from django.views.decorators.cache import cache_page

from ott_middleware import MemoryBackend, OTTMiddleware, get_handle
from ott_middleware.errors import BackendUnavailable, InvalidTarget
from ott_middleware.testing.django import OTTAsyncClient, OTTClient, add_handle

URL = "https://b.example/x?a=1&b=2"
LINK = "{% load ott %}{% ott_link url %}"


class Broken(MemoryBackend):
    def put(self, *args: Any, **keywords: Any) -> None:
        raise BackendUnavailable("no response")


def options(**more: Any) -> dict[str, Any]:
    return {"backend": MemoryBackend(), "handoff_targets": ["https://b.example"], **more}


application: Any = OTTMiddleware(get_wsgi_application(), **options())
asgi_application: Any = OTTMiddleware(get_asgi_application(), **options())
broken: Any = OTTMiddleware(get_wsgi_application(), **options(backend=Broken()))


def render(request: Any, text: str = LINK, url: Any = URL, **more: Any) -> str:
    engine = Engine(
        libraries={"ott": "ott_middleware.django.templatetags.ott"},
        context_processors=["django.template.context_processors.request"],
    )
    return str(engine.from_string(text).render(RequestContext(request, {"url": url, **more})))


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(render(request, request.GET.get("text", LINK)))


async def on_the_loop(request: HttpRequest) -> HttpResponse:
    return HttpResponse(render(request))


async def in_a_thread(request: HttpRequest) -> HttpResponse:
    return HttpResponse(await sync_to_async(render)(request))


async def passed(request: HttpRequest) -> HttpResponse:
    link = await get_handle(request).alink(URL)
    return HttpResponse(render(request, "{{ link }}", link=link))


urlpatterns = [
    path("page/", page),
    path("cached/", cache_page(60)(page)),
    path("on-the-loop/", on_the_loop),
    path("in-a-thread/", in_a_thread),
    path("passed/", passed),
]


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    with override_settings(
        ROOT_URLCONF=__name__,
        WSGI_APPLICATION=f"{__name__}.application",
        ASGI_APPLICATION=f"{__name__}.asgi_application",
    ):
        yield
    cache.clear()


@pytest.fixture
def ada() -> Iterator[Any]:
    user = User.objects.create_user("ada-of-the-tag", password="sesame")
    yield user
    user.delete()


@pytest.fixture
def client(ada: Any) -> Any:
    client = OTTClient()
    client.force_login(ada)
    return client


def anonymous(application: Any = None) -> Any:
    return add_handle(RequestFactory().get("/"), application)


class TestOTTLink:
    def test_url_is_escaped_in_html(self, client: Any) -> None:
        class Links(HTMLParser):
            found = ""

            def handle_starttag(self, tag: str, attrs: Any) -> None:
                self.found = dict(attrs)["href"]

        text = f'{{% load ott %}}<a href="{{% ott_link "{URL}" %}}">'
        html = client.get("/page/", {"text": text}).content.decode()
        assert "a=1&amp;b=2&amp;ott=" in html
        parser = Links()
        parser.feed(html)
        assert parser.found.startswith(f"{URL}&ott=")

    def test_url_is_plain_where_the_template_escapes_nothing(self, client: Any) -> None:
        text = "{% load ott %}{% autoescape off %}{% ott_link url %}{% endautoescape %}"
        assert client.get("/page/", {"text": text}).content.decode().startswith(f"{URL}&ott=")

    def test_variable_is_escaped_once(self, client: Any) -> None:
        text = "{% load ott %}{% ott_link url as link %}{{ link }}"
        html = client.get("/page/", {"text": text}).content.decode()
        assert "a=1&amp;b=2&amp;ott=" in html

    def test_hostile_url_stays_in_its_attribute(self) -> None:
        assert "<script>" not in render(anonymous(), url="https://b.example/?<script>")

    def test_lifetime_is_an_argument(self, client: Any) -> None:
        text = "{% load ott %}{% ott_link url expires_in=10 %}"
        assert "ott=" in client.get("/page/", {"text": text}).content.decode()

    def test_visitor_without_a_session_gets_the_url(self) -> None:
        assert render(anonymous()) == URL.replace("&", "&amp;")

    def test_other_site_is_refused(self) -> None:
        with pytest.raises(InvalidTarget):
            render(anonymous(), url="https://evil.example/")
        with pytest.raises(InvalidTarget):
            render(anonymous(), url="")

    def test_store_that_does_not_respond_leaves_the_page(
        self, ada: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Own(OTTClient):
            application = broken

        client = Own()
        client.force_login(ada)
        with caplog.at_level(logging.ERROR):
            assert client.get("/page/").content.decode() == URL.replace("&", "&amp;")
        assert "ott_link: BackendUnavailable" in caplog.text

    def test_template_without_a_request_is_told(self) -> None:
        engine = Engine(libraries={"ott": "ott_middleware.django.templatetags.ott"})
        with pytest.raises(ImproperlyConfigured, match=r"template\.context_processors\.request"):
            engine.from_string(LINK).render(Context({"url": URL}))

    def test_app_that_is_not_wrapped_is_told(self) -> None:
        with pytest.raises(LookupError, match="not wrapped"):
            render(RequestFactory().get("/"))


class TestOTTLinkInCaches:
    def test_page_with_a_token_is_not_kept(self, client: Any) -> None:
        first, second = client.get("/cached/"), client.get("/cached/")
        assert first.content != second.content
        assert "Cookie" in first["vary"]
        assert b"ott=" not in OTTClient().get("/cached/").content

    def test_page_without_a_token_is_kept(self) -> None:
        with override_settings(ALLOWED_HOSTS=["*"]):
            first = OTTClient().get("/cached/", {"a": "1"})
        assert "max-age=60" in first["cache-control"]

    def test_request_without_sessions(self, client: Any) -> None:
        request = RequestFactory().get("/")
        request.COOKIES.update({name: each.value for name, each in client.cookies.items()})
        request.environ["HTTP_COOKIE"] = f"sessionid={client.cookies['sessionid'].value}"
        assert "ott=" in render(add_handle(request))
        assert request._cache_update_cache is False


class TestOTTLinkUnderASGI:
    @pytest.mark.parametrize("page", ["page", "in-a-thread", "passed"])
    def test_link_of_sync_and_async_views(self, page: str, ada: Any) -> None:
        async def visit() -> str:
            client = OTTAsyncClient()
            await client.aforce_login(ada)
            return str((await client.get(f"/{page}/")).content.decode())

        assert "a=1&amp;b=2&amp;ott=" in asyncio.run(visit())

    def test_template_on_the_loop_is_told_what_to_do(self) -> None:
        with pytest.raises(RuntimeError) as caught:
            asyncio.run(OTTAsyncClient().get("/on-the-loop/"))
        assert "await sync_to_async(render)(request, ...)" in str(caught.value)
        assert "await get_handle(request).alink(url)" in str(caught.value)


class TestApp:
    def test_installed_app_has_the_tag(self) -> None:
        installed = [*django_project.SETTINGS["INSTALLED_APPS"], "ott_middleware.django"]
        templates = {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
        }
        with override_settings(INSTALLED_APPS=installed, TEMPLATES=[templates]):
            assert apps.get_app_config("ott_middleware").name == "ott_middleware.django"
            from django.template import engines

            assert engines["django"].from_string("{% load ott %}ok").render() == "ok"
