"""The pages for contributors name what is in the repository; documented classes can be read."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any, is_typeddict

import pytest
from documents import ROOT

import ott_middleware

PAGES = [
    "docs/architecture.md",
    "docs/how_it_decides.md",
    "docs/contributing.md",
    ".github/CONTRIBUTING.md",
]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE = Path(ott_middleware.__file__).parent
TESTED = ("ott_middleware", "tests", "docs", "examples", r"\.ci", r"\.github")


def files_named(text: str) -> list[str]:
    """The paths of the repository in backticks, without anything that follows a path."""
    return re.findall(rf"`((?:{'|'.join(TESTED)})/[\w./-]*)`", text)


class TestPaths:
    @pytest.mark.parametrize("page", PAGES)
    def test_exist(self, page: str) -> None:
        named = files_named((ROOT / page).read_text(encoding="utf-8"))
        assert named
        assert [path for path in named if not (ROOT / path).exists()] == []

    def test_missing_one_is_noticed(self) -> None:
        assert files_named("`docs/api.md`, `tests/`, tests/no, `docs/a b`") == [
            "docs/api.md",
            "tests/",
        ]


class TestLayers:
    def test_table_is_in_the_order_of_the_import_test(self) -> None:
        source = (ROOT / "tests" / "unit" / "test_imports.py").read_text(encoding="utf-8")
        (layers,) = (
            node.value
            for node in ast.parse(source).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS"
        )
        rows = re.findall(r"^\| `ott_middleware/(\w+)(?:\.py|/)` \|", ARCHITECTURE, flags=re.M)
        assert rows == list(eval(ast.unparse(layers)))

    def test_each_part_of_the_package_is_named(self) -> None:
        parts = [p for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
        for part in parts:
            if part.name != "__init__.py":
                name = f"ott_middleware/{part.name}{'/' if part.is_dir() else ''}"
                assert f"`{name}`" in ARCHITECTURE


def test_thirteen_steps_name_a_file_each() -> None:
    section = (ROOT / "docs" / "how_it_decides.md").read_text().split("\n## ")[0]
    steps = re.findall(r"^(\d+)\. (.+(?:\n {3}.+)*)", section, flags=re.M)
    assert [int(number) for number, _ in steps] == list(range(1, 14))
    assert all(files_named(text) for _, text in steps)


def documented_classes() -> list[str]:
    """The classes and functions of the reference, by their full names."""
    pages = [page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))]
    names = re.findall(r"^\.\. auto(?:class|function):: ([\w.]+)$", "\n".join(pages), flags=re.M)
    full = [name if "." in name else f"ott_middleware.{name}" for name in names]
    framework = ("DjangoSession", "FlaskSession", "StarletteSession", "SQLAlchemyBackend")
    assert {f"ott_middleware.{name}" for name in framework} <= set(full)
    return full


def hides_its_arguments(documented: Any) -> bool:
    """Whether a signature has `*args` or `**kwargs` of any type, as `(**__: Any)` has.

    The constructors of a protocol and of a `TypedDict` are those of `typing`. Users derive from the
    one, and read the keys of the other.
    """
    if getattr(documented, "_is_protocol", False) or is_typeddict(documented):
        return False
    parameters = inspect.signature(documented).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    anything = (inspect.Parameter.empty, Any, "Any", "typing.Any")
    return any(each.kind in variable and each.annotation in anything for each in parameters)


class TestSignatures:
    @pytest.mark.parametrize("name", documented_classes())
    def test_tell_the_arguments(self, name: str) -> None:
        module, _, attribute = name.rpartition(".")
        assert not hides_its_arguments(getattr(importlib.import_module(module), attribute))

    def test_typed_dicts_of_arguments_are_documented(self) -> None:
        named = [name.rpartition(".") for name in documented_classes()]
        documented = [getattr(importlib.import_module(where), name) for where, _, name in named]
        signatures = [inspect.signature(one) for one in documented if not is_typeddict(one)]
        listed = set(re.findall(r"Unpack\[(\w+)\]", str(signatures)))
        # The options of the middleware are those of `Options`, on a page of their own.
        assert listed - {"OptionValues"} <= {name for *_, name in named}
        assert "OptionValues" in listed

    def test_keywords_of_any_type_are_noticed(self) -> None:
        def options(**__: Any) -> None: ...

        def untyped(*args, **kwargs): ...

        def typed(*names: str, **lengths: int) -> None: ...

        assert hides_its_arguments(options)
        assert hides_its_arguments(untyped)
        assert not hides_its_arguments(typed)
