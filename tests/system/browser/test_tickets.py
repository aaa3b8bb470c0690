"""The page of the recipe for API clients: a JWT in a script, a ticket, a socket."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gallery
import pytest
from running import free_port, running

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_page_opens_a_socket_by_a_ticket(visit: Any, tmp_path: Path) -> None:
    port = free_port()
    with running(
        "fastapi_tickets",
        ["fastapi_tickets", "--port", "{port}"],
        tmp_path / "log",
        port=port,
        path=EXAMPLES,
        variables={"OTT_ORIGIN": f"http://127.0.0.1:{port}"},
    ) as server:
        visit.page.goto(server.origin)
        visit.page.get_by_role("button", name="Connect").click()
        visit.page.get_by_text("Ada: hello").wait_for()
        visit.page.get_by_role("button", name="Connect").click()
        visit.page.get_by_text("Ada: hello\nAda: hello").wait_for()
        if os.environ.get("OTT_TEST_PICTURE"):
            visit.page.set_viewport_size({"width": 360, "height": 210})
            visit.page.screenshot(path=str(gallery.picture("fastapi_tickets")))
        assert gallery.picture("fastapi_tickets").stat().st_size < 30_000
        assert visit.complaints == []
        assert visit.context.cookies() == []
        assert "ott." not in server.log.read_text()
