"""The public names: what stands at the top of the package, and what its parts export."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

PARTS = ("errors", "http", "sessions", "backends", "tokens")


def exports(module: str) -> dict[str, Any]:
    """What can be imported from a module that is public: not its submodules, nothing private."""
    package = importlib.import_module(module)
    listed = {name: getattr(package, name) for name in dir(package) if not name.startswith("_")}
    return {
        name: value
        for name, value in listed.items()
        if not isinstance(value, ModuleType) and (value.__module__.startswith("ott_middleware"))
    }


def public() -> dict[str, Any]:
    """Each public class and function, by the full name to import it from; none of them twice."""
    found = {f"ott_middleware.{name}": value for name, value in exports("ott_middleware").items()}
    for part in PARTS:
        for name, value in exports(f"ott_middleware.{part}").items():
            # The functions of a part are helpers of the package.
            if isinstance(value, type) and value not in found.values():
                found[f"ott_middleware.{part}.{name}"] = value
    return found
