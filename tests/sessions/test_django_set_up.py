"""Django projects whose middleware prepares each request: a tenant's database, schema or site."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import django_project
import pytest
from asgiref.local import Local
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from visitor import Visitor, of_asgi, of_wsgi

django_project.configure()

from django.contrib.auth import SESSION_KEY, login, logout
from django.contrib.auth.middleware import RemoteUserMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.asgi import get_asgi_application
from django.core.exceptions import MiddlewareNotUsed, PermissionDenied
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.cache import UpdateCacheMiddleware
from django.test import override_settings
from django.urls import path
from django.utils.decorators import async_only_middleware, sync_and_async_middleware

from ott_middleware import DjangoSession, OTTMiddleware, get_handle
from ott_middleware.context import using_request
from ott_middleware.errors import NoAccount
from ott_middleware.http import Request
from ott_middleware.sessions.django.chain import Chain

NORTH, SOUTH = "http://north.example", "http://south.example"
STANDARD = django_project.SETTINGS["MIDDLEWARE"]
ME = __name__
TENANT = threading.local()
SEEN: list[str] = []


# The project.


class Router:
    """Sends each query to the database of the tenant that this thread has."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        name: str = getattr(TENANT, "name", "default")
        return "south" if name == "south" else "default"

    db_for_write = db_for_read

    def allow_relation(self, *_: Any, **__: Any) -> bool:
        return True


class ByHost:
    """Leaves the tenant in the thread, as many do."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        TENANT.name = request.get_host().partition(".")[0]
        return self.get_response(request)


class ByHeader(ByHost):
    def __call__(self, request: Any) -> Any:
        TENANT.name = request.headers.get("X-Tenant", "north")
        try:
            return self.get_response(request)
        finally:
            TENANT.name = "none"


@async_only_middleware
def by_host_async_only(get_response: Any) -> Any:
    async def middleware(request: Any) -> Any:
        TENANT_VARIABLE.name = request.get_host().partition(".")[0]
        return await get_response(request)

    return middleware


# A tenant that follows a request from the loop to its threads and back.
TENANT_VARIABLE: Any = Local()


class VariableRouter(Router):
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "south" if getattr(TENANT_VARIABLE, "name", "") == "south" else "default"

    db_for_write = db_for_read


@sync_and_async_middleware
def either(get_response: Any) -> Any:
    if iscoroutinefunction(get_response):

        async def middleware_async(request: Any) -> Any:
            SEEN.append("async")
            return await get_response(request)

        return middleware_async

    def middleware(request: Any) -> Any:
        SEEN.append("sync")
        return get_response(request)

    return middleware


def members_only(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        if not request.user.is_authenticated and not request.path.startswith("/enter"):
            return HttpResponseRedirect("/enter")
        return get_response(request)

    return middleware


CLOSED: set[str] = set()


def closed(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        if "raises" in CLOSED:
            raise PermissionDenied
        if "breaks" in CLOSED:
            raise KeyError("secret")
        if "page" in CLOSED and request.path == "/kept/":
            return HttpResponse("kept", status=403)
        return HttpResponse("down", status=503) if "down" in CLOSED else get_response(request)

    return middleware


def signs_out(get_response: Any) -> Any:
    """As a project does with a session that was idle for too long."""

    def middleware(request: Any) -> Any:
        if "logout" in CLOSED:
            logout(request)
        if "clear" in CLOSED:
            request.session.clear()
        if "switch" in CLOSED:
            request.session[SESSION_KEY] = "901"
        if "user" in CLOSED:
            request.user = AnonymousUser()
        if "look" in CLOSED:
            assert request.session[SESSION_KEY]
            assert request.user.is_authenticated
        return get_response(request)

    return middleware


def not_used(get_response: Any) -> Any:
    raise MiddlewareNotUsed


class Counting:
    """Writes to the session at each request."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        request.session["visits"] = request.session.get("visits", 0) + 1
        request.session.save()
        request.session.cycle_key()
        return self.get_response(request)


class CountingAsync:
    async_capable, sync_capable = True, False

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: Any) -> Any:
        await request.session.aset("visits", 1)
        await request.session.asave()
        return await self.get_response(request)


