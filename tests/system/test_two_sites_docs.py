"""The recipe of two sites: each source of the page hands its user over to each target."""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from documents import ROOT
from recipe_sites import KINDS, TABS, recipes
from visitor import Send, Visitor, over_connection

sys.path.insert(0, str(Path(__file__).parent / "servers"))

from running import free_port, running

PAGE = ROOT / "docs" / "two_sites.md"
SOURCE, TARGET = "http://localhost:8000", "http://127.0.0.1:8001"
SIDES = ("source", "target")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the sites run."""
    return tmp_path_factory.mktemp("sites")


@pytest.fixture(scope="module")
def ports(folder: Path) -> Iterator[dict[tuple[str, str], int]]:
    """Where the sites listen: all of them share the store and the secret of the page."""
    variables = {
        "OTT_BACKEND": f"sqlite:///{folder}/tokens.db",
        "OTT_SECRET": "change me: at least 16 bytes, the same on both sites",
        "RECIPE_PAGE": str(PAGE),
    }
    found: dict[tuple[str, str], int] = {}
    with contextlib.ExitStack() as stack:
        for side in SIDES:
            (folder / side).mkdir()
            found |= {(side, kind): free_port() for kind in KINDS}
            places = [str(found[side, kind]) for kind in KINDS]
            arguments = ["recipe_sites", side, str(folder / side), *places]
            stack.enter_context(
                running(
                    side,
                    arguments,
                    folder / f"{side}.log",
                    port=int(places[-1]),
                    path=Path(__file__).parent,
                    variables=variables,
                )
            )
        yield found


@pytest.fixture
def visit(ports: dict[tuple[str, str], int]) -> Callable[[str, str], Visitor]:
    def at(source: str, target: str) -> Visitor:
        """A browser for which the page's two origins are these two sites."""
        sites = {
            SOURCE: served_at(ports["source", source]),
            TARGET: served_at(ports["target", target]),
        }
        return Visitor(sites)

    return at


def served_at(port: int) -> Send:
    return over_connection(f"http://127.0.0.1:{port}")


def sign_in(visitor: Visitor, kind: str) -> None:
    if kind.startswith("django"):
        visitor.submit(f"{SOURCE}/admin/login/", username="ada", password="sesame")
    else:
        visitor.press(f"{SOURCE}/", "/sign-in")


def test_tabs_are_all_there() -> None:
    tabs = [(recipe.section, recipe.tab) for recipe in recipes(PAGE) if recipe.tab]
    sections = ["The source site", "The target site"]
    assert set(tabs) == set(itertools.product(sections, TABS))
    assert {kind.partition("-")[0] for kind in KINDS} == set(TABS.values())


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_source_hands_its_user_over(
    visit: Callable[[str, str], Visitor], source: str, target: str
) -> None:
    visitor = visit(source, target)
    assert visitor.get(f"{TARGET}/welcome").body == b"Hello guest"
    # Without a session there is no link.
    assert "ott=" not in (visitor.get(f"{SOURCE}/go").location or "")
    sign_in(visitor, source)
    link = visitor.get(f"{SOURCE}/go").location
    assert link is not None
    assert link.startswith(f"{TARGET}/welcome?ott=")
    assert visitor.read(link) == "Hello ada"
    assert visit(source, target).get(link).status == 400


def test_link_of_the_mail_needs_a_button(
    visit: Callable[[str, str], Visitor], folder: Path
) -> None:
    visitor = visit("fastapi", "django-wsgi")
    sign_in(visitor, "fastapi")
    assert b"look into your mailbox" in visitor.get(f"{SOURCE}/mail").body
    link = (folder / "mail.txt").read_text().split()[-1]
    assert "?ott=confirm." in link
    reader = visit("fastapi", "django-wsgi")
    assert reader.get(link).status == 200
    assert reader.get(f"{TARGET}/welcome").body == b"Hello guest"
    assert reader.submit(link).status == 303
    assert reader.get(f"{TARGET}/welcome").body == b"Hello ada"


class TestPairs:
    def test_table_says_what_the_tabs_say(self) -> None:
        rows = re.findall(
            r"^\| (\w+) \| (\w+) \| `(.+)` \| `(.+)` \|$", PAGE.read_text(), flags=re.M
        )
        names = {"Django": "Django", "Flask": "Flask", "FastAPI": "FastAPI, Starlette"}
        assert [row[:2] for row in rows] == list(itertools.product(names, repeat=2))
        for source, target, sends, finds in rows:
            assert f"session={sends}," in code_of("The source site", names[source])
            assert f"session={finds}," in code_of("The target site", names[target])


def code_of(section: str, tab: str) -> str:
    found = [each.code for each in recipes(PAGE) if (each.section, each.tab) == (section, tab)]
    return "\n".join(found)
