"""The demo's pages as the picture of README and docs shows them.

With `OTT_TEST_PICTURE=1`, `pytest -n 0 -m browser -k picture tests/system/browser` takes it anew.
"""

from __future__ import annotations

import base64
import os
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from test_browser import demo, sign_in  # noqa: F401  # a fixture is used by its name

pytestmark = pytest.mark.browser

PICTURE = Path(__file__).parents[3] / "docs" / "images" / "handoff.png"
WIDTH, HEIGHT = 480, 560


def small_targets(page: Any) -> list[str]:
    """Links, buttons and fields that are lower than a finger needs."""
    found: list[str] = page.evaluate(
        "() => [...document.querySelectorAll('a, button, input:not([type=hidden])')]"
        ".filter(e => e.getBoundingClientRect().height < 44).map(e => e.outerHTML)"
    )
    return found


def is_too_wide(page: Any) -> bool:
    wide: bool = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return wide


def colour_of_header(page: Any) -> str:
    colour: str = page.evaluate(
        "getComputedStyle(document.querySelector('header')).backgroundColor"
    )
    return colour


def test_two_sites_that_the_picture_shows(visit: Any, demo: Any) -> None:  # noqa: F811
    desk, archive, _ = demo
    page = visit.page
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    sign_in(visit, desk)
    shown = [visit.text]
    pictures = [page.screenshot()]
    colours = {colour_of_header(page)}
    assert small_targets(page) == []
    page.get_by_role("link", name="Go to the archive").click()
    page.wait_for_url(f"{archive}/")
    shown.append(visit.text)
    pictures.append(page.screenshot())
    colours.add(colour_of_header(page))
    assert small_targets(page) == []
    assert len(colours) == 2

    for text, name, kind, url in (
        (shown[0], "The front desk", "ASGI app under uvicorn", desk),
        (shown[1], "The archive", "WSGI app under waitress", archive),
    ):
        assert text.startswith(f"{name}\n")
        assert f"{kind} at {url}" in text
        assert "Hello, Grace." in text
        assert "What just happened" in text
    assert "front desk: Grace signed in" in shown[0]
    assert re.search(r"front desk: a link for Grace: \S+ott=.{4}\.\.\.", shown[1])
    assert "backend: the token is taken, and gone" in shown[1]

    if os.environ.get("OTT_TEST_PICTURE"):
        take_picture(visit, pictures)
    data = PICTURE.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (2 * WIDTH + 48, HEIGHT + 32)
    assert len(data) < 120_000


def take_picture(visit: Any, pictures: list[bytes]) -> None:
    """Put both pages side by side."""
    images = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(data).decode()}">' for data in pictures
    )
    page = visit.context.new_page()
    page.set_viewport_size({"width": 2 * WIDTH + 48, "height": HEIGHT + 32})
    page.set_content(
        "<style>body{margin:16px;display:flex;gap:16px;background:#d8d8d8}</style>" + images
    )
    PICTURE.parent.mkdir(exist_ok=True)
    page.screenshot(path=str(PICTURE))
    page.close()


def test_second_use_is_refused_and_leads_back(visit: Any, demo: Any) -> None:  # noqa: F811
    desk, archive, _ = demo
    page = visit.page
    sign_in(visit, desk)
    page.get_by_role("link", name="Go to the archive").click()
    page.wait_for_url(f"{archive}/")
    page.get_by_role("button", name="Use the link a second time").click()
    page.get_by_role("heading", name="This link no longer works").wait_for()
    assert visit.answers[-1][1] == 400
    page.get_by_role("link").click()
    page.wait_for_url(f"{archive}/")
    assert "Hello, guest." in visit.text
    assert "backend: no such token: used or expired" in visit.text
    page.get_by_role("link", name="Back to the front desk").click()
    page.wait_for_url(f"{desk}/")
    assert "Hello, Grace." in visit.text
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Your name").wait_for()
    assert visit.complaints == []


def test_pages_fit_a_phone(stranger: Any, demo: Any) -> None:  # noqa: F811
    desk, archive, _ = demo
    page = stranger.page
    for url in (desk, archive):
        page.goto(url)
        assert not is_too_wide(page)
        assert small_targets(page) == []
    sign_in(stranger, desk)
    assert not is_too_wide(page)
    page.get_by_role("link", name="Go to the archive").click()
    page.wait_for_url(f"{archive}/")
    assert not is_too_wide(page)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_text("Hello, guest.").wait_for()
    assert stranger.complaints == []
