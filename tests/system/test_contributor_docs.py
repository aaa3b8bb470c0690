"""The pages for contributors name what is in the repository."""

from __future__ import annotations

import inspect
import re

import pytest
from documents import ROOT

import ott_middleware

PAGES = ("architecture.md", "contributing.md")
NAMED = re.compile(r"`((?:ott_middleware|tests|docs|\.ci|\.github)/[\w./-]*)`")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page: str) -> None:
    named = NAMED.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert len(named) >= 8
    assert [path for path in named if not (ROOT / path).exists()] == []


def documented_classes() -> list[str]:
    pages = "".join((ROOT / "docs" / page).read_text() for page in ("api.md", "options.md"))
    names = re.findall(r"^\.\. autoclass:: (?:ott_middleware\.)?(\w+)$", pages, flags=re.M)
    assert {"DjangoSession", "FlaskSession", "StarletteSession", "SQLAlchemyBackend"} <= set(names)
    return names


@pytest.mark.parametrize("name", documented_classes())
def test_signature_of_a_documented_class_is_a_real_one(name: str) -> None:
    parameters = inspect.signature(getattr(ott_middleware, name)).parameters
    # The stand-in of a class whose library is missing takes `*_` and `**__`.
    assert not {"_", "__"} & set(parameters)
