"""Loads an app as uvicorn and gunicorn do, and finds the middleware in it."""

from __future__ import annotations

import ast
import os
import sys
import traceback
from importlib import import_module
from typing import Any

from ..errors import OTTError
from ..interfaces.asgi import ASGIMiddleware
from ..interfaces.wsgi import WSGIMiddleware
from ..sessions.layers import layers_of

# The texts of other exceptions may quote a URL with its password.
_SHOWN = (ImportError, AttributeError, NameError, OTTError)
_USUAL = ("app", "application")
_WRAPPERS = (ASGIMiddleware, WSGIMiddleware)


class LoadError(Exception):
    """There is no wrapped app at that name; the text is one line, and names the cure."""


def load(target: str) -> Any:
    """Return what `module:app` names: an attribute of a module, or what a factory returns.

    :raises LoadError: it cannot be imported, or is not there.
    """
    name, _, attribute = target.partition(":")
    if not all(part.isidentifier() for part in name.split(".")):
        raise LoadError(f"{target!r} is no module; write module:app, as shop:app for shop.py")
    # As `python -m` does, and gunicorn and uvicorn.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise LoadError(
                f"there is no module {error.name}; run the command in the project's folder"
            ) from None
        raise LoadError(f"{name}: {_describe(error)}; install it in this environment") from None
    except (Exception, SystemExit) as error:
        raise LoadError(f"{name} cannot be imported: {_describe(error)}") from None
    if not attribute:
        attribute = next((each for each in _USUAL if hasattr(module, each)), "app")
    return _find(module, attribute)


def _find(module: Any, attribute: str) -> Any:
    try:
        node = ast.parse(attribute, mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        arguments = [ast.literal_eval(each) for each in call.args]
        keywords = {each.arg or "": ast.literal_eval(each.value) for each in call.keywords}
        path = ast.unparse(call.func)
        if not all(part.isidentifier() for part in path.split(".")):
            raise ValueError
    except (SyntaxError, ValueError):
        raise LoadError(
            f"{attribute!r} names no app; write module:app or module:create_app()"
        ) from None
    found = module
    for part in path.split("."):
        if not hasattr(found, part):
            wrapped = [name for name, each in vars(module).items() if isinstance(each, _WRAPPERS)]
            hint = f"; it has {', '.join(wrapped)}" if wrapped else ""
            raise LoadError(f"{module.__name__} has no {path}{hint}")
        found = getattr(found, part)
    if call is not node:
        return found
    try:
        return found(*arguments, **keywords)
    except (Exception, SystemExit) as error:
        raise LoadError(f"{attribute} failed: {_describe(error)}") from None


def find_middleware(app: Any, target: str) -> ASGIMiddleware | WSGIMiddleware:
    """Return the middleware that is around an app, or within its outer layers.

    :raises LoadError: there is none.
    """
    layers = [app]
    # Starlette makes its layers with the first request.
    build = getattr(app, "build_middleware_stack", None)
    if build is not None and getattr(app, "user_middleware", None):
        try:
            layers.append(build())
        except OTTError as error:
            raise LoadError(f"{target}: {_describe(error)}") from None
    for each in layers:
        for layer in layers_of(each):
            if isinstance(layer, _WRAPPERS):
                return layer
    if getattr(app, "__code__", None) is not None and not app.__code__.co_argcount:
        raise LoadError(f"{target} is a function that makes the app: write '{target}()'")
    raise LoadError(
        f"{target} is not wrapped: app = OTTMiddleware(app, ...), or name what the server serves"
    )


def _describe(error: BaseException) -> str:
    """Return one line: the type, the place, and the text where it holds no secret."""
    text = type(error).__name__
    if isinstance(error, _SHOWN) or text == "ImproperlyConfigured":
        text += f": {' '.join(str(error).split())}"
    elif isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        text += f": {error.args[0]!r} (an environment variable that is not set here?)"
    elif isinstance(error, SyntaxError):
        return (
            f"{text}: {error.msg} ({os.path.relpath(error.filename or '.')}, line {error.lineno})"
        )
    frames = traceback.extract_tb(error.__traceback__)
    here = os.path.dirname(__file__)
    outside = [f for f in frames if not f.filename.startswith((here, "<frozen"))]
    # The project's own line tells more than that of a library.
    own = [f for f in outside if f.filename.startswith(os.getcwd())]
    for frame in (own or outside)[-1:]:
        text += f" ({os.path.relpath(frame.filename)}, line {frame.lineno})"
    return text
