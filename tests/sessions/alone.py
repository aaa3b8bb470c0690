"""Runs a program as in an environment where only some distributions are installed.

`python alone.py ABSENT PROGRAM`: no module of the JSON list ABSENT can be imported.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CORE = ("asgiref", "cachetools", "cryptography", "werkzeug")


class Absent:
    """A finder for which some modules do not exist."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def modules_of(*distributions: str) -> set[str]:
    """Return the modules of distributions and of all that they need, as `pip install` does."""
    from packaging.requirements import Requirement  # of pytest

    waiting, known = list(distributions), set()
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in known:
            continue
        known.add(name)
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    return {module for module, owners in installed_modules().items() if owners & known}


@functools.cache
def installed_modules() -> dict[str, set[str]]:
    """Return each installed module, and the distributions that it is of.

    (`importlib.metadata.packages_distributions` of Python 3.10 knows a part of them.)
    """
    found: dict[str, set[str]] = {}
    for distribution in importlib.metadata.distributions():
        owner = distribution.metadata["Name"].lower().replace("_", "-")
        for file in distribution.files or ():
            module = file.parts[0].partition(".")[0]
            if module.isidentifier() and (len(file.parts) > 1 or file.suffix in (".py", ".so")):
                found.setdefault(module, set()).add(owner)
    return found


def run_alone(program: str, *distributions: str) -> str:
    """Run a program with some distributions, and with what the package itself needs."""
    absent = installed_modules().keys() - modules_of(*CORE, *distributions)
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(sorted(absent - {"ott_middleware"})), program],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


if __name__ == "__main__":
    del sys.path[0]  # of this file
    sys.meta_path.insert(0, Absent(json.loads(sys.argv[1])))  # type: ignore[arg-type]  # a finder
    exec(sys.argv[2], {"__name__": "__main__"})
