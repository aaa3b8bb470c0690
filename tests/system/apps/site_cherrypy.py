"""CherryPy below a path: its session cookie has that path."""

import cherrypy
from app_site import DATA, NAME, PASSWORD, options

from ott_middleware import CookieSession, OTTMiddleware

FORM = "<form method=post><input name=name><input name=password type=password></form>"


class Shop:
    @cherrypy.expose
    def login(self, name: str = "", password: str = "") -> str:
        if (name, password) != (NAME, PASSWORD):
            return FORM
        cherrypy.session.regenerate()
        cherrypy.session["user"] = name
        raise cherrypy.HTTPRedirect("/shop/me")

    @cherrypy.expose
    def me(self) -> str:
        if "user" not in cherrypy.session:
            raise cherrypy.HTTPError(401)
        return f"Signed in as {cherrypy.session['user']}"

    @cherrypy.expose
    def logout(self) -> None:
        cherrypy.lib.sessions.expire()
        cherrypy.session.clear()
        raise cherrypy.HTTPRedirect("/shop/login")


(DATA / "sessions").mkdir(exist_ok=True)
cherrypy.config.update({"engine.autoreload.on": False, "environment": "embedded"})
app = cherrypy.Application(
    Shop(),
    "/shop",
    {
        "/": {
            "tools.sessions.on": True,
            "tools.sessions.path": "/shop",
            "tools.sessions.storage_class": cherrypy.lib.sessions.FileSession,
            "tools.sessions.storage_path": str(DATA / "sessions"),
        }
    },
)

application = OTTMiddleware(
    app,
    base_path="/shop",
    session=CookieSession("session_id", path="/shop", probe="/shop/me", renews_key=True),
    **options(),
)
