"""Two apps, one person: sign in to the first, and a link signs you in to the second.

    python examples/handoff.py            open http://localhost:8001
    python examples/handoff.py --check    the same without a person

The front desk is an ASGI app under uvicorn, on localhost. The archive is a WSGI app under waitress,
on 127.0.0.1: another host for a browser, so that no cookie of the one ever reaches the other. They
share a backend, where a token waits for a moment, and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from html import escape
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
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


def wrapped(desk_url: str, archive_url: str) -> tuple[ASGIMiddleware, WSGIMiddleware]:
    """Both apps, each wrapped in one line."""
    desk, tokens = FrontDesk(archive_url + "/"), TalkingBackend()
    # Neither app has sessions of its own, so each is lent one. The keys need not be the same.
    at_desk = SealedSession(secrets.token_bytes(32))
    in_archive = SealedSession(secrets.token_bytes(32), remote_user=user_id)

    asgi = OTTMiddleware(
        desk,
        session=at_desk,
        backend=tokens,
        store_token="hashed",
        public_origin=desk_url,
        handoff_targets=[archive_url],
    )
    wsgi = OTTMiddleware(
        archive,
        session=in_archive,
        backend=tokens,
        store_token="hashed",
        public_origin=archive_url,
    )
    return asgi, wsgi


def user_id(session: Session) -> str | None:
    """What REMOTE_USER says of a session."""
    return session.user_id


# The archive: an old app. It knows REMOTE_USER, and nothing of this package.


def archive(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Greet whoever REMOTE_USER names."""
    user = environ.get("REMOTE_USER", "guest").encode("latin-1").decode()  # as PEP 3333 has it
    say("archive", f"{environ['REQUEST_METHOD']} {request_uri(environ)} from {user}")
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    page = PAGE.format(title="The archive", body=f"<p>Hello, <b>{escape(user)}</b>.</p>")
    return [page.encode()]


# The front desk: where people sign in. It makes the link.


class FrontDesk:
    """An ASGI app with a sign-in form and a link to the archive."""

    def __init__(self, archive_url: str) -> None:
        self.archive_url = archive_url

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        ott = scope["ott"]
        match scope["method"], scope["path"]:
            case "POST", "/sign-in":
                # A real front desk would ask for more than a name.
                name = (await form_field(receive, "name")).strip()
                if name.isprintable() and 0 < len(name) <= 40:
                    ott.sign_in(name)
                    say("front desk", f"{name} signed in")
                await redirect(send, "/")
            case "POST", "/sign-out":
                ott.sign_out()
                await redirect(send, "/")
            case "GET", "/to-the-archive" if ott.session:
                # Made at the click, and not before: a link is a password for as long as it lives.
                link = await ott.alink(self.archive_url)
                say("front desk", f"a link for {ott.session.user_id}: {masked(link)}")
                await redirect(send, link)
            case "GET", "/" if ott.session:
                body = SIGNED_IN.format(name=escape(ott.session.user_id), url=self.archive_url)
                await respond(send, 200, PAGE.format(title="The front desk", body=body))
            case "GET", "/" | "/to-the-archive":
                await respond(send, 200, PAGE.format(title="The front desk", body=SIGN_IN))
            case _:
                await respond(send, 404, PAGE.format(title="Not found", body=""))


PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    '<link rel="icon" href="data:,"><title>{title}</title>'
    '<body style="font:1.2rem/1.6 sans-serif;max-width:30rem;margin:3rem auto;padding:0 1rem">'
    "<h1>{title}</h1>{body}</body></html>"
)
SIGN_IN = (
    '<form method="post" action="/sign-in"><label>Your name <input name="name" value="Ada" '
    'required maxlength="40"></label> <button>Sign in</button></form>'
)
SIGNED_IN = (
    '<p>Hello, <b>{name}</b>.</p><p><a href="/to-the-archive">Go to the archive</a> at {url}</p>'
    '<form method="post" action="/sign-out"><button>Sign out</button></form>'
)


