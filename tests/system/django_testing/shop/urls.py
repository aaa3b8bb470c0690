from __future__ import annotations

from asgiref.sync import sync_to_async
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.core.mail import send_mail
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path

from ott_middleware import get_handle


@login_required
def link(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(get_handle(request).link("https://b.example/x"))


def own_link(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_handle(request).link(request.build_absolute_uri("/who/?a=1")))


async def async_link(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(await get_handle(request).alink("https://b.example/x"))


def who(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(request.user.username or "nobody")
    response.set_cookie("seen", "1")
    return response


def page(request: HttpRequest) -> HttpResponse:
    return render(request, "page.html", {"url": "https://b.example/x?a=1&b=2"})


async def async_page(request: HttpRequest) -> HttpResponse:
    return render(request, "page.html", {"url": "https://b.example/x"})


async def async_page_in_a_thread(request: HttpRequest) -> HttpResponse:
    return await sync_to_async(render)(request, "page.html", {"url": "https://b.example/x"})


def mail_link(request: HttpRequest) -> HttpResponse:
    link = get_handle(request).link(
        request.build_absolute_uri("/who/"), channel="confirm", expires_in=60
    )
    send_mail("Your link", f"Open this link to sign in:\n\n{link}\n", None, [request.user.email])
    return HttpResponse("Please look into your mailbox.")


def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("bye")


urlpatterns = [
    path("link/", link),
    path("own/", own_link),
    path("async-link/", async_link),
    path("who/", who),
    path("page/", page),
    path("async-page/", async_page),
    path("async-page-in-a-thread/", async_page_in_a_thread),
    path("out/", sign_out),
    path("mail/", mail_link),
]
