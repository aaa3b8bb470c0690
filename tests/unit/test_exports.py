from __future__ import annotations

import inspect
import re
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

import ott_middleware
from ott_middleware import errors
from ott_middleware.http.cookies import CookieOptions
from ott_middleware.sessions.framework import FrameworkOptions

PUBLIC = [getattr(ott_middleware, name) for name in ott_middleware.__all__]


def test_all_is_sorted_and_says_each_name_once() -> None:
    assert ott_middleware.__all__ == sorted(set(ott_middleware.__all__))


def test_all_is_complete() -> None:
    names = {
        name
        for name, value in vars(ott_middleware).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    # Backends of other libraries come when they are asked for.
    assert names - set(ott_middleware._LATER) == set(ott_middleware.__all__) - set(
        ott_middleware._LATER
    )


def test_every_error_is_public() -> None:
    ours = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.OTTError)
    }
    assert ours <= set(ott_middleware.__all__)


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = re.findall(r"── (\w+)", errors.__doc__ or "")
    ours = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.OTTError) and name != "OTTError"
    ]
    assert sorted(drawn) == sorted(ours)


@pytest.mark.parametrize("thing", PUBLIC, ids=ott_middleware.__all__)
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


@pytest.mark.parametrize("thing", PUBLIC, ids=ott_middleware.__all__)
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


@pytest.mark.parametrize(
    ("name", "missing", "cure"),
    [
        ("DjangoSession", "django", "DjangoSession needs django; pip install django"),
        ("FlaskSession", "flask", "FlaskSession needs flask; pip install flask"),
        ("StarletteSession", "starlette", "pip install starlette itsdangerous"),
        ("StarletteSession", "itsdangerous", "pip install starlette itsdangerous"),
        ("DjangoCacheBackend", "django", "django: DjangoCacheBackend needs it; pip install django"),
    ],
)
def test_what_a_library_is_missing_for_says_so_when_it_is_made(
    name: str, missing: str, cure: str
) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
import ott_middleware
kind = ott_middleware.{name}
assert kind.__mro__[1] in (ott_middleware.Backend, ott_middleware.SessionAdapter)
try:
    kind()
except ott_middleware.ConfigurationError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert cure in done.stdout
