"""Starlette-Admin: its own log-in page, over Starlette's `SessionMiddleware`."""

from typing import Any

from app_site import KEY, NAME, PASSWORD, options
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette_admin.auth import AdminUser, AuthProvider
from starlette_admin.base import BaseAdmin
from starlette_admin.exceptions import LoginFailed

from ott_middleware import OTTMiddleware


class Login(AuthProvider):
    async def login(
        self, username: str, password: str, remember_me: bool, request: Request
    ) -> None:
        if (username, password) != (NAME, PASSWORD):
            raise LoginFailed("Invalid username or password")
        request.session.update({"username": username})

    async def authenticate(self, request: Request) -> AdminUser | None:
        name = request.session.get("username")
        return None if name is None else AdminUser(username=name)

    async def logout(self, request: Request) -> None:
        request.session.clear()


app: Any = Starlette()
BaseAdmin(
    auth_provider=Login(),
    secret_key=KEY,
    middlewares=[Middleware(SessionMiddleware, secret_key=KEY)],
).mount_to(app)

application = OTTMiddleware(app, **options())
