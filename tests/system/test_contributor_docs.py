"""The pages for contributors name what is in the repository."""

from __future__ import annotations

import re

import pytest
from documents import ROOT

PAGES = ("architecture.md", "contributing.md")
NAMED = re.compile(r"`((?:ott_middleware|tests|docs|\.ci|\.github)/[\w./-]*)`")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page: str) -> None:
    named = NAMED.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert len(named) >= 8
    assert [path for path in named if not (ROOT / path).exists()] == []
