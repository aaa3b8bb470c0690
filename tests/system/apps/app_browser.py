"""A browser that keeps cookies as browsers do: by host, path and age."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import httpx
from harness import FETCH, NAVIGATION, Answer
from visitor import Visitor, forms_of


class Browser(Visitor):
    """A visitor whose cookies have a path, a domain and an end."""

    def __init__(self) -> None:
        super().__init__()
        self.client = httpx.Client(timeout=60, trust_env=False)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def ask(self, method: str, url: str, body: bytes = b"", **headers: str) -> Answer:
        sent = {**NAVIGATION, **{name.replace("_", "-"): text for name, text in headers.items()}}
        response = self.client.request(method, url, content=body or None, headers=sent)
        pairs = [(name.lower(), value) for name, value in response.headers.multi_items()]
        answer = Answer(response.status_code, pairs, response.content)
        parts = urlsplit(url)
        lines = self.lines.setdefault(f"{parts.scheme}://{parts.netloc}", {})
        lines.update((line.partition("=")[0], line) for line in answer.all("set-cookie"))
        return answer

    def open(self, url: str, **headers: str) -> tuple[str, Answer]:
        """Follow redirects; return where they led, and the response there."""
        for _ in range(8):
            answer = self.get(url, **headers)
            if answer.location is None:
                return url, answer
            url = urljoin(url, answer.location)
        raise AssertionError(f"{url} leads round and round")

    def post(self, url: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Send a form, as the site's own page does."""
        parts = urlsplit(url)
        return self.ask(
            "POST",
            url,
            urlencode(fields).encode(),
            **{
                "content_type": "application/x-www-form-urlencoded",
                "origin": f"{parts.scheme}://{parts.netloc}",
                "sec_fetch_site": "same-origin",
                **headers,
            },
        )

    def cookie(self, origin: str, name: str) -> str:
        """Return the value of a site's cookie, as its own script reads it."""
        host = urlsplit(origin).hostname
        jar = self.client.cookies.jar
        return next(each.value or "" for each in jar if (each.name, each.domain) == (name, host))

    def read(self, url: str) -> str:
        return self.open(url)[1].body.decode("utf-8", "replace")


FROM_SCRIPT = {name.replace("-", "_"): value for name, value in FETCH.items()}

#: What a person does at a site, by its origin.
Step = Callable[[Browser, str], Any]


@dataclass(frozen=True)
class Fill:
    """Fills in the form of a page that has these fields, and sends it by a button."""

    page: str
    fields: dict[str, str] = field(default_factory=dict)
    button: dict[str, str] = field(default_factory=dict)

    def __call__(self, browser: Browser, origin: str) -> None:
        url, page = browser.open(origin + self.page)
        forms = [form for form in forms_of(page) if self.fields.keys() <= form.fields.keys()]
        assert forms, page.body
        to = urljoin(url, forms[0].action or url)
        answer = browser.post(to, {**forms[0].fields, **self.fields, **self.button}, referer=url)
        assert answer.status in (200, 302, 303), (answer.status, answer.body)


@dataclass(frozen=True)
class Press:
    """Presses the button of the form of a page that goes to the path `action`."""

    page: str
    action: str

    def __call__(self, browser: Browser, origin: str) -> None:
        url, page = browser.open(origin + self.page)
        actions = [form.action for form in forms_of(page)]
        found = [each for each in actions if urljoin(url, each) == origin + self.action]
        assert found, (actions, page.body)
        answer = browser.press(url, found[0])
        assert answer.status in (200, 302, 303), (answer.status, answer.body)


@dataclass(frozen=True)
class Visit:
    """Opens a page."""

    page: str

    def __call__(self, browser: Browser, origin: str) -> None:
        _, answer = browser.open(origin + self.page)
        assert answer.status < 400, (answer.status, answer.body)


@dataclass(frozen=True)
class Post:
    """Sends a form that a script of the front end makes: no page of the app has it.

    :ivar csrf: the cookie whose value the script sends along, and the field that it sends it in.
    """

    path: str
    fields: dict[str, str] = field(default_factory=dict)
    csrf: tuple[str, str] | None = None

    def __call__(self, browser: Browser, origin: str) -> None:
        fields = dict(self.fields)
        if self.csrf is not None:
            cookie, name = self.csrf
            fields[name] = browser.cookie(origin, cookie)
        answer = browser.post(origin + self.path, fields, **FROM_SCRIPT)
        assert answer.status < 400, (answer.status, answer.body)


@dataclass(frozen=True)
class Send:
    """Sends JSON, as the app's page does by a script."""

    path: str
    values: dict[str, str] = field(default_factory=dict)

    def __call__(self, browser: Browser, origin: str) -> None:
        answer = browser.ask(
            "POST",
            origin + self.path,
            json.dumps(self.values).encode(),
            content_type="application/json",
            origin=origin,
            **FROM_SCRIPT,
        )
        assert answer.status < 300, (answer.status, answer.body)
