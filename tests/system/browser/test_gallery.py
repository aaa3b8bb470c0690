"""The pictures of the gallery of examples: two sites, before and after the link.

With `OTT_TEST_PICTURE=1`, `pytest -n 0 -m browser -k gallery tests/system/browser` takes them anew.
The texts in them are compared with the examples' pages where the examples are tested.
"""

from __future__ import annotations

import base64
import os
import re
import struct
from pathlib import Path
from typing import Any

import gallery
import pytest
from documents import ROOT
from running import free_port, running

pytestmark = pytest.mark.browser

EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
PAIRS = re.findall(r"examples/pair\.py (\w+)", PAGE)
TAKEN = PAIRS if os.environ.get("OTT_TEST_PICTURE") else ["flask_app"]
FRAME = """<style>body{margin:16px;display:flex;gap:16px;background:#d8dce2;font:14px sans-serif}
img{display:block}div{width:336px}p{margin:0;padding:5px 8px;background:#eef0f3;overflow:hidden}
</style>"""


class TestGallery:
    @pytest.mark.parametrize("name", TAKEN)
    def test_pair_hands_over(self, name: str, visit: Any, tmp_path: Path) -> None:
        ports = (8001, 8002) if len(TAKEN) > 1 else (free_port(), free_port())
        command = ["pair", name, "--ports", *map(str, ports)]
        with running(name, command, tmp_path / "log", port=ports[1], path=EXAMPLES):
            here, there = f"http://localhost:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
            page = visit.page
            page.set_viewport_size({"width": 336, "height": 160})
            page.goto(f"{here}/login" if name == "basic_wsgi" else here)
            page.locator("input[name=name]").fill("ada" if name == "basic_wsgi" else "Ada")
            page.get_by_role("button").click()
            page.wait_for_load_state()
            before = page.url, page.screenshot()
            page.goto(f"{here}/elsewhere")
            assert page.url == f"{there}/"
            if name != "basic_wsgi":
                assert gallery.words_of(visit.text).startswith(("Hello,Ada.", "Flask", "FastAPI"))
            if len(TAKEN) > 1:
                take(visit, name, [before, (page.url, page.screenshot())])

    @pytest.mark.parametrize("name", PAIRS)
    def test_picture_has_its_size(self, name: str) -> None:
        data = gallery.picture(name).read_bytes()
        assert struct.unpack(">II", data[16:24]) == gallery.SIZE
        assert len(data) < 30_000


def take(visit: Any, name: str, shots: list[tuple[str, bytes]]) -> None:
    """Put both pages side by side, each below its address, and their text into the file."""
    text = gallery.words_of(visit.text)
    sources = [f"data:image/png;base64,{base64.b64encode(data).decode()}" for _, data in shots]
    parts = "".join(
        f'<div><p>{url}</p><img src="{source}"></div>'
        for (url, _), source in zip(shots, sources, strict=True)
    )
    frame = visit.context.new_page()
    frame.set_viewport_size(dict(zip(("width", "height"), gallery.SIZE, strict=True)))
    frame.set_content(FRAME + parts)
    gallery.picture(name).write_bytes(gallery.with_text(frame.screenshot(), text))
    frame.close()
