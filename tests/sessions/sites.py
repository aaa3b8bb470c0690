"""Five kinds of sites for the same people: each with its own login form, its own ids, its own page.

Every site numbers the people differently, and each number names somebody else elsewhere: who is
looked up by a foreign id is the wrong one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import parse_qs

import django_project
from harness import Answer
from visitor import Send, Visitor, of_asgi, of_wsgi

from ott_middleware import (
    DjangoSession,
    FlaskSession,
    OTTMiddleware,
    SealedSession,
    Session,
    StarletteSession,
)

MakeSession = Callable[[Any], Any]  # of the app

PEOPLE = {
    "django": ["bob", "ada", "cyd", "dan"],
    "flask": ["ada", "bob", "dan", "cyd"],
    "fastapi": ["cyd", "dan", "ada", "bob"],
    "sealed": ["dan", "cyd", "bob", "ada"],
}
PASSWORD = "sesame"
KINDS = ("django-wsgi", "django-asgi", "flask", "fastapi", "sealed")
FORM = (
    '<form method="post"><input name="email"><input name="password"><input name="remember"></form>'
)


def email_of(name: str) -> str:
    return f"{name}@example.com"


def members(family: str) -> dict[str, str]:
    """Email → id."""
    return {email_of(name): str(number) for number, name in enumerate(PEOPLE[family], 1)}


@dataclass
class FrameworkSite:
    """A site as people see it."""

    kind: str
    origin: str
    middleware: Any
    send: Send
    home: str = "/"

    @property
    def adapter(self) -> Any:
        return self.middleware.flow.options.adapter

    def sign_in(self, visitor: Visitor, name: str = "ada", *, remember: bool = True) -> None:
        answer = visitor.submit(
            f"{self.origin}/login/",
            email=email_of(name),
            password=PASSWORD,
            remember="yes" if remember else "",
        )
        assert answer.status in (302, 303), answer.body
        assert self.who(visitor) == email_of(name)

    def sign_out(self, visitor: Visitor) -> Answer:
        answer = visitor.press(self.origin + self.home, "/logout/")
        assert answer.status in (302, 303), answer.body
        return answer

    def who(self, visitor: Visitor) -> str:
        """Whom the site's own page greets."""
        page = visitor.get(self.origin + self.home).body.decode()
        return page.partition("Hello, ")[2].partition(". ")[0]


def greeting(email: str | None) -> str:
    return f'Hello, {escape(email or "nobody")}. <form method="post" action="/logout/"></form>'


# Django.


def django_site(kind: str, origin: str, session: MakeSession, options: Any) -> FrameworkSite:
    django_project.configure()
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    if kind == "django-wsgi":
        app: Any = get_wsgi_application()
        wsgi = OTTMiddleware(app, session=session(app), **options)
        return FrameworkSite(kind, origin, wsgi, of_wsgi(wsgi))
    app = get_asgi_application()
    asgi = OTTMiddleware(app, session=session(app), **options)
    return FrameworkSite(kind, origin, asgi, of_asgi(asgi), home="/async/")


def make_django_people() -> None:
    """As they are when they are created, whatever became of them since."""
    django_project.configure()
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import User
    from django.contrib.sessions.models import Session as Stored

    Stored.objects.all().delete()
    User.objects.all().delete()
    User.objects.bulk_create(
        User(id=number, username=email.partition("@")[0], email=email, password=hashed)
        for hashed in [make_password(PASSWORD)]
        for email, number in members("django").items()
    )


# Flask, with Flask-Login.


def flask_site(kind: str, origin: str, session_of: MakeSession, options: Any) -> FrameworkSite:
    from flask import Flask, redirect, request, session
    from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

    class Member(UserMixin):  # type: ignore[misc]  # its base has no types
        def __init__(self, number: str, email: str) -> None:
            self.id, self.email = number, email

    known = {number: Member(number, email) for email, number in members("flask").items()}
    app = Flask("matrix")
    app.secret_key = "flask's own secret"
    LoginManager(app).user_loader(known.get)

    @app.get("/login/")
    def form() -> Any:
        return FORM

    @app.post("/login/")
    def sign_in() -> Any:
        number = members("flask").get(request.form["email"])
        if number is None or request.form["password"] != PASSWORD:
            return "no such person", 403
        session.permanent = bool(request.form["remember"])
        session.update(theme="dark", cart=["oars"], email=request.form["email"], shoe_size=38)
        login_user(known[number])
        return redirect("/")

    @app.get("/")
    def home() -> Any:
        return greeting(current_user.email if current_user.is_authenticated else None)

    @app.post("/logout/")
    def sign_out() -> Any:
        logout_user()
        return redirect("/")

    @app.get("/visit/")
    def visit() -> Any:
        session["seen"] = True
        return "seen"

    middleware = OTTMiddleware(app.wsgi_app, session=session_of(app), **options)
    app.wsgi_app = middleware  # type: ignore[method-assign]  # as its documentation has it
    return FrameworkSite(kind, origin, middleware, of_wsgi(app))


