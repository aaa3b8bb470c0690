"""Links of the built documentation: inside it each leads somewhere, outside each is well formed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

pytestmark = pytest.mark.browser

# Hosts that no page of ours should send a reader to: made up for examples.
RESERVED = re.compile(r"(^|\.)(example|test|invalid|localhost|internal)$|^(127\.|192\.168\.|10\.)")


@dataclass
class Page:
    """What a page links to, and how often it has each anchor."""

    links: set[str] = field(default_factory=set)
    anchors: Counter[str] = field(default_factory=Counter)


def read(path: Path) -> Page:
    page = Page()
    text = re.sub(r"<script\b[^>]*>.*?</script>", "", path.read_text(encoding="utf-8"), flags=re.S)
    # Sphinx writes double quotes around values, and no `<` or `>` between them.
    for tag in re.findall(r"<[a-z][^<>]*>", text):
        for name, value in re.findall(r'\s(id|href|src)="([^"]*)"', tag):
            if name == "id":
                page.anchors[unescape(value)] += 1
            else:
                page.links.add(unescape(value))
    return page


@pytest.fixture(scope="module")
def pages(docs_html: Path) -> dict[Path, Page]:
    found = {path: read(path) for path in docs_html.glob("*.html")}
    assert len(found) > 20
    return found


def links(pages: dict[Path, Page]) -> Iterator[tuple[Path, str]]:
    return ((path, link) for path, page in pages.items() for link in page.links)


def broken(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    target, anchor = urldefrag(link)
    file = path if not target else path.parent / unquote(urlsplit(target).path)
    page = pages.get(file)
    if page is None:
        return bool(anchor) or not file.is_file()
    # `#` alone is the top of the page.
    return bool(anchor) and unquote(anchor) not in page.anchors


def is_external(link: str) -> bool:
    return bool(urlsplit(link).scheme) or link.startswith("//")


class TestInternalLinks:
    def test_lead_to_a_file_and_an_anchor_of_it(self, pages: dict[Path, Page]) -> None:
        inside = [(path, link) for path, link in links(pages) if not is_external(link)]
        assert len(inside) > 1000
        wrong = [f"{path.name}: {link}" for path, link in inside if broken(path, link, pages)]
        assert wrong == []

    def test_broken_one_is_noticed(self, pages: dict[Path, Page]) -> None:
        index = next(path for path in pages if path.name == "index.html")
        names = ("nothing.html", "#nothing", "security.html#nothing", "security.html")
        assert [broken(index, name, pages) for name in names] == [True, True, True, False]

    def test_ids_are_unique(self, pages: dict[Path, Page]) -> None:
        for path, page in pages.items():
            twice = [anchor for anchor, times in page.anchors.items() if times > 1]
            assert twice == [], path.name


class TestExternalLinks:
    def test_are_https_to_hosts_that_exist(self, pages: dict[Path, Page]) -> None:
        for path, link in links(pages):
            if not is_external(link):
                continue
            parts = urlsplit(link)
            where = f"{path.name}: {link}"
            assert parts.scheme in ("https", "data"), where
            if parts.scheme == "https":
                assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc), where
                assert not RESERVED.search(parts.netloc), where
                assert not re.search(r"[\s<>\"`]", link), where