async def form_field(receive: Any, name: str) -> str:
    """One field of a posted form."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body") or len(body) > 1000:
            values: list[str] = parse_qs(body.decode("utf-8", "replace")).get(name, [""])
            return values[0]


async def respond(send: Any, status: int, page: str, *headers: tuple[bytes, bytes]) -> None:
    """Send a page."""
    fields = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": [*fields, *headers]})
    await send({"type": "http.response.body", "body": page.encode()})


async def redirect(send: Any, url: str) -> None:
    """Send the browser on."""
    await respond(send, 303, "", (b"location", url.encode("ascii")))


# What happens to the token, told as it happens.


class TalkingBackend(MemoryBackend):
    """Tokens in this process's memory; says when one comes and goes."""

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        """Keep a token."""
        super().put(key, value, expires_at=expires_at, owner=owner, limit=limit)
        say("backend", f"a token waits, its session sealed in {len(value)} bytes")

    def take(self, key: str) -> bytes | None:
        """Give a token away, once."""
        value = super().take(key)
        say("backend", "the token is taken, and gone" if value else "no such token: dead link")
        return value


def say(who: str, what: str) -> None:
    """Tell the terminal what happened."""
    print(f"  {who:>10}  {what}", flush=True)


def masked(link: str) -> str:
    """A link that can be shown: whoever has a whole token can use it."""
    start = link.index("ott=") + len("ott=")
    return link[: start + 4] + "..."


# Two real servers in this process.


@contextlib.contextmanager
def served(asgi_port: int, wsgi_port: int) -> Iterator[tuple[str, str]]:
    """Both apps behind their servers; yields the URLs of the front desk and the archive."""
    with listening(asgi_port) as asgi_socket, listening(wsgi_port) as wsgi_socket:
        desk_url = f"http://localhost:{asgi_socket.getsockname()[1]}"
        archive_url = f"http://127.0.0.1:{wsgi_socket.getsockname()[1]}"
        asgi, wsgi = wrapped(desk_url, archive_url)
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
            # No answer is under way once its threads have ended, and the one that waits on the
            # sockets closes them itself: it would choke on one that is closed under it.
            wsgi_server.task_dispatcher.shutdown()
            wsgi_server.trigger.pull_trigger(lambda: waitress.wasyncore.close_all(watched))
            wsgi_thread.join()
            asgi_thread.join()


def port(text: str) -> int:
    """A port of the command line."""
    if not 0 <= int(text) <= 65535:
        raise ValueError
    return int(text)


def listening(number: int) -> socket.socket:
    """A socket on this machine alone; any free port for 0."""
    try:
        return socket.create_server(("127.0.0.1", number))
    except OSError as error:
        sys.exit(f"Port {number} can't be used: {error}. Try --asgi-port or --wsgi-port.")


# The check: the handoff without a person.


class Browser:
    """Just enough of one: it keeps cookies for each host, and follows nothing by itself."""

    def __init__(self) -> None:
        self.cookies: dict[str, dict[str, str]] = {}

    def open(self, url: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Load a URL, or post a form to it; returns the status, the `Location` and the page."""
        parts = urlsplit(url)
        cookies = self.cookies.setdefault(str(parts.hostname), {})
        headers = {
            "Accept": "text/html",
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
    """Hand a person over and try the link again; exits with a message if anything is amiss."""
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
    expect((status, location) == (303, "/"), "the link should lead to the archive's clean URL")

    step("The archive greets Zoe")
    expect(greeting in zoe.open(archive_url + location)[2], "the archive should greet Zoe")

    step("Somebody else tries the same link")
    status, _, page = thief.open(link)
    expect(status == 400 and "no longer works" in page, "the second use should fail")
    expect("guest" in thief.open(archive_url)[2], "the second use should sign nobody in")

    print("All is well: the link signed Zoe in, once.")


def step(text: str) -> None:
    """Say what is tried next."""
    print(f"- {text}", flush=True)


def expect(holds: bool, otherwise: str) -> None:
    """Stop the check if something does not hold."""
    if not holds:
        sys.exit(f"The check failed: {otherwise}.")


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description="Hand a person from one web app to another.")
    for name, usual, whose in ("--asgi-port", 8001, "front desk"), ("--wsgi-port", 8002, "archive"):
        told = f"of the {whose}; {usual} unless told, 0 for any that is free"
        parser.add_argument(name, type=port, default=usual, metavar="PORT", help=told)
    parser.add_argument("--check", action="store_true", help="drive the handoff, and exit")
    arguments = parser.parse_args()
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
