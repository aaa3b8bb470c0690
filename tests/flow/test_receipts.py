"""The same browser's second click on a link is no error, where only a receipt tells."""

from __future__ import annotations

import re
from typing import Any

import pytest
from harness import NAVIGATION, NOW, ORIGIN, SECRET, Answer, Site, World, person

from ott_middleware import CookieSession, MemoryBackend, OneTimeTokens
from ott_middleware.flow.receipts import LIFETIME, Receipts
from ott_middleware.http.messages import Request
from ott_middleware.testing import Clock

OTHER = "another secret of 32 characters.."


def serve(world: World, **options: Any) -> Site:
    """A site whose adapter cannot verify sessions."""
    return world.serve(**{"session": CookieSession("sid"), "secret": SECRET, **options})


def alice(site: Site, name: str = "alice") -> str:
    return site.token(person(name))


def cookies_after(answer: Answer, before: str = "") -> str:
    """What the browser sends after an answer."""
    values = dict(pair.split("=", 1) for pair in before.split("; ") if pair)
    values.update(answer.cookies)
    return "; ".join(f"{name}={value}" for name, value in values.items() if value)


class TestSecondClick:
    def test_leads_to_the_clean_url(self, world: World) -> None:
        site = serve(world)
        link = f"/page?a=1&ott={alice(site)}"
        first = site.open(link)
        assert (first.status, first.location) == (303, "?a=1")
        second = site.open(link, {"cookie": cookies_after(first)})
        assert (second.status, second.location, second.cookies) == (303, "?a=1", {})

    @pytest.mark.parametrize("https", [False, True])
    def test_cookie(self, world: World, https: bool) -> None:
        site = serve(world, public_origin="https://app.example") if https else serve(world)
        answer = site.open(f"/?ott={alice(site)}")
        name = "__Host-ott_receipts" if https else "ott_receipts"
        assert set(answer.cookies) == {"sid", name}
        assert re.fullmatch(r"[0-9a-f]{8}[\w-]{22}", answer.cookies[name])
        secure = {"Secure"} if https else set()
        assert answer.cookie(name) == secure | {
            *("HttpOnly", "Max-Age=60", "Path=/", "SameSite=Lax")
        }

    def test_page_first_sets_one(self, world: World) -> None:
        site = serve(world)
        answer = site.load(f"/?ott={alice(site)}", {"accept": "text/html"})
        assert "ott_receipts" in answer.cookies

    def test_last_five_links(self, world: World) -> None:
        site, cookies, links = serve(world), "", []
        for _ in range(6):
            links.append(f"/?ott={alice(site)}")
            cookies = cookies_after(site.open(links[-1], {"cookie": cookies}), cookies)
        statuses = [site.open(link, {"cookie": cookies}).status for link in links]
        assert statuses == [400, 303, 303, 303, 303, 303]

    @pytest.mark.parametrize(
        ("seconds", "status"), [(59, 303), (60, 400), (599, 400), (-60, 303), (-61, 400)]
    )
    def test_ends_by_the_clock_of_the_site(self, world: World, seconds: float, status: int) -> None:
        site = serve(world)
        world.clock.forward(-(NOW % 1))
        link = f"/?ott={alice(site)}"
        cookies = cookies_after(site.open(link))
        world.clock.forward(seconds)
        assert site.open(link, {"cookie": cookies}).status == status

    def test_later_link_renews_no_receipt(self, world: World) -> None:
        """Each link gives the cookie another minute."""
        site, cookies, links = serve(world), "", []
        for _ in range(4):
            world.clock.forward(20)
            links.append(f"/?ott={alice(site)}")
            answer = site.open(links[-1], {"cookie": cookies})
            cookies = cookies_after(answer, cookies)
        statuses = [site.open(link, {"cookie": cookies}).status for link in links]
        assert statuses == [400, 303, 303, 303]
        assert answer.cookies["ott_receipts"].count(".") == 2

    def test_time_of_a_receipt_cannot_be_changed(self, world: World) -> None:
        site = serve(world)
        link = f"/?ott={alice(site)}"
        cookies = cookies_after(site.open(link))
        world.clock.forward(60)
        later = cookies.replace(f"{int(NOW):08x}", f"{int(NOW) + 60:08x}")
        assert later != cookies
        assert site.open(link, {"cookie": later}).status == 400

    def test_without_the_session_cookie_is_an_error(self, world: World) -> None:
        """The user has signed out since."""
        site = serve(world, session=CookieSession("sid", "sid.sig"))
        link = f"/?ott={site.token(person('alice', token=TWO))}"
        cookies = cookies_after(site.open(link))
        assert site.open(link, {"cookie": cookies}).status == 303
        for gone in ("sid=", "sid.sig="):
            kept = "; ".join(each for each in cookies.split("; ") if not each.startswith(gone))
            assert site.open(link, {"cookie": kept}).status == 400

    def test_receipt_of_another_link_is_none(self, world: World) -> None:
        site = serve(world)
        cookies = cookies_after(site.open(f"/?ott={alice(site)}"))
        used = f"/?ott={alice(site, 'bob')}"
        site.open(used)
        refused = site.open(used, {"cookie": cookies})
        assert (refused.status, refused.cookies) == (400, {})

    def test_call_is_an_error(self, world: World) -> None:
        site = serve(world)
        link = f"/?ott={alice(site)}"
        cookies = cookies_after(site.open(link))
        assert site.fetch(link, {"cookie": cookies}).status == 400

    @pytest.mark.parametrize(
        "value",
        [
            *("", ".", "x" * 30, "6" * 29, "6" * 31, "6" * 30, "6" * 9000, "\xff" * 30),
            *(f"{int(NOW):08x}{'x' * 22}", ".".join([f"{int(NOW):08x}{'x' * 22}"] * 6)),
        ],
    )
    def test_forged_receipt_is_none(self, world: World, value: str) -> None:
        site = serve(world)
        link = f"/?ott={alice(site)}"
        site.open(link)
        headers = {"cookie": f"sid=alice-cookie; ott_receipts={value}"}
        assert site.open(link, headers).status == 400

    def test_live_link_of_another_user_is_redeemed(self, world: World) -> None:
        """The receipt of one user keeps no other from signing in, and signs nobody in."""
        site = serve(world)
        first = f"/?ott={alice(site)}"
        cookies = cookies_after(site.open(first))
        second = site.open(f"/?ott={alice(site, 'bob')}", {"cookie": cookies})
        assert second.cookies["sid"] == "bob-cookie"
        cookies = cookies_after(second, cookies)
        again = site.open(first, {"cookie": cookies})
        assert (again.status, again.cookies) == (303, {})

    def test_secret_may_change(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        old = serve(world, backend=backend)
        link = f"/?ott={alice(old)}"
        cookies = cookies_after(old.open(link))
        rotated = serve(world, backend=backend, secret=[OTHER, SECRET])
        assert rotated.open(link, {"cookie": cookies}).status == 303
        replaced = serve(world, backend=backend, secret=OTHER)
        assert replaced.open(link, {"cookie": cookies}).status == 400


class TestNoReceipt:
    def test_of_a_call_or_the_verify_path(self, world: World) -> None:
        site = serve(world)
        assert set(site.fetch(f"/?ott={alice(site)}").cookies) == {"sid"}
        assert set(site.verify(alice(site)).cookies) == {"sid"}

    def test_where_the_session_tells(self, world: World) -> None:
        site = world.serve(secret=SECRET)
        link = f"/?ott={site.token()}"
        first = site.open(link)
        assert set(first.cookies) == {"sid"}
        assert site.open(link, {"cookie": cookies_after(first)}).status == 303
        site.members.live.clear()
        assert site.open(link, {"cookie": cookies_after(first)}).status == 400

    def test_without_a_secret(self, world: World) -> None:
        site = serve(world, secret=None)
        link = f"/?ott={alice(site)}"
        first = site.open(link)
        assert set(first.cookies) == {"sid"}
        assert site.open(link, {"cookie": cookies_after(first)}).status == 400

    def test_unless_the_service_has_one(self, world: World) -> None:
        adapter = CookieSession("sid", renews_key=True)
        tokens = OneTimeTokens(
            MemoryBackend(clock=world.clock), sessions=adapter, secret=SECRET, clock=world.clock
        )
        site = world.serve(session=adapter, tokens=tokens)
        assert "ott_receipts" in site.open(f"/?ott={alice(site)}").cookies

    def test_without_links(self, world: World) -> None:
        assert serve(world, query_param=None).flow.services.receipts is None


class TestReceipts:
    def test_name_follows_the_parameter(self) -> None:
        receipts = Receipts("login", [SECRET.encode()], ["sid"], Clock(NOW))
        request = Request("GET", "http", "/", headers=NAVIGATION)
        cookie = receipts.cookie("T" * 32, request)
        assert (cookie.name, cookie.max_age) == ("login_receipts", LIFETIME)

    def test_token_is_not_in_it(self) -> None:
        receipts = Receipts("ott", [SECRET.encode()], ["sid"], Clock(NOW))
        request = Request("GET", "http", "/", headers=NAVIGATION)
        assert "TTTT" not in receipts.cookie("T" * 32, request).value


TWO = '{"sid": "a-value-of-the-session", "sid.sig": "its-signature"}'


class TestConfirmLinks:
    def test_second_press_of_the_button(self, world: World) -> None:
        site = serve(world)
        link = f"/page?ott=confirm.{site.token(channel='confirm')}"
        page = site.open(link)
        nonce = re.search(rb'name="nonce" value="([^"]+)"', page.body)
        assert nonce
        cookies, answers = cookies_after(page), []
        for _ in range(2):
            headers = {
                **NAVIGATION,
                "cookie": cookies,
                "origin": ORIGIN,
                "content-type": "application/x-www-form-urlencoded",
            }
            answers.append(site.send("POST", link, headers, b"nonce=" + nonce[1]))
            cookies = cookies_after(answers[-1], cookies) + "; " + cookies_after(page)
        first, second = answers
        assert "ott_receipts" in first.cookies
        assert [(each.status, each.location) for each in answers] == [(303, "./page")] * 2
        assert "sid" not in second.cookies
