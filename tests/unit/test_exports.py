from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from public import PARTS, exports, public

import ott_middleware
from ott_middleware import errors
from ott_middleware.http.cookies import CookieOptions
from ott_middleware.lazy import import_on_use
from ott_middleware.sessions.framework import FrameworkOptions

TOP = [
    "ASGIMiddleware",
    "Backend",
    "BearerSession",
    "ConfigurationError",
    "CookieSession",
    "DjangoSession",
    "FlaskSession",
    "MemoryBackend",
    "OTTError",
    "OTTMiddleware",
    "OneTimeTokens",
    "RedisBackend",
    "SQLAlchemyBackend",
    "SQLiteBackend",
    "SealedSession",
    "Session",
    "SessionAdapter",
    "SignInAdapter",
    "StarletteSession",
    "WSGIMiddleware",
    "get_handle",
    "register_backend",
]
# They need a library that may be missing: a star import leaves them out.
OPTIONAL = {
    "DjangoSession",
    "FlaskSession",
    "RedisBackend",
    "SQLAlchemyBackend",
    "StarletteSession",
}
PUBLIC = public()


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


class TestTopOfThePackage:
    def test_has_these_names_and_no_other(self) -> None:
        assert sorted(exports("ott_middleware")) == TOP

    def test_all_has_what_needs_no_other_library(self) -> None:
        assert ott_middleware.__all__ == sorted(set(TOP) - OPTIONAL)

    def test_star_import_leaves_request_of_fastapi(self) -> None:
        program = """
from fastapi import Request, Response
from ott_middleware import *
from ott_middleware import http
assert Request is not http.Request and Response is not http.Response
assert OTTMiddleware and SQLiteBackend
"""
        run(program)

    def test_star_import_needs_no_library(self) -> None:
        hidden = ("django", "flask", "redis", "sqlalchemy", "starlette", "itsdangerous")
        run(
            f"import sys; sys.modules.update(dict.fromkeys({hidden}))\n"
            "from ott_middleware import *\n"
            "from ott_middleware.sessions import *\n"
            "from ott_middleware.backends import *\n"
        )

    def test_unknown_name_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match=r"'ott_middleware' has no attribute 'Later'"):
            _ = ott_middleware.Later  # type: ignore[attr-defined]  # wrong on purpose

    def test_name_is_looked_up_once(self) -> None:
        assert ott_middleware.SQLiteBackend is vars(ott_middleware)["SQLiteBackend"]


@pytest.mark.parametrize("part", PARTS)
def test_all_of_a_part_is_what_it_exports(part: str) -> None:
    module = importlib.import_module(f"ott_middleware.{part}")
    exported = getattr(module, "__all__", None)
    if exported is None:
        assert part == "errors"
        return
    assert exported == sorted(set(exported))
    assert set(exported) - {"Headers"} <= exports(f"ott_middleware.{part}").keys()


def test_every_error_is_public() -> None:
    ours = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.OTTError)
    }
    assert ours <= exports("ott_middleware.errors").keys()


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = re.findall(r"── (\w+)", errors.__doc__ or "")
    ours = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.OTTError) and name != "OTTError"
    ]
    assert sorted(drawn) == sorted(ours)


@pytest.mark.parametrize("thing", PUBLIC.values(), ids=PUBLIC)
def test_every_public_name_is_documented(thing: Any) -> None:
    assert (thing.__doc__ or "").strip(), "no docstring"
    # A dataclass without a docstring gets its signature for one.
    assert not thing.__doc__.startswith(f"{thing.__name__}(")
    if not inspect.isclass(thing):
        return
    for name, member in vars(thing).items():
        if name.startswith("_") or not (callable(member) or isinstance(member, property)):
            continue
        assert inspect.getdoc(getattr(thing, name)), f"{name} has no docstring"


@pytest.mark.parametrize("thing", PUBLIC.values(), ids=PUBLIC)
def test_every_option_is_documented(thing: Any) -> None:
    """What a class takes by name is named in its docstring, or in its base's."""
    if not inspect.isclass(thing) or not thing.__module__.startswith("ott_middleware"):
        return
    try:
        parameters = inspect.signature(thing).parameters.values()
    except ValueError:  # an exception without an __init__ of its own
        return
    text = " ".join(base.__doc__ or "" for base in thing.__mro__)
    for listed in (CookieOptions, FrameworkOptions):
        if f"`{listed.__name__}`" in text:
            text += " ".join(listed.__annotations__)
    for parameter in parameters:
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.name.startswith("_"):
            continue
        assert re.search(rf"\b{parameter.name}\b", text), f"{parameter.name} is not explained"


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", ott_middleware.__version__)


def test_what_is_typed_says_so() -> None:
    assert ott_middleware.__file__ is not None
    folder = ott_middleware.__file__.rpartition("/")[0]
    with open(f"{folder}/py.typed", "rb") as marker:
        assert marker.read() == b""


MISSING = [
    ("DjangoSession", "django", "django"),
    ("FlaskSession", "flask", "flask"),
    ("StarletteSession", "starlette", "starlette itsdangerous"),
    ("StarletteSession", "itsdangerous", "starlette itsdangerous"),
    ("SQLAlchemyBackend", "sqlalchemy", "'ott_middleware[sqlalchemy]'"),
]


@pytest.fixture(scope="module")
def errors_of_imports() -> list[str]:
    """What the import of each class of `MISSING` raises where its library is not there."""
    program = f"""
import json, sys
errors = []
for name, missing, _ in {MISSING}:
    sys.modules[missing] = None
    try:
        exec(f"from ott_middleware import {{name}}")
        errors.append("imported")
    except ImportError as error:
        errors.append(str(error))
    del sys.modules[missing]
print(json.dumps(errors))
"""
    errors: list[str] = json.loads(run(program))
    return errors


@pytest.mark.parametrize(("name", "missing", "install"), MISSING)
def test_import_without_its_library_names_what_to_install(
    errors_of_imports: list[str], name: str, missing: str, install: str
) -> None:
    told = errors_of_imports[MISSING.index((name, missing, install))]
    assert told.startswith(f"{name} can't be imported: ")
    assert missing in told
    assert told.endswith(f"; pip install {install}")


def test_missing_module_of_the_package_itself_is_told_as_it_is() -> None:
    get, _ = import_on_use("ott_middleware", {"Later": ".no_such_module"})
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        get("Later")


def test_import_of_a_class_whose_library_is_missing() -> None:
    get, names = import_on_use("ott_middleware", {"Later": ".no_such"}, install={"Later": "later"})
    with pytest.raises(ImportError, match=r"^Later can't be imported: .*; pip install later$"):
        get("Later")
    assert "Later" in names()
