"""The layers: who imports whom, and what an import costs."""

from __future__ import annotations

import ast
import json
import statistics
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
    "psycopg",
    "pydantic",
    "redis",
    "requests",
    "sqlalchemy",
    "starlette",
    "uvicorn",
    "waitress",
]

# What each module may import of the package, nearest the ground first. A module may import less.
BASES = {"sessions.base", "backends.base"}
PURE = {
    "errors",
    "http",
    "tokens",
    "secrets",
    "urls",
    "cutting",
    "kinds",
    "answers",
    "pages",
    "body",
    "client_text",
}
FRONTS = {"flow", "forward", "front", "handle", "keeper"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "client_text": set(),
    "forks": set(),
    "revocations": {"forks"},
    "http": {"errors", "revocations", "client_text"},
    "tokens": {"errors"},
    "secrets": {"errors"},
    "calls": {"errors"},
    "urls": {"errors", "http", "client_text"},
    "cutting": {"urls"},
    "kinds": {"http", "client_text"},
    "answers": {"http", "urls"},
    "pages": {"http", "errors"},
    "body": {"http", "errors"},
    "sessions": set(),
    "backends": set(),
    "sessions.base": {"http", "errors", "tokens"},
    "backends.base": {"http", "errors", "calls"},
    "sessions.cookie": {"http", "errors", "tokens", "calls", "sessions.base"},
    "sessions.sealed": {"http", "errors", "tokens", "secrets", "calls", "sessions.base"},
    "sessions.framework": {"http", "errors", "tokens", "calls", "sessions.base"},
    "sessions.lifetime": set(),
    "sessions.mapped": {"errors", "sessions.base", "sessions.framework", "sessions.lifetime"},
    "sessions.environ": {"http"},
    "sessions.flask_login": {"errors", "sessions.mapped"},
    "sessions.flask": {
        "client_text",
        "errors",
        "http",
        "sessions.base",
        "sessions.environ",
        "sessions.flask_lifetime",
        "sessions.flask_login",
        "sessions.framework",
        "sessions.hosts",
        "sessions.lifetime",
        "sessions.mapped",
    },
    "sessions.flask_lifetime": {"sessions.lifetime"},
    "sessions.starlette": {
        "client_text",
        "errors",
        "http",
        "sessions.auto",
        "sessions.base",
        "sessions.framework",
        "sessions.hosts",
        "sessions.lifetime",
        "sessions.mapped",
        "sessions.starlette_lifetime",
    },
    "sessions.starlette_lifetime": {"sessions.auto", "sessions.lifetime"},
    "sessions.auto": {"errors", "sessions.base"},
    "sessions.hosts": {"sessions.auto"},
    "sessions.django_ends": set(),
    "sessions.django_project": {"errors"},
    "sessions.django_request": {"http", "client_text"},
    "sessions.django_store": {"http", "sessions.django_ends"},
    "sessions.django_user": {"sessions.base"},
    "sessions.django": {
        "errors",
        "http",
        "sessions.base",
        "sessions.django_ends",
        "sessions.django_project",
        "sessions.django_request",
        "sessions.django_store",
        "sessions.django_user",
        "sessions.framework",
        "sessions.hosts",
    },
    "backends.memory": {"errors", "forks", "backends.base"},
    "backends.mapping": {"errors", "forks", "backends.base"},
    "backends.django_cache": {"errors", "backends.base"},
    "backends.duck": {"errors", "calls", "backends.base"},
    "backends.redis_scripts": set(),
    "backends.redis_wire": {"errors", "forks"},
    "backends.redis_url": {"errors", "backends.redis_wire"},
    "backends.redis": {
        "errors",
        "backends.base",
        "backends.redis_scripts",
        "backends.redis_url",
        "backends.redis_wire",
    },
    "backends.sqlite_file": {"errors"},
    "backends.sqlite": {"errors", "backends.base", "backends.sqlite_file"},
    "backends.sql_table": {"errors"},
    "backends.sql_alive": set(),
    "backends.sql_engine": {"errors", "backends.sql_alive"},
    "backends.sqlalchemy": {
        "forks",
        "errors",
        "calls",
        "backends.base",
        "backends.sql_engine",
        "backends.sql_table",
    },
    "backends.registry": {
        "errors",
        "backends.base",
        "backends.duck",
        "backends.memory",
        "backends.redis",
        "backends.sqlalchemy",
        "backends.sqlite",
    },
    "testing.colours": {"backends.base"},
    "testing.store": {"errors", "testing.colours"},
    "testing.races": {"errors", "backends.base", "testing.colours"},
    "testing.adapters": {
        "errors",
        "client_text",
        "http",
        "calls",
        "sessions.base",
        "testing.store",
    },
    "testing.contract": {
        "errors",
        "backends.base",
        "backends.duck",
        "backends.registry",
        "testing.colours",
        "testing.races",
        "testing.store",
    },
    "testing": {"testing.adapters", "testing.contract", "testing.races", "testing.store"},
    "config": {
        "errors",
        "http",
        "tokens",
        "secrets",
        "urls",
        "sessions.auto",
        "sessions.cookie",
        "sessions.hosts",
        "backends.registry",
        *BASES,
    },
    "token_service": {"sessions.base"},
    "refusals": {"errors", "http", "kinds", "pages"},
    "service": {
        "errors",
        "http",
        "tokens",
        "secrets",
        "urls",
        "calls",
        "config",
        "backends.registry",
        *BASES,
        "revocations",
    },
    "keeper": {"errors", "http", "calls", "sessions.base"},
    "handle": {"errors", "http", "sessions.base"},
    "forward": {
        "errors",
        "http",
        "answers",
        "calls",
        "handle",
        "keeper",
        "revocations",
        "sessions.base",
    },
    "flow": {
        *PURE,
        "refusals",
        "token_service",
        "backends.memory",
        "calls",
        "config",
        "forward",
        "handle",
        "keeper",
        "own",
        "service",
        "sessions.base",
        "revocations",
    },
    "own": {"errors", "http", "urls", "config", "sessions.hosts"},
    "front": set(),
    "asgi": {"errors", "http", "urls", "cutting", "calls", "config", *FRONTS},
    "wsgi": {"errors", "forks", "http", "urls", "cutting", "calls", "config", *FRONTS},
    "middleware": {"errors", "config", "asgi", "wsgi"},
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only a type checker reads; imports in functions included."""
    for child in ast.iter_child_nodes(node):
        if not is_type_checking(child):
            yield child
            yield from at_run_time(child)


def imports_of(name: str) -> tuple[set[str], set[str]]:
    """What a module imports: of the package, and of others."""
    own: set[str] = set()
    others: set[str] = set()
    path = SOURCES[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in at_run_time(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            others.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            others.add(node.module or "")
        elif isinstance(node, ast.ImportFrom):
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


def test_every_module_has_its_place() -> None:
    assert set(MAY_IMPORT) == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_what_its_layer_may(name: str) -> None:
    own, _ = imports_of(name)
    assert own <= MAY_IMPORT[name]


def test_there_is_no_cycle() -> None:
    graph = {name: imports_of(name)[0] for name in MODULES}
    while graph:
        ground = {name for name, wanted in graph.items() if not wanted & set(graph)}
        assert ground, f"a cycle among {sorted(graph)}"
        graph = {name: wanted for name, wanted in graph.items() if name not in ground}


@pytest.mark.parametrize("name", sorted(PURE))
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
        "backends.redis_wire",
        "backends.sql_engine",
        "backends.sqlalchemy",
        "testing.colours",
        "testing.adapters",
    }
    assert knowing == {"calls", "asgi", "middleware", *own}


def test_nothing_else_is_imported_than_what_is_declared() -> None:
    foreign = set().union(*(tops(imports_of(name)[1]) for name in MODULES))
    optional = {
        "django",
        "flask",
        "flask_login",
        "itsdangerous",
        "redis",
        "sqlalchemy",
        "starlette",
    }
    assert foreign - sys.stdlib_module_names == DEPENDENCIES | optional


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_importing_it_imports_no_framework_and_no_client() -> None:
    loaded = json.loads(
        run("import json, sys, ott_middleware\nprint(json.dumps(sorted(sys.modules)))")
    )
    assert "ott_middleware.flow" in loaded
    assert not tops(set(loaded)) & set(FOREIGN)


def test_importing_it_starts_nothing_and_says_nothing() -> None:
    program = (
        "import threading, warnings\n"
        "warnings.simplefilter('error')\n"
        "import ott_middleware\n"
        "print(threading.active_count())"
    )
    assert run(program) == "1\n"


def test_importing_it_takes_under_150_ms_beyond_its_dependencies() -> None:
    foreign: set[str] = set()
    for name in MODULES:
        foreign |= {o for o in imports_of(name)[1] if o.partition(".")[0] in DEPENDENCIES}
    # The processor's time: what else runs on this machine is not the import's fault.
    program = (
        f"import time, {', '.join(sorted(foreign))}\n"
        "began = time.process_time()\n"
        "import ott_middleware\n"
        "print(time.process_time() - began)"
    )
    run(program)  # compiled now, if it was not
    took = statistics.median(float(run(program)) for _ in range(5))
    assert took < 0.150, f"{took * 1000:.0f} ms"
