"""Django Channels: a socket's token signs the user in, as `AuthMiddlewareStack` sees it."""

from __future__ import annotations

import json
from typing import Any

import django_project
import pytest
from harness import run
from sockets import ORIGIN, converse, open_with, said, session_in, socket_scope, tell, ticket

django_project.configure()

from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session as Stored
from django.core.asgi import get_asgi_application
from django.db import connection
from django.urls import path

from ott_middleware import DjangoSession, OTTMiddleware, get_handle


class Listens(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.accept()
        seen = {**await tell(self), "own": self.scope["user"].get_username()}
        await self.send(json.dumps(seen))


class ListensInAThread(WebsocketConsumer):
    def connect(self) -> None:
        self.accept()
        handle = get_handle(self)
        seen = {"user": handle.session.user_id, "redeemed": handle.redeemed}
        self.send(json.dumps({**seen, "own": self.scope["user"].get_username()}))


class TestChannels:
    @pytest.fixture
    def user(self) -> Any:
        user = User.objects.create_user("ada-of-channels")
        yield user
        user.delete()

    def app(self, consumer: Any, **options: Any) -> Any:
        router = URLRouter([path("socket", consumer.as_asgi())])
        sockets = AuthMiddlewareStack(router)
        routes = {"http": get_asgi_application(), "websocket": sockets}
        return OTTMiddleware(ProtocolTypeRouter(routes), **options)

    def signed_in(self, user: Any) -> SessionStore:
        store = SessionStore()
        store[SESSION_KEY] = str(user.pk)
        store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        store[HASH_SESSION_KEY] = user.get_session_auth_hash()
        store.save()
        return store

    @pytest.mark.parametrize("consumer", [Listens, ListensInAThread])
    @pytest.mark.parametrize("in_url", [True, False])
    @pytest.mark.parametrize("mode", ["auto", "fork"])
    def test_user_is_signed_in_for_the_socket(
        self, user: Any, consumer: Any, mode: str, in_url: bool
    ) -> None:
        options: Any = {} if mode == "auto" else {"session": DjangoSession(mode="fork")}
        app = self.app(consumer, **options)
        store = self.signed_in(user)
        before = set(Stored.objects.values_list("session_key", flat=True))
        token = ticket(app, session_in(app, f"sessionid={store.session_key}"))
        seen = said(open_with(app, token, in_url=in_url))
        assert seen == {"user": str(user.pk), "redeemed": "websocket", "own": "ada-of-channels"}
        # The session of the socket is gone with it, and the one that the ticket came from is not.
        assert set(Stored.objects.values_list("session_key", flat=True)) == before
        assert open_with(app, token, in_url=in_url).status == 403
        store.delete()

    def test_session_is_there_while_the_socket_is_open(self, user: Any) -> None:
        class Counts(Listens):
            async def connect(self) -> None:
                key = self.scope["cookies"]["sessionid"]
                count = await Stored.objects.filter(session_key=key).acount()
                found.append((key != store.session_key, count))
                await super().connect()

        found: list[tuple[bool, int]] = []
        app = self.app(Counts, session=DjangoSession(mode="fork"))
        store = self.signed_in(user)
        open_with(app, ticket(app, session_in(app, f"sessionid={store.session_key}")))
        assert found == [(True, 1)]
        assert not Stored.objects.exclude(session_key=store.session_key).exists()
        store.delete()

    def test_shared_session_lives_on(self, user: Any) -> None:
        app = self.app(Listens, session=DjangoSession(mode="share"))
        store = self.signed_in(user)
        open_with(app, ticket(app, session_in(app, f"sessionid={store.session_key}")))
        assert Stored.objects.filter(session_key=store.session_key).exists()
        store.delete()

    def test_lost_connection_is_renewed(self, user: Any) -> None:
        """No request of Django's is around a consumer, which would renew the connection."""

        class Looks(WebsocketConsumer):
            def connect(self) -> None:
                User.objects.count()
                had_one = connection.connection is not None
                session = get_handle(self).session
                found.append((had_one, connection.connection is not None))
                assert session is not None
                self.accept()
                self.send("{}")

        found: list[tuple[bool, bool]] = []
        app = self.app(Looks, session=DjangoSession())
        store = self.signed_in(user)
        ticket_of_ada = ticket(app, session_in(app, f"sessionid={store.session_key}"))
        # By the cookie alone: a session that was redeemed is known already.
        headers = {"origin": ORIGIN, "cookie": f"sessionid={store.session_key}"}
        run(converse(app, socket_scope("/socket", headers)))
        assert found == [(True, False)]
        assert said(open_with(app, ticket_of_ada)) == {}
        store.delete()
