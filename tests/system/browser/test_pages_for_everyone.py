"""The built-in pages pass axe, in light and dark, and read the same without their style sheet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import axe
import pytest
from harness import NAVIGATION, ORIGIN, SECRET, Answer, World, person

pytestmark = pytest.mark.browser

B = "https://b.example"
TO = f"/one-time-token/generate?to={quote(f'{B}/welcome', '')}"
BOB = {"cookie": "sid=bob-cookie"}


@pytest.fixture(scope="module", name="axe_script")
def _axe_script(tmp_path_factory: pytest.TempPathFactory) -> str:
    return axe.script(tmp_path_factory.mktemp("axe"))


@pytest.fixture(name="page")
def _page(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 360, "height": 640})
    yield context.new_page()
    context.close()


def pages(language: str) -> dict[str, Answer]:
    """Each page that a visitor may see for longer than a moment."""
    world = World("wsgi")
    options: dict[str, Any] = {"public_origin": ORIGIN, "secret": SECRET, "site_name": "Archive"}
    headers = {"accept-language": language}
    site = world.serve(login_url="/login", **options)
    source = world.serve(handoff_targets=[B], **options)
    target = world.serve(issuer="https://a.example", **options)
    limited = world.serve(rate_limit="1/minute", **options)
    limited.verify("x" * 32)
    unseen = {"accept": NAVIGATION["accept"], **headers}
    cross = {"sec-fetch-site": "cross-site", "cookie": "sid=alice-cookie"}
    return {
        "used": site.open(f"/page?a=1&ott={'x' * 32}", headers),
        "confirm": site.open(f"/page?ott=confirm.{'x' * 32}", headers),
        "switch": site.open(f"/page?ott={site.token(person('alice'))}", {**headers, **BOB}),
        "cookies_blocked": site.get(f"/page?ott={'x' * 32}&ott_seen={'N' * 32}", unseen),
        "continue_to": source.open(TO, {**headers, **cross}),
        "not_signed_in": source.open(TO, headers),
        "refused": source.open(TO.replace("b.example", "c.example"), {**headers, **cross}),
        "handoff_failed": target.open("/one-time-token/return", headers),
        "too_many": limited.open(f"/page?ott={'x' * 32}", headers),
    }


@pytest.mark.parametrize("language", ["en", "de", "ja"])
def test_page_has_no_fault(page: Any, axe_script: str, language: str) -> None:
    for name, answer in pages(language).items():
        html = answer.body.decode()
        assert f'<html lang="{language}"' in html, name
        # The policy of the response would stop the script of axe.
        page.set_content(html)
        page.evaluate(axe_script)
        assert axe.violations(page) == [], name
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert axe.bad_looks(page) == [], f"{name}, {scheme}"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        styled = page.locator("body").inner_text()
        page.set_content(re.sub("<style>.*?</style>", "", html))
        assert page.get_by_role("heading", level=1).count() == 1
        assert page.locator("a, button").first.is_visible(), name
        assert page.locator("body").inner_text().split() == styled.split(), name
