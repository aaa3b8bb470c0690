"""The front end of the page "A front end on another origin", as a browser runs it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT, blocks
from running import free_port, running

pytestmark = pytest.mark.browser

PAGE = ROOT / "docs" / "front_end.md"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The files of the page, and its two servers under the commands of the page."""
    ports = {":8000": f":{free_port()}", ":3000": f":{free_port()}"}

    def moved(text: str) -> str:
        return re.sub(":8000|:3000", lambda match: ports[match[0]], text)

    api, script = blocks(PAGE, "py")
    (index,) = blocks(PAGE, "html")
    for name, block in ("api.py", api), ("make_link.py", script), ("index.html", index):
        assert f"`{name}`" in PAGE.read_text()
        (tmp_path / name).write_text(moved(block.text))
    with contextlib.ExitStack() as stack:
        for command, port in (
            ("uvicorn api:app --host localhost --port 8000", ports[":8000"]),
            ("http.server 3000 --bind localhost", ports[":3000"]),
        ):
            assert command in PAGE.read_text()
            arguments = re.sub("8000|3000", port[1:], command).split()
            name = arguments[0]
            log = tmp_path / f"{name}.log"
            server = running(
                name, arguments, log, port=int(port[1:]), path=tmp_path, host="localhost"
            )
            stack.enter_context(server)
        yield tmp_path


def test_page_is_signed_in_at_the_api(visit: Any, folder: Path) -> None:
    page = visit.page
    done = subprocess.run(
        [sys.executable, "make_link.py"], cwd=folder, capture_output=True, text=True, check=True
    )
    link = done.stdout.strip()
    front = link.partition("#")[0]
    page.goto(front)
    page.get_by_text("Hello guest").wait_for()
    page.goto("about:blank")
    page.goto(link)
    page.get_by_text("Hello ada").wait_for()
    assert page.url == front
    page.reload()
    page.get_by_text("Hello ada").wait_for()
    assert visit.complaints == []
