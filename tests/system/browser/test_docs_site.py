"""Each page of the documentation: on a telephone, and for those who read it by other means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import axe
import pytest
from docs_build import PAGES

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
# The parts of a page's text that cannot be seen without scrolling it sideways: code, tables and
# drawn pictures scroll in themselves. The theme lets the text scroll where the window does not.
TOO_WIDE = """() => [...document.querySelectorAll('article *')]
    .filter(e => e.getBoundingClientRect().right > innerWidth
      && !e.closest('pre, .table-wrapper, p:has(> img[src$=".svg"])'))
    .map(e => e.outerHTML.slice(0, 200))
    .concat(document.documentElement.scrollWidth > innerWidth ? ['the window scrolls'] : [])"""


@pytest.fixture(scope="module")
def axe_script(tmp_path_factory: pytest.TempPathFactory) -> str:
    return axe.script(tmp_path_factory.mktemp("axe"))


@pytest.fixture(scope="module")
def reader(chromium: Any) -> Iterator[Any]:
    """A browser page."""
    context = chromium.new_context(viewport=DESK)
    page = context.new_page()
    page.set_default_timeout(20_000)
    yield page
    context.close()


@pytest.fixture(scope="module", params=PAGES)
def opened(request: pytest.FixtureRequest, reader: Any, docs_site: str) -> tuple[str, Any]:
    """The name of a page, and the browser that shows it: opened once for both tests."""
    reader.emulate_media(color_scheme="light")
    reader.goto(f"{docs_site}/{request.param}.html")
    return request.param, reader


class TestPages:
    def test_phone_does_not_scroll_sideways(self, opened: tuple[str, Any]) -> None:
        _, page = opened
        page.set_viewport_size(PHONE)
        assert page.evaluate(TOO_WIDE) == []

    def test_accessibility_light_and_dark(self, opened: tuple[str, Any], axe_script: str) -> None:
        name, page = opened
        page.set_viewport_size(DESK)
        page.evaluate(axe_script)
        # The list of all pages is the same on each.
        rest = () if name == "index" else (".sidebar-drawer",)
        assert axe.violations(page, *rest) == []
        assert axe.bad_looks(page, *rest) == []
        # The two differ by their colours alone, which tabs change slowly.
        page.add_style_tag(content="* { transition: none !important }")
        page.emulate_media(color_scheme="dark")
        assert axe.bad_looks(page, *rest) == []


WIDE = "<article><p>Text <span style='white-space: nowrap'>" + "and more text " * 60 + "</article>"


class TestTooWide:
    def test_fault_is_found(self, reader: Any) -> None:
        reader.set_viewport_size(PHONE)
        reader.set_content(WIDE)
        assert [found[:5] for found in reader.evaluate(TOO_WIDE)] == ["<span", "the w"]


BROKEN = """<html lang="en"><title>A page</title><main><h1>A page</h1><p>Some text here
<span style="color: #aaa; background: #fff">pale</span></p><img src="x.png"></main>"""


class TestAxe:
    def test_fault_is_found(self, reader: Any, axe_script: str) -> None:
        reader.set_content(BROKEN)
        reader.evaluate(axe_script)
        assert [found.split(":")[0] for found in axe.violations(reader)] == ["image-alt"]
        assert [found.split(":")[0] for found in axe.bad_looks(reader)] == ["color-contrast"]
