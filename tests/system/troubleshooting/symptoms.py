"""The set-ups of docs/troubleshooting.md that do not work, and the log lines that they write."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harness import NAVIGATION, ORIGIN, SECRET, Answer, Site, World, person
from sockets import SocketSite

from ott_middleware import CookieSession, MemoryBackend, SealedSession, options
from ott_middleware.backends import private_store

MADE_UP = "A" * 32
PAGE_OF_SHOP = "https://shop.example"


@contextmanager
def read_lines() -> Iterator[list[str]]:
    """Collect the lines of the package's log while the block runs, in order."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # The page names a file of an app, in place of this one.
            lines.append(re.sub(r"symptoms\.py:\d+", "app.py:23", record.getMessage()))

    logger, handler = logging.getLogger("ott_middleware"), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def serve(**given: Any) -> Site:
    return World("wsgi").serve(**given)


def open_with(site: Site, jar: dict[str, str], target: str) -> Answer:
    """Open a page in a browser that keeps its cookies in `jar`."""
    sent = "; ".join(f"{name}={value}" for name, value in jar.items())
    answer = site.open(target, {"cookie": sent} if jar else {})
    jar |= {name: value for name, value in answer.cookies.items() if value}
    for name in [name for name, value in answer.cookies.items() if not value]:
        jar.pop(name, None)
    return answer


def link(site: Site, **how: Any) -> str:
    return f"/?ott={site.token(**how)}"


def cookie(name: str) -> dict[str, str]:
    return {"cookie": f"sid={name}-cookie"}


def open_link_of_another_worker() -> None:
    private_store._unknown_seen.clear()
    serve().open(link(serve()))


def open_link_of_another_secret() -> None:
    world, backend = World("wsgi"), MemoryBackend()
    a, b = (world.serve(backend=backend, secret=(SECRET, SECRET[::-1])[at]) for at in (0, 1))
    b.open(link(a))


def open_link_twice() -> None:
    site = serve()
    target = link(site)
    site.open(target)
    site.clock.forward(12)
    site.open(target)


def open_link_twice_in_one_browser() -> None:
    site, jar = serve(secret=SECRET), dict[str, str]()
    target = link(site)
    open_with(site, jar, target)
    site.clock.forward(12)
    again = open_with(site, jar, target)
    assert again.status == 303, "a reload is no error"


def open_link_late() -> None:
    site = serve()
    target = link(site)
    site.clock.forward(300)
    site.open(target)


def open_link_where_no_origin_is_known() -> None:
    session = CookieSession("sid", validate=lambda values: {}, renews_key=True)
    site = serve(session=session)
    token = site.token(audience="https://b.example")
    site.open(f"/?ott={token}", host="b.example", scheme="https")


def open_link_at_http() -> None:
    site = serve(public_origin="http://b.example")
    site.open(link(site, audience="https://b.example"), host="b.example")


def open_link_in_frame() -> None:
    site = serve()
    site.open(link(site), {"sec-fetch-dest": "iframe"})


def preview_link() -> None:
    site = serve()
    site.get(link(site), {"user-agent": "Slackbot-LinkExpanding 1.0"})


def find_no_user() -> None:
    world, backend = World("wsgi"), MemoryBackend()
    session = SealedSession(SECRET, match=lambda session: None)
    site = world.serve(session=session, backend=backend)
    site.open(link(world.serve(backend=backend)))


def generate_without_session() -> None:
    serve(session=CookieSession("sid", renews_key=True)).generate()


def call_from_another_origin() -> None:
    serve(public_origin="https://api.example").verify(MADE_UP, {"origin": PAGE_OF_SHOP})


def call_from_a_page_without_origin() -> None:
    serve().verify(MADE_UP, {"origin": "null"})


def redeem_on_another_site() -> None:
    session = CookieSession("sid", validate=lambda values: {}, renews_key=True)
    site = serve(session=session, trusted_origins=["https://partner.example"])
    front_end = {"origin": "https://partner.example", "sec-fetch-site": "cross-site"}
    token = site.generate(cookie("ada")).json()["token"]
    site.fetch(f"/?ott={token}", front_end)


def redeem_over_http() -> None:
    session = CookieSession("sid", validate=lambda values: {}, renews_key=True, secure=True)
    site = serve(session=session)
    token = site.generate(cookie("ada")).json()["token"]
    site.load(f"/?ott={token}", {"accept": "text/html"})


