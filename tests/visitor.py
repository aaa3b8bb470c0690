"""A person with a browser: keeps cookies for each site, fills in forms, follows what it is told to.

Sites are real servers, or apps in this process; the person sees no difference.
"""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from harness import NAVIGATION, Answer, call_asgi, call_wsgi, make_environ, make_scope, messages_of

# One request: method, target, headers, body.
Send = Callable[[str, str, Mapping[str, str], bytes], Answer]


class Visitor:
    """One browser.

    :param sites: origin → how to ask it; any other origin is asked over a connection.
    """

    def __init__(self, sites: Mapping[str, Send] | None = None) -> None:
        self.sites = dict(sites or {})
        self.jars: dict[str, dict[str, str]] = {}
        #: What each answer set, by origin and name: the whole line.
        self.lines: dict[str, dict[str, str]] = {}

    def ask(self, method: str, url: str, body: bytes = b"", **headers: str) -> Answer:
        """One request; what it sets is kept, where it leads is not followed."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        jar = self.jars.setdefault(origin, {})
        sent = {
            **NAVIGATION,
            "host": parts.netloc,
            **({"cookie": "; ".join(f"{k}={v}" for k, v in jar.items())} if jar else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        answer = self.sites.get(origin, over_connection(origin))(method, target, sent, body)
        for line in map(str.strip, answer.all("set-cookie")):
            name, _, value = line.partition(";")[0].partition("=")
            self.lines.setdefault(origin, {})[name] = line
            if not value.strip('"') or "max-age=0" in line.lower():
                jar.pop(name, None)
            else:
                jar[name] = value
        return answer

    def get(self, url: str, **headers: str) -> Answer:
        return self.ask("GET", url, **headers)

    def read(self, url: str) -> str:
        """The page that a URL leads to in the end."""
        for _ in range(6):
            answer = self.get(url)
            if answer.location is None:
                return answer.body.decode("utf-8", "replace")
            url = urljoin(url, answer.location)
        raise AssertionError("it leads round and round")

    def submit(self, url: str, **fields: str) -> Answer:
        """Load a page and send its form that has those fields, with what else is in it."""
        page = self.get(url)
        form = next(form for form in forms_of(page) if fields.keys() <= form.fields.keys())
        to = urljoin(url, form.action or url)
        parts = urlsplit(url)
        return self.ask(
            "POST",
            to,
            urlencode({**form.fields, **fields}).encode(),
            content_type="application/x-www-form-urlencoded",
            origin=f"{parts.scheme}://{parts.netloc}",
            referer=url,
            sec_fetch_site="same-origin",
        )

    def press(self, url: str, action: str) -> Answer:
        """Load a page and press the button of the form that goes to `action`."""
        form = next(form for form in forms_of(self.get(url)) if form.action == action)
        parts = urlsplit(url)
        return self.ask(
            "POST",
            urljoin(url, action),
            urlencode(form.fields).encode(),
            content_type="application/x-www-form-urlencoded",
            origin=f"{parts.scheme}://{parts.netloc}",
            referer=url,
            sec_fetch_site="same-origin",
        )

    def generate(self, origin: str) -> Answer:
        """What a page of the site gets that asks for a token."""
        return self.get(
            f"{origin}/one-time-token/generate",
            accept="*/*",
            sec_fetch_mode="cors",
            sec_fetch_dest="empty",
            sec_fetch_site="same-origin",
        )

    def token(self, origin: str) -> str:
        answer = self.generate(origin)
        assert answer.status == 200, answer.body
        token: str = answer.json()["token"]
        return token


class Form:
    def __init__(self, action: str) -> None:
        self.action = action
        self.fields: dict[str, str] = {}


def forms_of(answer: Answer) -> list[Form]:
    found: list[Form] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            values = {name: value or "" for name, value in attrs}
            if tag == "form":
                found.append(Form(values.get("action", "")))
            elif tag == "input" and found and values.get("name"):
                boxed = values.get("type") in ("checkbox", "radio", "submit")
                if not boxed or "checked" in values:
                    found[-1].fields[values["name"]] = values.get("value", "")

    Reader().feed(answer.body.decode("utf-8", "replace"))
    return found


# How a site is asked.


def over_connection(origin: str) -> Send:
    """A real server."""

    def send(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(origin).netloc, timeout=30)
        try:
            connection.request(method, target, body or None, dict(headers))
            response = connection.getresponse()
            pairs = [(name.lower(), value) for name, value in response.getheaders()]
            return Answer(response.status, pairs, response.read())
        finally:
            connection.close()

    return send


def of_wsgi(app: Any) -> Send:
    """A WSGI app in this process."""

    def send(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return call_wsgi(app, make_environ(method, target, headers, body))

    return send


def of_asgi(app: Any) -> Send:
    """An ASGI app in this process."""

    def send(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        waiting = messages_of(body)

        async def receive() -> Any:
            # Who waits for the answer does not hang up.
            return waiting.pop(0) if waiting else await asyncio.Event().wait()

        async def connected(scope: Any, _: Any, send: Any) -> None:
            async def lower(message: Any) -> None:
                # Django leaves its headers' names in mixed case, and servers take them so.
                pairs = [(name.lower(), value) for name, value in message.get("headers", ())]
                await send({**message, **({"headers": pairs} if "headers" in message else {})})

            await app(scope, receive, lower)

        return asyncio.run(call_asgi(connected, make_scope(method, target, headers, body)))

    return send
