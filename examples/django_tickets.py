"""Django Channels behind daphne, for clients that hold a JWT: a ticket opens their WebSocket.

    python examples/django_tickets.py     listens on http://localhost:8000

    curl -d name=Ada localhost:8000/login                                          → a JWT
    curl -H "Authorization: Bearer JWT" \\
        "localhost:8000/one-time-token/generate?channel=websocket"                  → a ticket

The client offers the ticket as a sub-protocol, `new WebSocket(url, ["ott", "ott." + ticket])`: it
works once, within 30 seconds. The consumer finds the user in its handle, and needs neither
Channels' `AuthMiddleware` nor a session.
"""

from __future__ import annotations

import argparse
import os
import secrets
from datetime import datetime, timedelta, timezone
from typing import Any

import django
import jwt
from django.conf import settings

from ott_middleware import BearerSession, OTTMiddleware, get_handle

SECRET_KEY = os.environ.get("OTT_SECRET") or secrets.token_hex(32)
# The service that a JWT is for. An identity provider issues tokens for many services.
AUDIENCE = "https://chat.example"

settings.configure(
    SECRET_KEY=SECRET_KEY,
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["channels"],
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST


def log_in(request: HttpRequest) -> JsonResponse:
    """Issue a JWT, as an identity provider would. A real app would ask for more than a name."""
    name = str(request.POST.get("name", "")).strip()
    if not (name.isprintable() and 0 < len(name) <= 40):
        return JsonResponse({"detail": "name"}, status=422)
    ends = datetime.now(timezone.utc) + timedelta(minutes=15)
    claims = {"sub": name, "aud": AUDIENCE, "exp": ends, "jti": secrets.token_urlsafe(16)}
    return JsonResponse({"access_token": jwt.encode(claims, SECRET_KEY, "HS256")})


async def validate(token: str) -> dict[str, Any] | None:
    """Return the user of a JWT, or None. It waits for nothing, so it need not run in a thread."""
    try:
        claims = jwt.decode(
            token,
            SECRET_KEY,
            algorithms=["HS256"],  # never those that the token itself names
            audience=AUDIENCE,  # a JWT for another service is none here
            options={"require": ["exp", "sub", "aud", "jti"]},
        )
    except jwt.InvalidTokenError:
        return None
    return {
        "id": claims["jti"],
        "user_id": claims["sub"],
        "user": {"id": claims["sub"]},
        "expires_at": datetime.fromtimestamp(claims["exp"], timezone.utc),
    }


class Chat(AsyncWebsocketConsumer):  # type: ignore[misc]  # comes without types
    """Echoes what a signed-in user says."""

    user = ""

    async def connect(self) -> None:
        """Accept the socket of a signed-in user; deny any other."""
        session = await get_handle(self).asession()
        if session is None or session.user_id is None:
            await self.close()
            return
        self.user = session.user_id
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send a text back, with the user's name."""
        await self.send(f"{self.user}: {text_data}")


urlpatterns = [path("login", csrf_exempt(require_POST(log_in)))]
sockets: Any = [path("chat", Chat.as_asgi())]


def wrapped(port: int) -> Any:
    """The app, whose sockets a ticket opens."""
    return OTTMiddleware(
        ProtocolTypeRouter({"http": get_asgi_application(), "websocket": URLRouter(sockets)}),
        session=BearerSession(validate=validate),
        secret=SECRET_KEY,
        backend=os.environ.get("OTT_BACKEND", "memory://"),
        store_token="hashed",
        public_origin=os.environ.get("OTT_ORIGIN", f"http://localhost:{port}"),
    )


if __name__ == "__main__":
    from daphne.endpoints import build_endpoint_description_strings
    from daphne.server import Server

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    endpoints = build_endpoint_description_strings(host="127.0.0.1", port=port)
    Server(application=wrapped(port), endpoints=endpoints).run()