# FastAPI, with Starlette's SessionMiddleware.


def fastapi_site(kind: str, origin: str, session: MakeSession, options: Any) -> FrameworkSite:
    from fastapi import FastAPI, Request
    from fastapi.responses import HTMLResponse, RedirectResponse
    from starlette.middleware.sessions import SessionMiddleware

    by_number = {number: email for email, number in members("fastapi").items()}
    app = FastAPI()
    app.add_middleware(SessionMiddleware, secret_key="fastapi's own secret")

    async def form(request: Request) -> Any:
        return HTMLResponse(FORM)

    async def sign_in(request: Request) -> Any:
        fields = parse_qs((await request.body()).decode())
        number = members("fastapi").get(fields["email"][0])
        if number is None or fields["password"][0] != PASSWORD:
            return HTMLResponse("no such person", status_code=403)
        request.session.update(user_id=number, email=fields["email"][0], shoe_size=38)
        request.session.update(theme="dark", cart=["oars"])
        return RedirectResponse("/", status_code=303)

    async def home(request: Request) -> Any:
        return HTMLResponse(greeting(by_number.get(str(request.session.get("user_id")))))

    async def sign_out(request: Request) -> Any:
        request.session.clear()
        return RedirectResponse("/", status_code=303)

    async def visit(request: Request) -> Any:
        request.session["seen"] = True
        return HTMLResponse("seen")

    for path, method, view in (
        ("/login/", "GET", form),
        ("/login/", "POST", sign_in),
        ("/", "GET", home),
        ("/logout/", "POST", sign_out),
        ("/visit/", "GET", visit),
    ):
        app.router.add_route(path, view, methods=[method])
    middleware = OTTMiddleware(app, session=session(app), **options)
    return FrameworkSite(kind, origin, middleware, of_asgi(middleware))


# A bare WSGI app that goes by REMOTE_USER, with a door in front.


def remote_user(session: Session) -> str | None:
    email: str | None = (session.user or {}).get("email")
    return email


class AskingSealedSession(SealedSession):
    """Asks another site whether the sessions that come from there still live."""

    def __init__(self, *sources: Any, match: Callable[[Session], Any] | None = None) -> None:
        super().__init__("the sealed site's own secret", remote_user=remote_user, match=match)
        self.sources = sources

    def resolve(self, session: Session) -> Any:
        alive = all(source.resolve(session) is not None for source in self.sources)
        return super().resolve(session) if alive else None


def sealed_site(kind: str, origin: str, session: MakeSession, options: Any) -> FrameworkSite:
    known: Mapping[str, str] = members("sealed")

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        ott, page, where = environ["ott.handle"], FORM, None
        match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
            case "POST", "/login/":
                posted = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
                fields = parse_qs(posted, keep_blank_values=True)
                email, where = fields["email"][0], "/"
                assert fields["password"] == [PASSWORD]
                user = {"id": known[email], "email": email}
                ott.sign_in(user, remember=bool(fields["remember"][0]))
            case "POST", "/logout/":
                ott.sign_out()
                where = "/"
            case "GET", "/":
                page = greeting(environ.get("REMOTE_USER"))
        headers = [("Content-Type", "text/html"), *([("Location", where)] if where else [])]
        start_response("303 See Other" if where else "200 OK", headers)
        return [page.encode()]

    middleware = OTTMiddleware(app, session=session(app), **options)
    return FrameworkSite(kind, origin, middleware, of_wsgi(middleware))


# All of them.


def site(kind: str, origin: str, session: MakeSession, **options: Any) -> FrameworkSite:
    make = {"flask": flask_site, "fastapi": fastapi_site, "sealed": sealed_site}
    return make.get(kind, django_site)(kind, origin, session, options)


def family(kind: str) -> str:
    return kind.partition("-")[0]


def found_by_itself(kind: str) -> MakeSession:
    """What a site does that is told nothing; an app without sessions is lent some."""
    return lambda app: AskingSealedSession() if kind == "sealed" else "auto"


def mapped(kind: str, sources: tuple[Any, ...] = ()) -> MakeSession:
    """Gives away the e-mail address, and knows who arrives by theirs."""

    known = members(family(kind))

    def by_email(session: Session) -> Any:
        email = (session.user or {}).get("email")
        if email is None or email not in known:
            return None
        return {"id": known[email], "email": email} if kind == "sealed" else known[email]

    def make(app: Any) -> Any:
        if kind == "flask":
            return FlaskSession(app, expose=["email"], match=by_email, sources=sources)
        if kind == "fastapi":
            return StarletteSession(app, expose=["email"], match=by_email, sources=sources)
        if kind == "sealed":
            return AskingSealedSession(*sources, match=by_email)
        return DjangoSession(expose=["email"], match="email", sources=sources)

    return make