class OwnCache(UpdateCacheMiddleware):  # type: ignore[misc]  # Django's have no types
    pass


class Proxy(RemoteUserMiddleware):  # type: ignore[misc]  # the same
    pass


class OwnSessions(SessionMiddleware):  # type: ignore[misc]  # the same
    pass


def enter(request: Any, name: str) -> HttpResponse:
    login(request, User.objects.get(username=name))
    return HttpResponse("in")


def me(request: Any) -> HttpResponse:
    return HttpResponse(request.user.first_name or "none")


def link(request: Any) -> HttpResponse:
    return HttpResponse(get_handle(request).generate())


urlpatterns = [
    path("enter/<name>/", enter),
    path("me/", me),
    path("kept/", me),
    path("link/", link),
]


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two databases, in each of which nora has the same id and another first name."""
    folder = tmp_path_factory.mktemp("tenants")
    connections.databases["south"] = {
        **connections.databases["default"],
        "NAME": str(folder / "south.db"),
    }
    call_command("migrate", run_syncdb=True, verbosity=0, database="south")
    User.objects.using("default").filter(pk__gte=900).delete()
    for alias in ("default", "south"):
        for key, name in ((900, "nora"), (901, "sven")):
            User(pk=key, username=name, first_name=f"{name} of {alias}").save(using=alias)
    yield
    User.objects.using("default").filter(pk__gte=900).delete()
    connections["south"].close()
    del connections.databases["south"]
    delattr(connections._connections, "south")


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    TENANT.name = TENANT_VARIABLE.name = "none"
    CLOSED.clear()
    SEEN.clear()
    yield
    TENANT.name = "none"


class Project:
    """A wrapped project, under WSGI or ASGI."""

    def __init__(
        self, kind: str, *layers: str, router: str = "Router", match: Any = None, **more: Any
    ) -> None:
        # A tenant is chosen before its sessions are looked at, and let go after.
        tenants = [f"{ME}.{name}" for name in layers if name.startswith("By")]
        others = [f"{ME}.{name}" for name in layers if not name.startswith("By")]
        self.stack = ExitStack()
        self.stack.enter_context(
            override_settings(
                MIDDLEWARE=[*tenants, *STANDARD, *others],
                ROOT_URLCONF=ME,
                DATABASE_ROUTERS=[f"{ME}.{router}"],
                **more,
            )
        )
        make = get_wsgi_application if kind == "wsgi" else get_asgi_application
        self.adapter = DjangoSession(mode="fork", match=match, expose=["first_name"])
        app = OTTMiddleware(make(), session=self.adapter, public_origin=[NORTH, SOUTH])
        self.send = of_wsgi(app) if kind == "wsgi" else of_asgi(app)

    def visitor(self) -> Visitor:
        return Visitor({NORTH: self.send, SOUTH: self.send})

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *_: Any) -> None:
        self.stack.close()


@pytest.fixture(params=["wsgi", "asgi"])
def kind(request: pytest.FixtureRequest) -> str:
    which: str = request.param
    return which


def generate(visitor: Visitor, origin: str = NORTH, **headers: str) -> Any:
    return visitor.get(
        f"{origin}/one-time-token/generate",
        sec_fetch_mode="cors",
        sec_fetch_dest="empty",
        **headers,
    )


def token_of(visitor: Visitor, origin: str = NORTH, **headers: str) -> str:
    answer = generate(visitor, origin, **headers)
    assert answer.status == 200, answer.body
    token: str = json.loads(answer.body)["token"]
    return token


def hand_over(project: Project, origin: str, name: str = "nora", **headers: str) -> str:
    """Sign in, let another browser follow a link, and return the name on its page."""
    first, second = project.visitor(), project.visitor()
    assert first.get(f"{origin}/enter/{name}/", **headers).body == b"in"
    TENANT.name = "south" if origin == NORTH else "north"  # the last request was another tenant's
    token = token_of(first, origin, **headers)
    TENANT.name = "south" if origin == NORTH else "north"
    answer = second.get(f"{origin}/me/?ott={token}", **headers)
    assert answer.status == 303, answer.body
    found: str = second.get(f"{origin}/me/", **headers).body.decode()
    return found


def exposed_at_a_source() -> Any:
    """What a site with a secret of its own exposes of a session."""
    with Project("wsgi", SECRET_KEY="the source's own secret key") as source:
        User.objects.filter(pk=900).update(first_name="sven")
        session = source.adapter._load(sign_in("nora"))
        assert session is not None
        exposed = source.adapter.expose(session)
        User.objects.filter(pk=900).update(first_name="nora of default")
    return exposed


def to_south() -> Request:
    carrier = {"REQUEST_METHOD": "POST", "wsgi.input": None, "HTTP_HOST": "south.example"}
    carrier["HTTP_X_TENANT"] = "south"
    return Request("POST", "http", "/", headers={"host": "south.example"}, carrier=carrier)


@pytest.mark.usefixtures("tenants")
class TestTenants:
    def test_host(self, kind: str) -> None:
        with Project(kind, "ByHost") as project:
            assert hand_over(project, NORTH) == "nora of default"
            assert hand_over(project, SOUTH) == "nora of south"
            assert hand_over(project, NORTH) == "nora of default"

    def test_header(self, kind: str) -> None:
        with Project(kind, "ByHeader") as project:
            assert hand_over(project, NORTH, x_tenant="north") == "nora of default"
            assert hand_over(project, NORTH, x_tenant="south") == "nora of south"

    def test_session_of_one_tenant_is_none_of_another(self, kind: str) -> None:
        with Project(kind, "ByHost") as project:
            visitor = project.visitor()
            visitor.get(f"{SOUTH}/enter/nora/")
            token = token_of(visitor, SOUTH)
            TENANT.name = "south"
            assert project.visitor().get(f"{NORTH}/me/?ott={token}").status == 400

    @pytest.mark.parametrize("layers", [("by_host_async_only",), ("either", "by_host_async_only")])
    def test_async_only_middleware(self, kind: str, layers: tuple[str, ...]) -> None:
        with Project(kind, *layers, router="VariableRouter") as project:
            assert hand_over(project, NORTH) == "nora of default"
            assert hand_over(project, SOUTH) == "nora of south"

    def test_match_is_called_inside(self) -> None:
        def match(session: Any) -> Any:
            return User.objects.filter(username=session.user["first_name"]).first()

        exposed = exposed_at_a_source()
        with Project("wsgi", "ByHost", match=match) as project:
            TENANT.name = "north"
            with using_request(to_south()):
                found = project.adapter.resolve(exposed)
                with pytest.raises(NoAccount):
                    project.adapter.resolve(replace(exposed, user={"first_name": "carol"}))
            assert found.user_id == "901"
            assert found.user["first_name"] == "sven of south"

    def test_match_that_asks_again_stays_inside(self) -> None:
        """It may redeem a token of its own: the tenant is let go after the outer question."""

        def match(session: Any) -> Any:
            if session.user["first_name"] == "sven":
                project.adapter.resolve(replace(exposed, user={"first_name": "nora"}))
            return User.objects.get(username=session.user["first_name"])

        exposed = exposed_at_a_source()
        with Project("wsgi", "ByHeader", match=match) as project, using_request(to_south()):
            found = project.adapter.resolve(exposed)
        assert found.user["first_name"] == "sven of south"

    def test_user_of_an_async_match_is_looked_up_inside(self) -> None:
        async def match(session: Any) -> Any:
            return User(pk=901)

        exposed = exposed_at_a_source()
        with Project("wsgi", "ByHost", match=match) as project, using_request(to_south()):
            found = asyncio.run(project.adapter.resolve(exposed))
        assert found.user["first_name"] == "sven of south"


@pytest.mark.usefixtures("tenants")
class TestResponses:
    def test_strangers_may_be_kept_out(self, kind: str) -> None:
        with Project(kind, "ByHost", "members_only") as project:
            assert hand_over(project, SOUTH) == "nora of south"
            assert generate(project.visitor(), SOUTH).status == 401

    @pytest.mark.parametrize("reason", ["down", "raises"])
    def test_site_that_does_not_serve_gives_no_token(
        self, kind: str, reason: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with Project(kind, "closed") as project:
            visitor = project.visitor()
            visitor.get(f"{NORTH}/enter/nora/")
            assert generate(visitor).status == 200
            CLOSED.add(reason)
            caplog.set_level("DEBUG", "ott_middleware")
            assert generate(visitor).status == 401
            assert "a middleware of the project responded" in caplog.text

    @pytest.mark.parametrize("way", ["logout", "clear", "switch", "user"])
    def test_middleware_that_signs_out_and_goes_on_gives_no_token(
        self, kind: str, way: str
    ) -> None:
        with Project(kind, "signs_out") as project:
            visitor = project.visitor()
            visitor.get(f"{NORTH}/enter/nora/")
            CLOSED.add("look")
            assert generate(visitor).status == 200
            CLOSED.remove("look")
            CLOSED.add(way)
            assert generate(visitor).status == 401
            CLOSED.remove(way)
            assert generate(visitor).status == 200  # the look has ended nothing

    def test_middleware_that_fails_is_a_503(self, kind: str) -> None:
        with Project(kind, "closed") as project:
            visitor = project.visitor()
            visitor.get(f"{NORTH}/enter/nora/")
            token = token_of(visitor)
            CLOSED.add("breaks")
            assert generate(visitor).status == 503
            answer = project.visitor().get(f"{NORTH}/me/?ott={token}")
            assert (answer.status, answer.all("set-cookie")) == (503, [])

    def test_page_that_is_kept_from_a_visitor_does_not_replace_the_session(self, kind: str) -> None:
        """An attacker chooses the path of a link."""
        with Project(kind, "closed") as project:
            visitor, attacker = project.visitor(), project.visitor()
            visitor.get(f"{NORTH}/enter/nora/")
            attacker.get(f"{NORTH}/enter/sven/")
            CLOSED.add("page")
            answer = visitor.get(f"{NORTH}/kept/?ott={token_of(attacker)}")
            assert b"Switch user?" in answer.body
            assert visitor.get(f"{NORTH}/me/").body == b"nora of default"

    def test_middleware_that_is_passed_over_hides_no_other(self, kind: str) -> None:
        with Project(kind, "closed", "ByHost") as project:
            visitor = project.visitor()
            visitor.get(f"{SOUTH}/enter/nora/")
            token = token_of(visitor, SOUTH)
            CLOSED.add("raises")
            TENANT.name = "north"
            stranger = project.visitor()
            assert stranger.get(f"{SOUTH}/me/?ott={token}").status == 303
            CLOSED.clear()
            assert stranger.get(f"{SOUTH}/me/").body == b"nora of south"


@pytest.mark.usefixtures("tenants")
class TestSideEffects:
    @pytest.mark.parametrize("layer", ["Counting", "CountingAsync"])
    def test_question_writes_nothing_to_the_session(self, layer: str) -> None:
        with Project("wsgi", layer) as project:
            key = sign_in("nora")
            before = dict(SessionStore(key).items())
            visitor = project.visitor()
            visitor.jars[NORTH] = {"sessionid": key}
            token_of(visitor)
            assert dict(SessionStore(key).items()) == before

    def test_classes_that_act_are_left_out(self) -> None:
        layers = ("OwnCache", "Proxy", "OwnSessions")
        with Project("wsgi", *layers) as project:
            assert project.adapter._chain is None
        with Project("wsgi", *layers, "not_used", "either", router="VariableRouter") as project:
            assert hand_over(project, NORTH) == "nora of default"
            assert SEEN

    def test_project_of_djangos_own_classes_is_asked_directly(self) -> None:
        with override_settings(MIDDLEWARE=STANDARD):
            assert Chain.of_project() is None

    def test_adapter_of_a_source_has_no_chain(self) -> None:
        with override_settings(MIDDLEWARE=[*STANDARD, f"{ME}.ByHost"]):
            assert DjangoSession()._chain is None

    def test_view_is_asked_in_its_own_middleware(self, kind: str) -> None:
        with Project(kind, "either") as project:
            visitor = project.visitor()
            visitor.get(f"{NORTH}/enter/nora/")
            SEEN.clear()
            assert visitor.get(f"{NORTH}/link/").status == 200
            assert len(SEEN) == 1


def sign_in(name: str) -> str:
    request = HttpRequest()
    request.session = SessionStore()
    login(request, User.objects.get(username=name))
    request.session.save()
    key: str = request.session.session_key
    return key
