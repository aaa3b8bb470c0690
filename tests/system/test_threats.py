"""The table of threats: each row names a test, and README promises nothing beyond the page."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
from documents import ROOT, prose

PAGE = ROOT / "docs" / "security.md"
TESTS = ROOT / "tests"
COLUMNS = ["Attacker", "Attack", "Defence", "Test"]


@dataclass(frozen=True)
class Threat:
    attacker: str
    attack: str
    defence: str
    test: str


def section(document: Path, heading: str) -> str:
    """The text below a heading, up to the next heading of the same level or a higher one."""
    text = prose(document)
    level = re.search(rf"^(#+) {re.escape(heading)}$", text, flags=re.M)
    assert level, heading
    rest = text[level.end() :]
    end = re.search(rf"^#{{1,{len(level[1])}}} ", rest, flags=re.M)
    return rest[: end.start()] if end else rest


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def table() -> list[list[str]]:
    lines = re.findall(r"^\|.*\|$", section(PAGE, "Held off"), flags=re.M)
    assert cells(lines[0]) == COLUMNS
    assert set(lines[1]) == {"|", "-"}
    return [cells(line) for line in lines[2:]]


def threats() -> list[Threat]:
    return [Threat(*row) for row in table() if len(row) == len(COLUMNS)]


def leads(text: str) -> list[str]:
    """The bold words with which the items of a list begin."""
    items = re.findall(r"^- (.*)$", text, flags=re.M)
    found = [re.match(r"\*\*(.+?)\*\*", item) for item in items]
    assert all(found), items
    return [lead[1] for lead in found if lead]


@lru_cache
def statements(source: Path) -> list[ast.stmt]:
    return ast.parse(source.read_text(encoding="utf-8")).body


def has_test(name: str) -> bool:
    """Whether `file.py::test_name` or `file.py::TestClass::test_name` is defined below tests/."""
    path, *names = name.split("::")
    source = TESTS / path
    if not source.is_file() or not names[-1].startswith("test_"):
        return False
    nodes = statements(source)
    for each in names:
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [node for node in nodes if isinstance(node, kinds) and node.name == each]
        if len(found) != 1:
            return False
        nodes = found[0].body
    return True


class TestTable:
    def test_rows_are_complete(self) -> None:
        rows = table()
        assert len(rows) > 40
        for row in rows:
            assert len(row) == len(COLUMNS), row
            assert all(row), row

    @pytest.mark.parametrize("threat", threats(), ids=lambda threat: threat.test)
    def test_of_each_row_exists(self, threat: Threat) -> None:
        name = re.fullmatch(r"`([\w/]+\.py(?:::\w+){1,2})`", threat.test)
        assert name, threat.test
        assert has_test(name[1])

    def test_stands_for_one_attack(self) -> None:
        named = [threat.test for threat in threats()]
        assert sorted(named) == sorted(set(named))

    def test_missing_test_is_noticed(self) -> None:
        assert has_test("system/test_threats.py::TestTable::test_rows_are_complete")
        for name in (
            "system/test_threats.py::test_rows_are_complete",
            "system/test_threats.py::TestTable::test_missing",
            "system/test_threats.py::TestTable",
            "test_missing.py::test_missing",
        ):
            assert not has_test(name)


def entries() -> list[list[str]]:
    """The rows of the table of login CSRF."""
    lines = re.findall(r"^\|.*\|$", section(PAGE, "Login CSRF"), flags=re.M)
    return [cells(line) for line in lines[2:]]


class TestLoginCSRF:
    def test_rows_are_complete(self) -> None:
        assert len(entries()) > 10
        assert all(len(row) == 4 and all(row) for row in entries())

    @pytest.mark.parametrize("row", entries(), ids=lambda row: row[0])
    def test_of_each_row_exists(self, row: list[str]) -> None:
        name = re.fullmatch(r"`([\w/]+\.py(?:::\w+){1,2})`", row[-1])
        assert name, row
        assert has_test(name[1])


class TestReadme:
    """What README protects against is a row of the table; what not, an item of the other list."""

    TEXT = section(ROOT / "README.md", "What it protects against, and what not")

    def parts(self) -> tuple[str, str]:
        does, apart, does_not = self.TEXT.partition("\nIt does not hold off:\n")
        assert apart
        return does, does_not

    def test_promises_have_a_row_each(self) -> None:
        attacks = {threat.attack for threat in threats()}
        promised = leads(self.parts()[0])
        assert promised
        assert set(promised) <= attacks

    def test_gaps_are_on_the_page(self) -> None:
        gaps = leads(section(PAGE, "Not held off"))
        admitted = leads(self.parts()[1])
        assert admitted
        assert set(admitted) <= set(gaps)


STORIES = ["Session fixation by a link", "A target site that keeps a link"]


class TestStories:
    @pytest.mark.parametrize("heading", STORIES)
    def test_sentences_below_a_picture_are_five(self, heading: str) -> None:
        text = PAGE.read_text(encoding="utf-8")
        story = re.search(
            rf"^### {re.escape(heading)}\n\n```text\n(.+?)^```\n\n(.+?)\n\n",
            text,
            flags=re.M | re.S,
        )
        assert story
        picture, words = story.groups()
        assert picture.count("->") + picture.count("<-") >= 5
        sentences = re.findall(r"[^.]+\.(?=\s|$)", re.sub(r"`[^`]*`", "code", words))
        assert len(sentences) == 5, sentences

    def test_stories_are_two(self) -> None:
        headings = re.findall(r"^### (.+)$", section(PAGE, "Two attacks in pictures"), flags=re.M)
        assert headings == STORIES
