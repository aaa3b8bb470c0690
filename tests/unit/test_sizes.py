"""What is too long to be read at once: modules and functions."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import ott_middleware

ROOT = Path(ott_middleware.__file__).parent
MODULES = {str(path.relative_to(ROOT)): path for path in sorted(ROOT.rglob("*.py"))}


@pytest.mark.parametrize("name", MODULES)
class TestSize:
    def test_long_module_says_why(self, name: str) -> None:
        text = MODULES[name].read_text("utf-8")
        if text.count("\n") > 300:
            explanation = " ".join((ast.get_docstring(ast.parse(text)) or "").split())
            assert re.search("(?i)longer than 300 lines|though it is long", explanation)

    def test_function_has_at_most_60_lines(self, name: str) -> None:
        tree = ast.parse(MODULES[name].read_text("utf-8"))
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        found = [each for each in ast.walk(tree) if isinstance(each, functions)]
        assert [each.name for each in found if (each.end_lineno or 0) - each.lineno >= 60] == []
