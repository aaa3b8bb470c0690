"""What stands around the text of the documentation: copy buttons, tabs, ways on, pictures, a card.

With `OTT_TEST_PICTURE=1`, `pytest -n 0 -m browser -k card tests/system/browser` draws the card.
"""

from __future__ import annotations

import base64
import os
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from docs_build import DOCS, PAGES

pytestmark = pytest.mark.browser

CARD = DOCS / "_static" / "card.png"
CARD_SIZE = (1200, 630)
CARD_PAGE = """<style>
body{margin:0;height:630px;display:flex;gap:40px;align-items:center;padding:0 48px}
body{box-sizing:border-box}
body{background:#fff;color:#1f2328;font:34px/1.35 sans-serif}
h1{margin:0 0 16px;font-size:52px}
p{margin:0}img{width:600px;border-radius:10px}
</style><div><h1>ott_middleware</h1><p>A link that signs a user in at your other site, once. For any
ASGI or WSGI app.</p></div>"""


class TestCard:
    def test_each_page_has_one(self, docs_html: Path) -> None:
        for name in PAGES[:-2]:
            text = (docs_html / f"{name}.html").read_text(encoding="utf-8")
            tags = dict(re.findall(r'<meta property="og:([\w:]+)" content="([^"]+)"', text))
            assert {"title", "description", "image", "image:alt", "site_name"} <= tags.keys(), name
            assert tags["image"].endswith("_static/card.png")
            assert tags["image:alt"].startswith("ott_middleware: ")

    def test_picture_of_the_card(self, visit: Any) -> None:
        if os.environ.get("OTT_TEST_PICTURE"):
            page = visit.page
            page.set_viewport_size(dict(zip(("width", "height"), CARD_SIZE, strict=True)))
            picture = base64.b64encode((DOCS / "images" / "handoff.png").read_bytes()).decode()
            page.set_content(f'{CARD_PAGE}<img src="data:image/png;base64,{picture}">')
            page.screenshot(path=str(CARD))
        data = CARD.read_bytes()
        assert struct.unpack(">II", data[16:24]) == CARD_SIZE
        assert len(data) < 120_000


class TestFurniture:
    def test_command_is_copied_without_its_prompt(self, visit: Any, docs_site: str) -> None:
        visit.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=docs_site)
        page = visit.page
        page.goto(f"{docs_site}/gallery.html")
        block = page.locator("div.highlight", has_text="pair.py flask_app").first
        block.hover()
        block.locator("button.copybtn").click()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert (
            copied.strip() == "pip install -q . flask waitress && python examples/pair.py flask_app"
        )

    def test_each_page_leads_on(self, visit: Any, docs_site: str) -> None:
        page = visit.page
        page.goto(f"{docs_site}/quickstart.html")
        assert page.locator(".related-pages a.next-page").count() == 1
        page.locator(".related-pages a.prev-page").click()
        page.wait_for_url(f"{docs_site}/what.html")

    def test_tabs_of_one_name_change_together(self, visit: Any, docs_site: str) -> None:
        page = visit.page
        page.goto(f"{docs_site}/two_sites.html")
        labels = page.locator("label.tab-label", has_text="Flask")
        assert labels.count() >= 2
        labels.first.click()
        chosen = "labels => labels.every(l => document.getElementById(l.htmlFor).checked)"
        assert labels.evaluate_all(chosen)

    def test_pictures_take_the_theme_of_the_page(self, visit: Any, docs_site: str) -> None:
        page = visit.page
        page.goto(f"{docs_site}/concepts.html")
        picture = page.locator('img[src$="push.svg"]')
        shots = {}
        for theme in ("light", "dark"):
            page.evaluate("theme => { document.body.dataset.theme = theme }", theme)
            shots[theme] = picture.screenshot()
        # The browser itself prefers light.
        assert shots["light"] != shots["dark"]
        page.evaluate("document.body.dataset.theme = 'auto'")
        assert picture.screenshot() == shots["light"]
