"""Bottle with Beaker: sessions in files that both sites read."""

from typing import Any

from app_site import DATA, KEY, NAME, PASSWORD, options
from beaker.middleware import SessionMiddleware
from bottle import Bottle, abort, redirect, request

from ott_middleware import CookieSession, OTTMiddleware

site = Bottle()
FORM = "<form method=post><input name=name><input name=password type=password></form>"


def session() -> Any:
    return request.environ["beaker.session"]


@site.get("/login")
def form() -> str:
    return FORM


@site.post("/login")
def login() -> str:
    if (request.forms.name, request.forms.password) != (NAME, PASSWORD):
        return FORM
    # Beaker keeps the id of a session unless it is told to make a new one.
    session().invalidate()
    session()["user"] = NAME
    session().save()
    return redirect("/me")


@site.get("/me")
def me() -> str:
    return f"Signed in as {session()['user']}" if "user" in session() else abort(401, "Sign in")


@site.get("/logout")
def logout() -> None:
    session().delete()
    redirect("/login")


app = SessionMiddleware(
    site,
    {"session.type": "file", "session.data_dir": str(DATA / "sessions"), "session.secret": KEY},
)

application = OTTMiddleware(
    app, session=CookieSession("beaker.session.id", probe="/me", renews_key=True), **options()
)
