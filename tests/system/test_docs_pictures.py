"""The drawn pictures of the documentation: committed as they are drawn, readable, true."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from xml.etree import ElementTree

import pytest
from documents import DOCUMENTS, ROOT

IMAGES = ROOT / "docs" / "images"
NAMES = ["decision", "layers", "pull", "push", "threats"]


@pytest.fixture(scope="module")
def pictures() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "docs"))
    yield importlib.import_module("pictures")
    sys.path.remove(str(ROOT / "docs"))


@pytest.fixture(scope="module")
def drawing(pictures: ModuleType) -> ModuleType:
    return sys.modules["drawing"]


def brightness(colour: str) -> float:
    """Return the relative luminance of WCAG."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((brightness(one), brightness(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


class TestPictures:
    def test_are_what_the_script_draws(self, pictures: ModuleType) -> None:
        assert sorted(pictures.PICTURES) == NAMES == sorted(p.stem for p in IMAGES.glob("*.svg"))
        for name, draw in pictures.PICTURES.items():
            committed = (IMAGES / f"{name}.svg").read_text(encoding="utf-8")
            assert committed == draw(), f"{name}: run `python docs/pictures.py`"

    @pytest.mark.parametrize("name", NAMES)
    def test_have_a_text_alternative_and_fetch_nothing(self, name: str) -> None:
        text = (IMAGES / f"{name}.svg").read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)
        title, said = (
            root.findtext(f"{{http://www.w3.org/2000/svg}}{tag}") for tag in ("title", "desc")
        )
        assert title
        assert len(said or "") > 200
        assert re.findall(r"(?:href|src|url\()", text) == []

    @pytest.mark.parametrize("name", NAMES)
    def test_are_in_a_page_with_their_text(self, name: str) -> None:
        found = [
            alternative
            for path in DOCUMENTS
            for alternative in re.findall(
                rf"!\[([^\]]+)\]\((?:docs/)?images/{name}\.svg\)", path.read_text(encoding="utf-8")
            )
        ]
        assert found
        assert all(len(alternative) > 60 for alternative in found)

    def test_colours_have_contrast(self, drawing: ModuleType) -> None:
        for palette in (drawing.LIGHT, drawing.DARK):
            for text in drawing.TEXTS:
                for fill in drawing.FILLS:
                    assert contrast(palette[text], palette[fill]) >= 4.5, (text, fill)

    def test_layers_are_in_the_order_of_the_import_test(self, pictures: ModuleType) -> None:
        source = (ROOT / "tests" / "unit" / "test_imports.py").read_text(encoding="utf-8")
        body = source.partition("LAYERS = (")[2].partition("\n)")[0]
        order = re.findall(r'"(\w+)"', body)
        rows = [[order.index(name) for name, _ in row] for _, row in pictures.ROWS]
        for upper, lower in itertools.pairwise(rows):
            assert min(upper) > max(lower)
