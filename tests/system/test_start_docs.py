"""The pages of the part "Start": their sites are run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT, ask, blocks
from harness import NAVIGATION
from visitor import Visitor, of_asgi

DOCS = ROOT / "docs"
SHOP, ARCHIVE = "http://localhost:8000", "http://127.0.0.1:8001"


@pytest.fixture
def tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The two files of the tutorial: the origin of each site, and its app."""
    monkeypatch.chdir(tmp_path)
    apps = []
    for block in blocks(DOCS / "quickstart.md", "python"):
        names: dict[str, Any] = {"__name__": "tutorial"}
        # Without postponed annotations, which FastAPI could not resolve in this namespace.
        exec(compile(block.text, "quickstart.md", "exec", dont_inherit=True), names)
        apps.append(names["app"])
    return dict(zip((SHOP, ARCHIVE), apps, strict=True))


class TestTutorial:
    def test_user_of_the_shop_is_signed_in_at_the_archive(self, tutorial: dict[str, Any]) -> None:
        sites = {origin: of_asgi(app) for origin, app in tutorial.items()}
        visitor = Visitor(sites)
        assert b"Hello guest." in visitor.get(f"{ARCHIVE}/welcome").body
        assert visitor.get(f"{SHOP}/go").location == "/"
        visitor.press(f"{SHOP}/", "/sign-in")
        link = visitor.get(f"{SHOP}/go").location or ""
        assert link.startswith(f"{ARCHIVE}/welcome?ott=")
        assert "Hello Ada." in visitor.read(link)
        used = Visitor(sites).get(link)
        assert used.status == 400
        assert b"This link no longer works" in used.body

    def test_redirect_is_the_one_that_the_page_shows(self, tutorial: dict[str, Any]) -> None:
        visitor = Visitor({SHOP: of_asgi(tutorial[SHOP])})
        visitor.press(f"{SHOP}/", "/sign-in")
        target = (visitor.get(f"{SHOP}/go").location or "").removeprefix(ARCHIVE)
        host = {"host": "127.0.0.1:8001"}
        opened = ask(tutorial[ARCHIVE], "GET", target, NAVIGATION, **host)
        assert (opened.status, dict(opened.headers)["location"]) == (303, "./welcome")
        assert "sends a 303 to `./welcome`" in (DOCS / "quickstart.md").read_text()

    def test_extras_are_those_that_exist(self) -> None:
        project = (ROOT / "pyproject.toml").read_text()
        for extra in re.findall(r"^\| `\[(\w+)\]` \|", (DOCS / "quickstart.md").read_text(), re.M):
            assert re.search(rf"^{extra} = \[", project, re.M)
