"""The tutorial as a browser sees it: its files, its servers, its pictures.

With `OTT_TEST_PICTURE=1`, `pytest -n 0 -m browser -k picture tests/system/browser` takes them anew.
"""

from __future__ import annotations

import base64
import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT, blocks
from running import free_port, running

pytestmark = pytest.mark.browser

PAGE = ROOT / "docs" / "quickstart.md"
PICTURES = ROOT / "docs" / "images"
# The height of each in pixels.
HEIGHTS = {"1-sign-in": 150, "2-signed-in": 150, "3-handed-over": 150, "4-used": 290}
WIDTH = 560
BAR = 40  # pixels of the address bar, which a screenshot of a page lacks


@pytest.fixture
def tutorial(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The shop and the archive, under the command of the page."""
    # The pictures show the ports that a reader sees.
    ports = (8000, 8001) if os.environ.get("OTT_TEST_PICTURE") else (free_port(), free_port())
    for name, block in zip(("shop", "archive"), blocks(PAGE, "python"), strict=True):
        text = block.text.replace(":8000", f":{ports[0]}").replace(":8001", f":{ports[1]}")
        (tmp_path / f"{name}.py").write_text(text)
    with contextlib.ExitStack() as stack:
        for name, host, port in zip(
            ("shop", "archive"), ("localhost", "127.0.0.1"), ports, strict=True
        ):
            command = f"uvicorn {name}:app --host {host} --port"
            assert command in PAGE.read_text()
            arguments = [*command.split(), str(port)]
            log = tmp_path / f"{name}.log"
            stack.enter_context(running(name, arguments, log, port=port, path=tmp_path, host=host))
        yield f"http://localhost:{ports[0]}", f"http://127.0.0.1:{ports[1]}"


def test_tutorial_that_the_pictures_show(visit: Any, tutorial: Any) -> None:
    shop, archive = tutorial
    page = visit.page
    page.goto(f"{archive}/welcome")
    assert visit.text == "Archive\n\nHello guest."
    page.goto(shop)
    keep(visit, "1-sign-in")
    page.get_by_role("button", name="Sign in as Ada").click()
    page.get_by_role("link", name="Go to the archive").wait_for()
    keep(visit, "2-signed-in")
    page.get_by_role("link", name="Go to the archive").click()
    page.wait_for_url(f"{archive}/welcome")
    assert visit.text == "Archive\n\nHello Ada."
    keep(visit, "3-handed-over")
    another = type(visit)(visit.context.browser.new_context())
    another.page.goto(visit.link())
    another.page.get_by_role("heading", name="This link no longer works").wait_for()
    keep(another, "4-used", shown=f"{archive}/welcome?ott=…")
    another.context.close()
    assert visit.complaints == []
    for name, height in HEIGHTS.items():
        data = (PICTURES / f"quickstart-{name}.png").read_bytes()
        assert struct.unpack(">II", data[16:24]) == (WIDTH, height + BAR)
        assert f"images/quickstart-{name}.png" in PAGE.read_text()
        assert len(data) < 30_000


def keep(visit: Any, name: str, *, shown: str = "") -> None:
    """Take the picture of a page, below its address.

    :param shown: the address to write, where the real one holds a token.
    """
    if not os.environ.get("OTT_TEST_PICTURE"):
        return
    page = visit.page
    before = page.viewport_size
    page.set_viewport_size({"width": WIDTH, "height": HEIGHTS[name]})
    image = base64.b64encode(page.screenshot()).decode()
    address = shown or page.url
    page.set_viewport_size(before)
    frame = visit.context.new_page()
    frame.set_viewport_size({"width": WIDTH, "height": HEIGHTS[name] + BAR})
    frame.set_content(
        "<style>body{margin:0;background:#d8dce2;font:14px sans-serif}img{display:block}"
        "p{box-sizing:border-box;margin:0;height:40px;padding:6px 8px}"
        "span{display:block;background:#fff;border-radius:14px;padding:6px 14px;line-height:16px}"
        f'</style><p><span>{address}</span></p><img src="data:image/png;base64,{image}">'
    )
    frame.screenshot(path=str(PICTURES / f"quickstart-{name}.png"))
    frame.close()
