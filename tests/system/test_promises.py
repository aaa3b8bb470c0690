"""What README and the docs promise stands on its page, and names the test that holds it."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import pytest
from documents import ROOT
from test_threats import has_test

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest itself needs it there

# The pages that say most about what is safe.
PAGES = {
    "README.md",
    *(f"docs/{name}.md" for name in ("security", "http", "pull_handoff", "websockets")),
    *(f"docs/{name}.md" for name in ("mail_links", "logs", "events", "how_it_decides")),
}


@dataclass(frozen=True)
class Promise:
    page: str
    says: str
    test: str


def promises() -> list[Promise]:
    listed = tomllib.loads((ROOT / "tests" / "promises.toml").read_text(encoding="utf-8"))
    return [Promise(**each) for each in listed["promise"]]


def words(text: str) -> str:
    return " ".join(text.split())


@lru_cache
def text_of(page: str) -> str:
    return words((ROOT / page).read_text(encoding="utf-8"))


class TestPromises:
    @pytest.mark.parametrize("promise", promises(), ids=lambda promise: promise.test)
    def test_stands_on_its_page_and_is_held(self, promise: Promise) -> None:
        assert promise.says in text_of(promise.page)
        assert has_test(promise.test)

    def test_list_is_long_and_says_nothing_twice(self) -> None:
        listed = promises()
        assert len(listed) >= 100
        assert {promise.page for promise in listed} >= PAGES
        said = Counter((promise.page, promise.says) for promise in listed)
        assert max(said.values()) == 1
