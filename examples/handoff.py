"""Two sites, one user: sign in to the first, and a link signs you in to the second.

    python examples/handoff.py            open http://localhost:8001
    python examples/handoff.py --check    the same, driven by this program

The front desk is an ASGI app under uvicorn, on localhost. The archive is a WSGI app under waitress,
on 127.0.0.1. For a browser these are two hosts: no cookie of one site reaches the other. The sites
share a backend, where a token waits for a moment, a secret, and nothing else.

The other way round: the archive sends a guest who opens its vault to the front desk, and only the
browser of that guest can come back signed in.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import logging
import secrets
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from html import escape
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urljoin, urlsplit
from wsgiref.util import request_uri

from ott_middleware import (
    ASGIMiddleware,
    MemoryBackend,
    OTTMiddleware,
    SealedSession,
    Session,
    WSGIMiddleware,
)

try:
    import uvicorn
    import waitress
    import waitress.wasyncore
except ImportError:
    sys.exit('The demo needs its two servers: pip install ".[demo]"')


def wrap(desk_url: str, archive_url: str) -> tuple[ASGIMiddleware, WSGIMiddleware]:
    """Wrap both apps, each by one call."""
    desk, archive = FrontDesk(desk_url, archive_url), Archive(desk_url, archive_url)
    tokens = TalkingBackend()
    # Neither app has sessions, so each gets a sealed cookie. Their secrets need not be equal.
    at_desk = SealedSession(secrets.token_bytes(32))
    in_archive = SealedSession(
        secrets.token_bytes(32), name=Archive.cookie_name, remote_user=user_id
    )
    shared = secrets.token_bytes(32)

    asgi = OTTMiddleware(
        desk,
        session=at_desk,
        backend=tokens,
        secret=shared,
        store_token="hashed",
        public_origin=desk_url,
        handoff_targets=[archive_url],
        login_url="/",
    )
    wsgi = OTTMiddleware(
        archive,
        session=in_archive,
        backend=tokens,
        secret=shared,
        store_token="hashed",
        public_origin=archive_url,
        issuer=desk_url,
        protected=lambda request: request.path == "/vault",
        # The demo shows links as well. A site that sends its visitors itself leaves this out.
        issuer_only=False,
    )
    return asgi, wsgi


def user_id(session: Session) -> str | None:
    """Return the value of REMOTE_USER for a session."""
    return session.user_id


# The archive: an old app. It reads REMOTE_USER, and knows nothing of this package.


class Archive:
    """A WSGI app that greets the user that REMOTE_USER names."""

    cookie_name = "archive_session"

    def __init__(self, desk_url: str, archive_url: str) -> None:
        self.desk_url = desk_url
        self.archive_url = archive_url

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Respond to one request."""
        user = environ.get("REMOTE_USER", "guest").encode("latin-1").decode()  # see PEP 3333
        say("archive", f"{environ['REQUEST_METHOD']} {request_uri(environ)} from {user}")
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if method == "POST" and path in ("/sign-out", "/second-use"):
            location = "/" if path == "/sign-out" else self.desk_url + "/second-use"
            ended = f"{self.cookie_name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
            start_response("303 See Other", [("Location", location), ("Set-Cookie", ended)])
            return [b""]
        start_response(
            "200 OK",
            [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")],
        )
        body = ARCHIVE_SIGNED_IN if "REMOTE_USER" in environ else ARCHIVE_GUEST
        return [self.page(VAULT if path == "/vault" else body, user).encode()]

    def page(self, body: str, user: str) -> str:
        """Build a page of this site."""
        return PAGE.format(
            title="The archive",
            kind="WSGI app under waitress",
            url=self.archive_url,
            colour="#7a3e00",
            body=body.format(name=escape(user), desk_url=self.desk_url, log=log_as_html()),
        )


# The front desk: here users sign in. It makes the link.


class FrontDesk:
    """An ASGI app with a sign-in form and a link to the archive."""

    def __init__(self, desk_url: str, archive_url: str) -> None:
        self.desk_url = desk_url
        self.archive_url = archive_url
        self.last_link = archive_url

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Respond to one request."""
        ott = scope["ott"]
        match scope["method"], scope["path"]:
            case "POST", "/sign-in":
                # A real front desk would ask for more than a name.
                form = await read_form(receive)
                name = form.get("name", "").strip()
                if name.isprintable() and 0 < len(name) <= 40:
                    ott.sign_in(name)
                    LOG.clear()
                    say("front desk", f"{name} signed in")
                await redirect(send, path_of_this_site(form.get("next", "/")))
            case "POST", "/sign-out":
                ott.sign_out()
                LOG.clear()
                await redirect(send, "/")
            case "GET", "/to-the-archive" if ott.session:
                # Made at the click, and not before: until it is used, a link is a password.
                LOG.clear()
                link = await ott.alink(self.archive_url + "/")
                self.last_link = link
                say("front desk", f"a link for {ott.session.user_id}: {mask(link)}")
                await redirect(send, link)
            case "GET", "/second-use" if ott.session:
                LOG.clear()
                say("front desk", f"the same link again: {mask(self.last_link)}")
                await redirect(send, self.last_link)
            case "GET", "/" if ott.session:
                await respond(send, 200, self.page(DESK_SIGNED_IN, ott.session.user_id))
            case "GET", "/" | "/to-the-archive" | "/second-use":
                query = parse_qs(scope["query_string"].decode("ascii", "replace"))
                wanted = path_of_this_site(query.get("next", ["/"])[0])
                await respond(send, 200, self.page(DESK_GUEST, wanted=wanted))
            case _:
                await respond(send, 404, self.page("<p>There is no such page.</p>"))

    def page(self, body: str, user: str = "", wanted: str = "/") -> str:
        """Build a page of this site."""
        return PAGE.format(
            title="The front desk",
            kind="ASGI app under uvicorn",
            url=self.desk_url,
            colour="#123f8c",
            body=body.format(
                name=escape(user),
                wanted=escape(wanted),
                archive_url=self.archive_url,
                log=log_as_html(),
            ),
        )


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<link rel="icon" href="data:,"><title>{title}</title><style>
* {{ box-sizing: border-box }}
body {{ margin: 0; font: 1.1rem/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff }}
header {{ background: {colour}; color: #fff; padding: 1rem }}
header *, main {{ max-width: 38rem; margin: 0 auto }}
header p {{ overflow-wrap: anywhere }}
h1 {{ font-size: 1.6rem }}
h2 {{ font-size: 1.1rem; margin: 0 }}
main {{ padding: 0 1rem 2rem }}
aside {{ border: 2px solid {colour}; border-radius: .5rem; padding: .8rem 1rem; margin: 1.5rem 0 }}
ol {{ margin: .4rem 0 0; padding-left: 1.4rem; overflow-wrap: anywhere }}
nav {{ display: flex; flex-wrap: wrap; gap: .8rem }}
nav form {{ display: contents }}
nav a, button, input {{ font: inherit; min-height: 44px; padding: .5rem 1rem; border-radius: .4rem;
  border: 2px solid {colour} }}
nav a, button {{ color: {colour}; background: #fff; text-decoration: none; cursor: pointer }}
nav .first {{ color: #fff; background: {colour} }}
input {{ width: 12rem; max-width: 100% }}
</style>
<header><h1>{title}</h1><p>{kind} at <b>{url}</b></p></header>
<main>{body}</main></html>
"""
BOX = "<aside><h2>What just happened</h2>{log}</aside>"
DESK_GUEST = """<p>Hello, guest. Sign in with any name.</p>
<form method="post" action="/sign-in"><input type="hidden" name="next" value="{wanted}">
<nav><label>Your name <input name="name" value="Ada" required maxlength="40"></label>
<button class="first">Sign in</button></nav></form>
<p>The archive at {archive_url} is another site: it does not know you, and gets no cookie of this
one.</p>"""
DESK_SIGNED_IN = (
    "<p>Hello, <b>{name}</b>.</p>"
    + BOX
    + """<nav><a class="first" href="/to-the-archive">Go to the archive</a>
<form method="post" action="/sign-out"><button>Sign out</button></form></nav>
<p>The link is made when you click it. It leads to {archive_url}, and works once.</p>"""
)
ARCHIVE_SIGNED_IN = (
    "<p>Hello, <b>{name}</b>. You never signed in on this site.</p>"
    + BOX
    + """<nav><form method="post" action="/second-use">
<button class="first">Use the link a second time</button></form>
<a href="{desk_url}/">Back to the front desk</a>
<form method="post" action="/sign-out"><button>Sign out</button></form></nav>
<p>The token is gone from the address bar. The second use signs you out here first, and then opens
the same link: the user that a link signed in sees no error after a reload.</p>"""
)
ARCHIVE_GUEST = (
    "<p>Hello, guest. This site does not know you.</p>"
    + BOX
    + """<nav><a class="first" href="{desk_url}/">Back to the front desk</a>
<a href="/vault">Open the vault</a></nav>
<p>A guest who opens the vault is sent to the front desk, and comes back signed in.</p>"""
)
VAULT = (
    "<p>Hello, <b>{name}</b>. This is the vault.</p>"
    + BOX
    + """<nav><a class="first" href="{desk_url}/">Back to the front desk</a>
<form method="post" action="/sign-out"><button>Sign out</button></form></nav>
<p>The archive sent a guest to the front desk. The link that leads back works only in the browser
that it was made for: it would sign in no thief, and no other user.</p>"""
)


async def read_form(receive: Any) -> dict[str, str]:
    """Read the fields of a posted form."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body") or len(body) > 2000:
            return dict(parse_qsl(body.decode("utf-8", "replace")))


def path_of_this_site(text: str) -> str:
    """Return a path to redirect to; "/" for a text that could lead to another host."""
    is_path = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if is_path and text.isascii() and text.isprintable() else "/"


async def respond(send: Any, status: int, page: str, *headers: tuple[bytes, bytes]) -> None:
    """Send a page."""
    fields = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": [*fields, *headers]})
    await send({"type": "http.response.body", "body": page.encode()})


async def redirect(send: Any, url: str) -> None:
    """Redirect the browser."""
    await respond(send, 303, "", (b"location", url.encode("ascii")))


# A log of what happens to the token, in the terminal and in a box of the pages.


class TalkingBackend(MemoryBackend):
    """Keeps tokens in this process's memory, and logs each put and take."""

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        """Store a token."""
        super().put(key, value, expires_at=expires_at, owner=owner, limit=limit)
        say("backend", f"a token waits, its session sealed in {len(value)} bytes")

    def take(self, key: str) -> bytes | None:
        """Remove a token and return it: this works once."""
        value = super().take(key)
        say(
            "backend", "the token is taken, and gone" if value else "no such token: used or expired"
        )
        return value


LOG: deque[str] = deque(maxlen=6)


def say(part: str, event: str) -> None:
    """Write an event to the terminal, and to the box unless it is a plain request."""
    print(f"  {part:>10}  {event}", flush=True)
    if part != "archive":
        LOG.append(f"{part}: {event}")


def log_as_html() -> str:
    """Return the events since the last click as a list."""
    return "<ol>" + "".join(f"<li>{escape(line)}</li>" for line in tuple(LOG)) + "</ol>"


def mask(link: str) -> str:
    """Shorten the token of a link: a whole token can be used by every reader of the log."""
    start = link.find("ott=")
    return link if start < 0 else link[: start + 8] + "..."


# Two real servers in this process.


@contextlib.contextmanager
def served(asgi_port: int, wsgi_port: int) -> Iterator[tuple[str, str]]:
    """Run both apps under their servers; yields the URLs of the front desk and the archive."""
    with listening(asgi_port) as asgi_socket, listening(wsgi_port) as wsgi_socket:
        desk_url = f"http://localhost:{asgi_socket.getsockname()[1]}"
        archive_url = f"http://127.0.0.1:{wsgi_socket.getsockname()[1]}"
        asgi, wsgi = wrap(desk_url, archive_url)
        asgi_server = uvicorn.Server(uvicorn.Config(asgi, lifespan="off", log_level="warning"))
        watched: dict[int, Any] = {}  # waitress's sockets
        wsgi_server = waitress.create_server(wsgi, map=watched, sockets=[wsgi_socket])
        asgi_thread = threading.Thread(target=asgi_server.run, args=([asgi_socket],))
        wsgi_thread = threading.Thread(target=wsgi_server.run, daemon=True)
        asgi_thread.start()
        wsgi_thread.start()
        try:
            yield desk_url, archive_url
        finally:
            asgi_server.should_exit = True
            # Its worker threads end first, so that no response is under way. The thread that waits
            # for the sockets closes them: it would fail if another thread closed them meanwhile.
            wsgi_server.task_dispatcher.shutdown()
            wsgi_server.trigger.pull_trigger(lambda: waitress.wasyncore.close_all(watched))
            wsgi_thread.join()
            asgi_thread.join()


def port(text: str) -> int:
    """Parse a port of the command line."""
    if not 0 <= int(text) <= 65535:
        raise ValueError
    return int(text)


def listening(number: int) -> socket.socket:
    """Open a socket on this machine alone; 0 takes any free port."""
    try:
        return socket.create_server(("127.0.0.1", number))
    except OSError as error:
        sys.exit(f"Port {number} can't be used: {error}. Try --asgi-port or --wsgi-port.")


# The check: the program clicks itself through the handoff.


class Browser:
    """Keeps cookies for each host, and follows no redirect by itself."""

    def __init__(self) -> None:
        self.cookies: dict[str, dict[str, str]] = {}

    def open(self, url: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Load a URL, or post a form to it; returns the status, the `Location` and the page."""
        parts = urlsplit(url)
        cookies = self.cookies.setdefault(str(parts.hostname), {})
        headers = {
            "Accept": "text/html",
            "Sec-Fetch-Mode": "navigate",  # without these two, a link shows a page first
            "Sec-Fetch-Dest": "document",
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        }
        target = f"{parts.path or '/'}?{parts.query}"
        connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        try:
            body = None if form is None else urlencode(form)
            connection.request("GET" if form is None else "POST", target, body, headers)
            response = connection.getresponse()
            page = response.read().decode()
        finally:
            connection.close()
        for line in response.headers.get_all("Set-Cookie", []):
            cookies.update((name, morsel.value) for name, morsel in SimpleCookie(line).items())
        return response.status, response.headers.get("Location", ""), page


def check(desk_url: str, archive_url: str) -> None:
    """Hand a user over and try the link again; exits with a message if a step fails."""
    name, greeting = "Zoe Müller", "Hello, <b>Zoe Müller</b>"
    zoe, thief = Browser(), Browser()

    step("The archive does not know Zoe yet")
    expect("guest" in zoe.open(archive_url)[2], "the archive should greet a guest")

    step("Zoe signs in at the front desk")
    zoe.open(desk_url + "/sign-in", {"name": name})
    expect(greeting in zoe.open(desk_url)[2], "the front desk should greet Zoe")

    step("Zoe clicks the link to the archive")
    status, link, _ = zoe.open(desk_url + "/to-the-archive")
    expect(status == 303 and link.startswith(archive_url + "/?ott="), "no link was made")

    step("Zoe's browser follows it")
    status, location, _ = zoe.open(link)
    clean = urljoin(link, location)  # as browsers do: the `Location` is relative
    leads_there = (status, clean) == (303, archive_url + "/")
    expect(leads_there, "the link should lead to the archive's clean URL")

    step("The archive greets Zoe")
    expect(greeting in zoe.open(clean)[2], "the archive should greet Zoe")

    step("Another visitor opens the same link")
    status, _, page = thief.open(link)
    expect(status == 400 and "no longer works" in page, "the second use should fail")
    expect("guest" in thief.open(archive_url)[2], "the second use should sign no user in")

    step("Zoe uses the link a second time")
    status, back, _ = zoe.open(archive_url + "/second-use", {})
    status, again, _ = zoe.open(back)
    expect((status, again) == (303, link), "the front desk should offer the same link")
    expect(zoe.open(again)[0] == 400, "the second use should fail for Zoe as well")

    check_vault(desk_url, archive_url)
    print("All is well: the link signed Zoe in, once, and the vault's link signed in Ada alone.")


def check_vault(desk_url: str, archive_url: str) -> None:
    """Have the archive send a guest to the front desk; exits with a message if a step fails."""
    ada, thief = Browser(), Browser()

    step("Ada, a guest, opens the vault of the archive")
    status, to_desk, _ = ada.open(archive_url + "/vault")
    sent = status == 303 and to_desk.startswith(desk_url + "/one-time-token/generate?to=")
    expect(sent, "the archive should send Ada to the front desk")

    step("The front desk has Ada sign in first")
    sign_in = urljoin(to_desk, ada.open(to_desk)[1])
    wanted = parse_qs(urlsplit(sign_in).query).get("next", ["/"])[0]
    _, back, _ = ada.open(desk_url + "/sign-in", {"name": "Ada", "next": wanted})
    link = ada.open(desk_url + back)[1]
    leads_back = link.startswith(archive_url + "/one-time-token/return?ott=")
    expect(leads_back, "the front desk should lead Ada back")

    step("A thief opens the link that leads back")
    status, _, page = thief.open(link)
    expect(status == 400 and "not signed in" in page, "the link should be worth nothing to a thief")

    step("Ada's browser follows it, is sent to the front desk once more, and sees the vault")
    url, location = link, link
    for _ in range(6):
        if location:
            url = urljoin(url, location)
            _, location, page = ada.open(url)
    expect(url == archive_url + "/vault", "the link should lead to the vault")
    expect("Hello, <b>Ada</b>" in page, "the vault should greet Ada")


def step(text: str) -> None:
    """Print the next step."""
    print(f"- {text}", flush=True)


def expect(holds: bool, otherwise: str) -> None:
    """Stop the check if something does not hold."""
    if not holds:
        sys.exit(f"The check failed: {otherwise}.")


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description="Hand a user from one web app to another.")
    for name, usual, site in ("--asgi-port", 8001, "front desk"), ("--wsgi-port", 8002, "archive"):
        text = f"of the {site}; default {usual}, 0 for any free port"
        parser.add_argument(name, type=port, default=usual, metavar="PORT", help=text)
    parser.add_argument("--check", action="store_true", help="drive the handoff, and exit")
    arguments = parser.parse_args()
    # The warnings say that another process cannot reach this store: here, both sites are in one.
    logging.getLogger("ott_middleware").setLevel(logging.ERROR)
    with served(arguments.asgi_port, arguments.wsgi_port) as (desk_url, archive_url):
        if arguments.check:
            try:
                check(desk_url, archive_url)
            except (OSError, http.client.HTTPException) as error:
                sys.exit(f"The check failed: {error!r}.")
            return
        with contextlib.suppress(KeyboardInterrupt):
            print(f"Sign in at {desk_url} and follow the link. (The archive is at {archive_url}.)")
            print("Press Ctrl-C to stop.", flush=True)
            threading.Event().wait()


if __name__ == "__main__":
    main()
