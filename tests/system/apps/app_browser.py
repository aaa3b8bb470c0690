"""A browser that keeps cookies as browsers do: by host, path and age."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urljoin

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
        return Answer(response.status_code, pairs, response.content)

    def open(self, url: str, **headers: str) -> tuple[str, Answer]:
        """Follow redirects; return where they led, and the response there."""
        for _ in range(8):
            answer = self.get(url, **headers)
            if answer.location is None:
                return url, answer
            url = urljoin(url, answer.location)
        raise AssertionError(f"{url} leads round and round")

    def read(self, url: str) -> str:
        return self.open(url)[1].body.decode("utf-8", "replace")


FROM_SCRIPT = {name.replace("-", "_"): value for name, value in FETCH.items()}

#: What a person does at a site, by its origin.
Step = Callable[[Browser, str], Any]


@dataclass(frozen=True)
class Fill:
    """Fills in the form of a page that has these fields, and sends it."""

    page: str
    fields: dict[str, str] = field(default_factory=dict)

    def __call__(self, browser: Browser, origin: str) -> None:
        url, page = browser.open(origin + self.page)
        assert any(self.fields.keys() <= form.fields.keys() for form in forms_of(page)), page.body
        answer = browser.submit(url, **self.fields)
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
    """Sends a form that a script of the front end makes: no page of the app has it."""

    path: str
    fields: dict[str, str] = field(default_factory=dict)

    def __call__(self, browser: Browser, origin: str) -> None:
        answer = browser.ask(
            "POST",
            origin + self.path,
            urlencode(self.fields).encode(),
            content_type="application/x-www-form-urlencoded",
            origin=origin,
            **FROM_SCRIPT,
        )
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
