"""The layers: who imports whom, and what an import costs."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ott_middleware

ROOT = Path(ott_middleware.__file__).parent
DEPENDENCIES = {"asgiref", "cachetools", "cryptography", "werkzeug"}
FOREIGN = [
    "aiohttp",
    "anyio",
    "django",
    "fastapi",
    "flask",
    "flask_login",
    "granian",
    "gunicorn",
    "hypercorn",
    "httpx",
    "itsdangerous",
    "limits",
    "psycopg",
    "pydantic",
    "redis",
    "requests",
    "sqlalchemy",
    "starlette",
    "uvicorn",
    "waitress",
]

# Each part imports only what stands before it in this list.
LAYERS = (
    *(
        "reasons",
        "errors",
        "clock",
        "copies",
        "lazy",
        "forks",
        "hooks",
        "crypto",
        "http",
        "access_logs",
        "context",
        "error_reports",
        "greenlets",
        "concurrency",
        "not_awaited",
        "events",
        "sessions",
        "backends",
    ),
    *(
        "tokens",
        "page_options",
        "issuer_options",
        "rate_options",
        "apps",
        "options",
        "flow",
        "interfaces",
        "middleware",
        "paste",
        "django",
    ),
    *("doctor", "__main__"),
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only a type checker reads; imports in functions included."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from at_run_time(child)


@functools.cache
def imports_of(name: str) -> tuple[set[str], set[str]]:
    """What a module imports: of the package (for types alone too), and of others at run time."""
    own: set[str] = set()
    others: set[str] = set()
    path = SOURCES[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    tree = ast.parse(path.read_text())
    for node in at_run_time(tree):
        if isinstance(node, ast.Import):
            others.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            others.add(node.module or "")
    for node in ast.walk(tree):  # imports for type checkers alone included
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [part for part in package if part][: len(package) - node.level + 1]
            whole = ".".join([*base, *((node.module or "").split("."))]).strip(".")
            if whole in SOURCES and whole:
                # `from . import answers` names modules, `from .http import Request` does not.
                submodules = {f"{whole}.{alias.name}" for alias in node.names} & set(SOURCES)
                own.update(submodules or {whole})
            else:
                own.update(alias.name for alias in node.names)
    return own, others


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


MODULES = sorted(set(SOURCES) - {""})


def layer_of(name: str) -> int:
    return LAYERS.index(name.partition(".")[0])


def test_every_module_has_its_layer() -> None:
    assert tops(set(MODULES)) == {*LAYERS, "testing"}


@pytest.mark.parametrize("name", [n for n in MODULES if not n.startswith("testing")])
def test_a_module_imports_only_what_is_above_it(name: str) -> None:
    own, _ = imports_of(name)
    assert all(layer_of(each) <= layer_of(name) for each in own)


def test_there_is_no_cycle() -> None:
    graph = {name: imports_of(name)[0] for name in MODULES}
    while graph:
        ground = {name for name, wanted in graph.items() if not wanted & set(graph)}
        assert ground, f"a cycle among {sorted(graph)}"
        graph = {name: wanted for name, wanted in graph.items() if name not in ground}


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith(("http", "errors"))])
def test_a_pure_module_neither_waits_nor_draws_lots_nor_asks_the_time(name: str) -> None:
    _, others = imports_of(name)
    impure = {
        "asgiref",
        "asyncio",
        "io",
        "logging",
        "os",
        "pathlib",
        "random",
        "secrets",
        "socket",
        "subprocess",
        "sys",
        "threading",
        "time",
    }
    assert not tops(others) & impure


def test_one_bridge_knows_synchronous_from_asynchronous() -> None:
    knowing = {name for name in MODULES if tops(imports_of(name)[1]) & {"asyncio", "asgiref"}}
    # The backends of asynchronous clients drive these themselves; the suite races both colours.
    own = {
        "backends.redis",
        "backends.sqlalchemy",
        "testing.sync_async",
        "testing.adapter_driver",
    }
    known = {".".join(name.split(".")[:2]) for name in knowing}
    bridge = {
        *("concurrency", "not_awaited", "greenlets", "interfaces.asgi_probe", "middleware"),
        "doctor.this_site",
    }
    assert known == {*bridge, *own}


def test_nothing_else_is_imported_than_what_is_declared() -> None:
    foreign = set().union(*(tops(imports_of(name)[1]) for name in MODULES))
    optional = {
        "django",
        "eventlet",
        "flask",
        "flask_login",
        "gevent",
        "itsdangerous",
        "limits",
        "redis",
        "sqlalchemy",
        "starlette",
    }
    assert foreign - sys.stdlib_module_names == DEPENDENCIES | optional


# What an import brings with it and costs, in one process. The processor's time: what else runs on
# this machine is not the import's fault.
PROGRAM = """
import json, statistics, sys, threading, time, warnings
warnings.simplefilter("error")
import ott_middleware
threads, modules = threading.active_count(), sorted(sys.modules)
spent = []
for _ in range(5):
    for name in [name for name in sys.modules if name.partition(".")[0] == "ott_middleware"]:
        del sys.modules[name]
    began = time.process_time()
    import ott_middleware
    spent.append(time.process_time() - began)
print(json.dumps([threads, modules, statistics.median(spent)]))
"""


@pytest.fixture(scope="module")
def imported() -> tuple[int, list[str], float]:
    """The threads and modules after a first import, and the seconds of another."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    threads, modules, seconds = json.loads(done.stdout)
    return threads, modules, seconds


def test_importing_it_imports_no_framework_and_no_client(
    imported: tuple[int, list[str], float],
) -> None:
    loaded = imported[1]
    assert "ott_middleware.flow.links" in loaded
    assert not tops(set(loaded)) & set(FOREIGN)


def test_importing_it_starts_nothing_and_says_nothing(
    imported: tuple[int, list[str], float],
) -> None:
    assert imported[0] == 1


def test_importing_it_takes_under_150_ms_beyond_its_dependencies(
    imported: tuple[int, list[str], float],
) -> None:
    took = imported[2]
    assert took < 0.150, f"{took * 1000:.0f} ms"
