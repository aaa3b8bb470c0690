"""What is too long to be read at once: modules and functions."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import ott_middleware

ROOT = Path(ott_middleware.__file__).parent
MODULES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sorted(ROOT.rglob("*.py"))
}


class TestSize:
    def test_long_module_says_why(self) -> None:
        reason = re.compile(r"(?i)longer\s+than\s+300\s+lines|though\s+it\s+is\s+long")
        assert [
            name
            for name, text in MODULES.items()
            if text.count("\n") > 300
            and not reason.search(ast.get_docstring(ast.parse(text)) or "")
        ] == []

    def test_function_has_at_most_60_lines(self) -> None:
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert [
            (name, each.name)
            for name, text in MODULES.items()
            for each in ast.walk(ast.parse(text))
            if isinstance(each, functions) and (each.end_lineno or 0) - each.lineno >= 60
        ] == []
