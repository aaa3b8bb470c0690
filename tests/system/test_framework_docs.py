"""The pages of the frameworks: the tests that they show pass, and their apps do what they say."""

from __future__ import annotations

import re
import sys
import types
from typing import Any

import pytest
from documents import ROOT, blocks, run, run_block
from visitor import Visitor, of_wsgi

DOCS = ROOT / "docs"
TESTED = {"flask.md": 1, "fastapi.md": 1, "testing.md": 3}
SITE = "http://127.0.0.1:8001"


# Of newer Starlettes, which would rather have the successor of httpx.
@pytest.mark.filterwarnings("ignore:Using `httpx` with")
@pytest.mark.parametrize("page", TESTED)
def test_tests_of_the_page_pass(page: str) -> None:
    names = run(DOCS / page)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == TESTED[page]
    for test in tests:
        test()


class TestLegacyApp:
    @pytest.fixture
    def page(self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """The page's code, in front of the page's old app."""
        (settings,) = re.findall(r"(?:^export .*\n)+", (DOCS / "legacy_app.md").read_text(), re.M)
        for name, value in re.findall(r'export (\w+)="(.*)"', settings):
            monkeypatch.setenv(name, value.replace("/tmp", str(tmp_path)))
        front, script, sign_out, old = blocks(DOCS / "legacy_app.md", "python")
        module = types.ModuleType("old_app")
        run_block(old, vars(module))
        monkeypatch.setitem(sys.modules, "old_app", module)
        names: dict[str, Any] = {"script": script}
        run_block(front, names)
        run_block(sign_out, names)
        return names

    def link(self, page: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
        run_block(page["script"], {})
        return capsys.readouterr().out.strip()

    def test_link_signs_in_until_sign_out(
        self, page: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        visitor = Visitor({SITE: of_wsgi(page["application"])})
        assert visitor.get(f"{SITE}/", remote_user="eve").body == b"Hello guest"
        link = self.link(page, capsys)
        assert visitor.read(link) == "Hello ada"
        assert Visitor({SITE: of_wsgi(page["application"])}).get(link).status == 400
        visitor.get(f"{SITE}/logout", sec_fetch_site="same-origin")
        assert visitor.get(f"{SITE}/").body == b"Hello guest"

    def test_sign_out_of_an_app_without_one(
        self, page: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        from ott_middleware import OTTMiddleware

        options = page["application"].flow.options
        app = OTTMiddleware(
            page["with_sign_out"](page["old_app"]),
            session=options.adapter,
            backend="sqlite:///" + page["os"].environ["OTT_BACKEND"].removeprefix("sqlite:///"),
            secret=page["os"].environ["OTT_SECRET"],
            store_token="hashed",
            public_origin=SITE,
        )
        visitor = Visitor({SITE: of_wsgi(app)})
        assert visitor.read(self.link(page, capsys)) == "Hello ada"
        out = visitor.ask("POST", f"{SITE}/sign-out", origin=SITE)
        assert (out.status, out.location) == (303, "/")
        assert visitor.get(f"{SITE}/").body == b"Hello guest"
