"""As a project tests its views: `python -m django test shop --settings shop.settings`."""

from __future__ import annotations

import urllib.request
from urllib.parse import urlsplit

from django.contrib.auth.models import User
from django.core import mail
from django.http import HttpResponse
from django.test import LiveServerTestCase, RequestFactory, TestCase

from ott_middleware import OneTimeTokens, SealedSession, get_handle
from ott_middleware.testing.django import (
    OTTAsyncClient,
    OTTClient,
    OTTLiveServerThread,
    add_handle,
)

from .options import OPTIONS


class LinkTest(TestCase):
    client_class = OTTClient

    def setUp(self) -> None:
        self.ada = User.objects.create_user("ada", password="sesame")

    def test_link_of_a_view(self) -> None:
        self.client.force_login(self.ada)
        response = self.client.get("/link/")
        self.assertEqual(response.status_code, 302)
        self.assertTrue(response.url.startswith("https://b.example/x?ott="))

    def test_link_opened_by_another_browser(self) -> None:
        self.client.force_login(self.ada)
        link = self.client.get("/own/").content.decode()
        other = OTTClient()
        response = other.open_link(link)
        self.assertRedirects(response, "/who/?a=1", status_code=303)
        self.assertEqual(other.get("/who/").content, b"ada")

    def test_link_followed(self) -> None:
        self.client.force_login(self.ada)
        response = OTTClient().open_link(self.client.get("/own/").content.decode(), follow=True)
        self.assertEqual(response.content, b"ada")

    def test_link_in_a_mail(self) -> None:
        self.ada.email = "ada@shop.example"
        self.ada.save()
        self.client.force_login(self.ada)
        self.client.get("/mail/")
        link = mail.outbox[0].body.split()[-1]
        self.assertIn("?ott=confirm.", link)
        other = OTTClient()
        self.assertContains(other.open_link(link), "Do you want to sign in?")
        self.assertEqual(other.get("/who/").content, b"nobody")

    def test_page_with_the_tag(self) -> None:
        self.client.force_login(self.ada)
        response = self.client.get("/page/")
        self.assertTemplateUsed(response, "page.html")
        self.assertContains(response, 'href="https://b.example/x?a=1&amp;b=2&amp;ott=')

    def test_request_factory(self) -> None:
        request = add_handle(RequestFactory().get("/"))
        self.assertIsNone(get_handle(request).session)


class ArrivalTest(TestCase):
    """Links of another site, of any kind."""

    client_class = OTTClient

    def arrive(self, email: str) -> HttpResponse:
        other_site = SealedSession("the other site's own key")
        session = other_site.start({"id": "7", "email": email}, remember=False)
        tokens = OneTimeTokens(OPTIONS["backend"], sessions=other_site, store_token="hashed")
        token = tokens.generate(session, audience="http://shop.example")
        return self.client.open_link(f"http://shop.example/who/?ott={token}")

    def test_first_visit_creates_the_account(self) -> None:
        self.assertEqual(self.arrive("bob@example.com").status_code, 303)
        self.assertEqual(self.client.get("/who/").content, b"bob@example.com")
        self.arrive("bob@example.com")
        self.assertIsNotNone(User.objects.get().last_login)

    def test_user_who_is_refused(self) -> None:
        self.assertContains(self.arrive("eve@other.example"), "no account here", status_code=400)
        self.assertEqual(self.client.get("/who/").content, b"nobody")


class AsyncLinkTest(TestCase):
    async_client_class = OTTAsyncClient

    def setUp(self) -> None:
        self.ada = User.objects.create_user("ada", password="sesame")

    async def test_link_of_a_view(self) -> None:
        await self.async_client.aforce_login(self.ada)
        response = await self.async_client.get("/async-link/")
        self.assertTrue(response.url.startswith("https://b.example/x?ott="))

    async def test_link_opened_by_another_browser(self) -> None:
        await self.async_client.aforce_login(self.ada)
        link = (await self.async_client.get("/own/")).content.decode()
        other = OTTAsyncClient()
        response = await other.open_link(link)
        self.assertEqual(response.status_code, 303)
        self.assertEqual((await other.get("/who/")).content, b"ada")


class LiveTest(LiveServerTestCase):
    server_thread_class = OTTLiveServerThread
    client_class = OTTClient

    def test_link_over_a_connection(self) -> None:
        self.client.force_login(User.objects.create_user("ada", password="sesame"))
        host = urlsplit(self.live_server_url).netloc
        link = self.client.get("/own/", headers={"host": host}).content.decode()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        opener.addheaders = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
        self.assertEqual(opener.open(link).read(), b"ada")
