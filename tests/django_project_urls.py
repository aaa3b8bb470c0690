"""The Django project's views: a login form, a page that knows who asks, and what stacks do."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import authenticate, login, logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.urls import path
from django.views.decorators.http import require_POST

FORM = (
    '<form method="post"><input type="hidden" name="csrfmiddlewaretoken" value="{}">'
    '<input name="email"><input name="password"><input name="remember"></form>'
)


def sign_in(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return HttpResponse(FORM.format(get_token(request)))
    name = request.POST["email"].partition("@")[0]
    user = authenticate(request, username=name, password=request.POST["password"])
    if user is None:
        return HttpResponse("no such person", status=403)
    login(request, user)
    request.session["theme"], request.session["cart"] = "dark", ["oars"]
    if not request.POST["remember"]:
        request.session.set_expiry(0)
    return HttpResponseRedirect("/")


def greeting(request: HttpRequest, user: Any) -> str:
    name = user.email if user.is_authenticated else "nobody"
    field = f'<input name="csrfmiddlewaretoken" value="{get_token(request)}">'
    return f'Hello, {name}. <form action="/logout/">{field}</form>'


def home(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    name = user.email if user.is_authenticated else "nobody"
    form = (
        f'<form action="/logout/"><input name="csrfmiddlewaretoken" value="{get_token(request)}">'
    )
    return HttpResponse(f"Hello, {name}. {form}</form>")


async def async_home(request: HttpRequest) -> HttpResponse:
    user: Any = await request.auser()  # type: ignore[attr-defined]  # Django's middleware puts it there
    name = user.email if user.is_authenticated else "nobody"
    form = (
        f'<form action="/logout/"><input name="csrfmiddlewaretoken" value="{get_token(request)}">'
    )
    return HttpResponse(f"Hello, {name}. {form}</form>")


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponseRedirect("/")


def visit(request: HttpRequest) -> HttpResponse:
    """Uses the session and its messages, without being signed in."""
    request.session["seen"] = True
    messages.info(request, "You were here.")
    return HttpResponse("seen")


def told(request: HttpRequest) -> HttpResponse:
    return HttpResponse("; ".join(map(str, messages.get_messages(request))))


urlpatterns = [
    path("", home),
    path("async/", async_home),
    path("login/", sign_in),
    path("logout/", sign_out),
    path("visit/", visit),
    path("told/", told),
]
