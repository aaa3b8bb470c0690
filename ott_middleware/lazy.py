"""Imports a class of an optional library on its first use, so that other apps do not load it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def import_on_use(
    package: str, modules: Mapping[str, str], install: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Build `__getattr__` and `__dir__` of a package (PEP 562).

    :param package: the package's `__name__`.
    :param modules: the name of each class, and its module relative to the package.
    :param install: the name of a class that needs a library, and what `pip install` takes for it.
    :returns: both functions. `__getattr__` raises `ImportError` with the `pip install` line if the
        library is missing.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(importlib.import_module(modules[name], package), name)
        except ImportError as error:
            if install is None or name not in install:
                raise
            raise ImportError(
                f"{name} can't be imported: {error}; pip install {install[name]}", name=error.name
            ) from error
        # From now on the class is found without this function.
        setattr(sys.modules[package], name, value)
        return value

    def list_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return get, list_names
