"""A real Chromium, for the tests that are marked `browser`: `pytest -m browser`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docs_build
import pytest
from services import absent

# The helper that starts servers.
sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))

_OVER_BOTH = ("test_account_switch_page", "test_confirm_page")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Names of a site on plain http. For those of this machine Chromium sends Fetch Metadata.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = [config.option.markexpr, *config.args]
    is_wanted = any("browser" in str(word) for word in asked)
    left_out = [item for item in items if _is_marked(item) and not (is_wanted and _is_run(item))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_marked(item: pytest.Item) -> bool:
    return item.get_closest_marker("browser") is not None


def _is_run(item: pytest.Item) -> bool:
    """Whether a test runs where not all are asked for (OTT_TEST_BROWSER=all).

    The pages of confirm links and of account switches are built in the flow, which both interfaces
    share and the fast tests try over both. In a browser one of them will do.
    """
    if os.environ.get("OTT_TEST_BROWSER") == "all" or item.path.stem not in _OVER_BOTH:
        return True
    parameters = getattr(item, "callspec", None)
    return parameters is None or "wsgi" not in parameters.params.values()


def executable() -> str:
    """The Chromium of this machine."""
    found = os.environ.get("OTT_TEST_CHROMIUM") or shutil.which("chromium")
    if found is None:
        absent("needs Chromium: install it, or name it in OTT_TEST_CHROMIUM")
    return found


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    path = executable()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent('needs playwright: pip install ".[browser]"')
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def docs_html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the built documentation; OTT_TEST_DOCS names one that is there already."""
    return docs_build.built(tmp_path_factory.mktemp("docs"))


@pytest.fixture(scope="session")
def docs_site(docs_html: Path) -> Iterator[str]:
    """The URL of the built documentation, without a slash at its end."""
    with docs_build.served(docs_html) as url:
        yield url


class Visit:
    """One person's browser window, and what went over the wire in it."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.page = context.new_page()
        self.page.set_default_timeout(10_000)
        self.answers: list[tuple[str, int]] = []
        self.complaints: list[str] = []
        self.page.on("response", lambda answer: self.answers.append((answer.url, answer.status)))
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, kind: str, text: str) -> None:
        # Chromium reports each answer of 400 and more here: that is no fault of a page.
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.complaints.append(text)

    @property
    def text(self) -> str:
        text: str = self.page.locator("body").inner_text()
        return text

    def history(self) -> list[str]:
        """What the back button knows: where each entry led, and how it began."""
        devtools = self.context.new_cdp_session(self.page)
        entries = devtools.send("Page.getNavigationHistory")["entries"]
        devtools.detach()
        return [value for entry in entries for value in (entry["url"], entry["userTypedURL"])]

    def link(self) -> str:
        """The last link with a token that was opened."""
        opened = [url for url, _ in self.answers if "ott=" in url]
        return [url for url in opened if "ott_seen=" not in url][-1]

    def follow(self, url: str, until: str) -> None:
        """Go where the page that is shown sends the browser."""
        self.page.evaluate("url => { location.href = url }", url)
        self.page.wait_for_url(until)


@pytest.fixture
def visit(chromium: Any) -> Iterator[Visit]:
    context = chromium.new_context()
    yield Visit(context)
    context.close()


@pytest.fixture
def stranger(chromium: Any) -> Iterator[Visit]:
    """Somebody else, with a small telephone."""
    context = chromium.new_context(viewport={"width": 360, "height": 640}, is_mobile=True)
    yield Visit(context)
    context.close()
