"""web.py: its sessions in files that both sites read."""

from typing import Any

import web
from app_site import DATA, KEY, NAME, PASSWORD, options

from ott_middleware import CookieSession, OTTMiddleware

web.config.debug = False
web.config.session_parameters["secret_key"] = KEY


class Login:
    def GET(self) -> str:  # noqa: N802  (the name that web.py calls)
        web.header("Content-Type", "text/html")
        return "<form method=post><input name=name><input name=password type=password></form>"

    def POST(self) -> Any:  # noqa: N802
        data = web.input()
        if (data.name, data.password) != (NAME, PASSWORD):
            raise web.unauthorized()
        session.user = NAME
        raise web.seeother("/me")


class Me:
    def GET(self) -> str:  # noqa: N802
        if not session.get("user"):
            raise web.unauthorized()
        return f"Signed in as {session.user}"


class Logout:
    def GET(self) -> Any:  # noqa: N802
        session.kill()
        raise web.seeother("/login")


site = web.application(("/login", "Login", "/me", "Me", "/logout", "Logout"), globals())
session = web.session.Session(site, web.session.DiskStore(str(DATA / "sessions")))
app = site.wsgifunc()

application = OTTMiddleware(
    app,
    session=CookieSession("webpy_session_id", probe="/me", renews_key=True),
    **options(),
)