def redeem_without_redis() -> None:
    site = serve(backend="redis://127.0.0.1:1/0", secret=SECRET)
    assert site.open(f"/?ott={MADE_UP}").status == 503
    assert site.open("/", cookie("alice")).status == 200, "other requests go on"


def redeem_with_failing_hook() -> None:
    def validate(values: Any) -> Any:
        return {"user_id": values["uid"]}

    session = CookieSession("sid", validate=validate, renews_key=True)
    serve(session=session).generate(cookie("ada"))


def prefetch_link() -> None:
    site = serve()
    site.open(link(site), {"sec-purpose": "prefetch"})


def open_without_cookies() -> None:
    serve().get(f"/?ott={MADE_UP}&ott_seen={'N' * 32}", {"accept": "text/html"})


def come_back_twice() -> None:
    site = serve(
        issuer="https://a.example",
        secret=SECRET,
        public_origin=ORIGIN,
        protected=lambda request: request.path == "/account",
    )
    jar: dict[str, str] = {}
    for _ in range(2):
        started = open_with(site, jar, "/account")
        [challenge] = parse_qs(urlsplit(started.location or "").query)["code_challenge"]
        token = site.token(audience=ORIGIN, code_challenge=challenge)
        open_with(site, jar, f"/one-time-token/return?ott={token}")
        # This browser drops the session's cookie.
        del jar["sid"]
    open_with(site, jar, "/account")


def call_as_another_user() -> None:
    site = serve()
    site.fetch(link(site, session=person("bob")), cookie("alice"))


def keep_the_user() -> None:
    site = serve(on_switch="keep")
    site.open(link(site, session=person("bob")), cookie("alice"))


def guess_too_often() -> None:
    site = serve(rate_limit="2/minute")
    for _ in range(3):
        site.open(f"/?ott={MADE_UP}")


def wrap_two_ports() -> None:
    options._warned_of_cookies.clear()
    serve(public_origin="http://localhost:8001", handoff_targets=["http://localhost:8002"])


def ask_for_link_to_another_site() -> None:
    site = serve(handoff_targets=["https://b.example"])
    to = "/one-time-token/generate?to=https://c.example/"
    site.open(to, {**cookie("alice"), "sec-fetch-site": "same-origin"})


def open_socket_with_token_of_a_link() -> None:
    site = SocketSite()
    assert site.connect(f"/socket?ott={site.ticket(channel='handoff')}").status == 403


def post_confirm_form_without_cookie() -> None:
    site = serve()
    target = f"/?ott=confirm.{site.token(channel='confirm')}"
    form = {**NAVIGATION, "origin": ORIGIN, "content-type": "application/x-www-form-urlencoded"}
    assert site.send("POST", target, form, b"nonce=" + b"N" * 32).status == 403


def open_link_by_test_client() -> None:
    site = serve()
    assert site.get(link(site), {"accept": "text/html"}).status == 200


#: The headings of the page, and what writes the lines below them.
SYMPTOMS: dict[str, tuple[Callable[[], None], ...]] = {
    "The link is always dead": (
        open_link_of_another_worker,
        open_link_of_another_secret,
        open_link_where_no_origin_is_known,
        open_link_twice,
    ),
    "The link works once, and not for the user": (open_link_twice, open_link_late),
    "Not signed in after the link": (open_link_in_frame,),
    "“No account here”": (find_no_user,),
    "Works on my machine, not in production": (open_link_where_no_origin_is_known,),
    "403 in the console": (call_from_another_origin, call_from_a_page_without_origin),
    "The cookie is not set": (redeem_over_http, redeem_on_another_site),
    "401 when a token is asked for": (generate_without_session,),
    "503": (redeem_without_redis, redeem_with_failing_hook, prefetch_link),
    "Signed out at once": (wrap_two_ports,),
    "Works in Chrome, not in Safari": (open_without_cookies,),
    "Redirect loop": (come_back_twice,),
    "Two tabs, a double click, the back button": (open_link_twice_in_one_browser,),
    "409, or the wrong user": (call_as_another_user, keep_the_user),
    "429": (guess_too_often,),
    "The button of a mail link does not sign in": (post_confirm_form_without_cookie,),
    "The WebSocket is denied": (open_socket_with_token_of_a_link,),
    "A test gets a page, and no redirect": (open_link_by_test_client,),
    "The link to another site is refused": (ask_for_link_to_another_site,),
}
