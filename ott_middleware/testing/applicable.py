"""Keeps pytest from collecting those tests of a contract that do not apply to a subclass."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

Test = TypeVar("Test", bound=Callable[..., None])

# A test → what it needs: of each tuple of names one must be defined.
_needs: dict[object, list[tuple[str, ...]]] = {}


def needs(*names: str) -> Callable[[Test], Test]:
    """Mark a test that applies only to subclasses that define one of `names`.

    A method counts as defined where a subclass overrides it, any other attribute where it is true.
    Used several times on one test, each mark must be met.
    """

    def mark(test: Test) -> Test:
        _needs.setdefault(test, []).append(names)
        return test

    return mark


class NotApplicable(str):
    """Stands in the place of a test that a subclass does not get; says what the test needs."""


class Contract:
    """Base of a contract, a class of tests: each subclass has only the tests that apply to it.

    A test with `needs` that are not met is replaced by a `NotApplicable`, which no test runner
    collects. A subclass of that subclass that defines what was missing has the test again.
    """

    modes: tuple[str, ...] = ("sync", "async")

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Run the tests in each mode."""
        if "mode" in metafunc.fixturenames:
            metafunc.parametrize("mode", list(self.modes))

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for contract in cls.__mro__[1:]:
            for name, test in list(vars(contract).items()):
                if not isinstance(test, FunctionType) or test not in _needs:
                    continue
                # A subclass may have replaced the test, or dropped it by `test_… = None`.
                if isinstance(getattr(cls, name), NotApplicable) or getattr(cls, name) is test:
                    missing = _missing(cls, contract, test)
                    setattr(cls, name, NotApplicable(f"needs {missing}") if missing else test)


def _missing(cls: type, contract: type, test: FunctionType) -> str:
    """Return what a test needs and a class does not define; empty if there is nothing."""
    for names in _needs[test]:
        if not any(_defines(cls, contract, name) for name in names):
            return " or ".join(names)
    return ""


def _defines(cls: type, contract: type, name: str) -> bool:
    value = getattr(cls, name)
    return bool(value) and not (callable(value) and value is getattr(contract, name))
