"""Runs a function of the site's owner within the context of a Flask or Quart app."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from ..concurrency import blocks, is_async
from .layers import class_names, layers_of


def in_app_context(function: Callable[..., Any], call_app: Any) -> Callable[..., Any]:
    """Return a function that runs in `app.app_context()`, if there is a Flask or Quart app.

    Without the context `current_app`, and an extension's database, are out of reach.

    :param function: sync or async, and so is the result. In Quart only async ones get the context.
    :param call_app: as `SessionAdapter.bind` gets it.
    """
    # A guess at the function: the interfaces' own is a method of an object that has the app.
    app = getattr(getattr(call_app, "__self__", None), "app", None)
    for layer in layers_of(app, mounted=False):
        names = class_names(layer)
        if "flask.app.Flask" in names:
            return _in_flask(function, layer)
        if "quart.app.Quart" in names and is_async(function):
            return _in_quart(function, layer)
    return function


def _in_quart(function: Callable[..., Any], app: Any) -> Callable[..., Any]:
    async def call(*args: Any) -> Any:
        async with app.app_context():
            return await function(*args)

    return call


def _in_flask(function: Callable[..., Any], app: Any) -> Callable[..., Any]:
    from flask import current_app

    def context() -> Any:
        # A view asks: its own context has what the view has opened.
        return nullcontext() if current_app and current_app == app else app.app_context()

    if is_async(function):

        async def call_async(*args: Any) -> Any:
            with context():
                return await function(*args)

        return call_async

    def call(*args: Any) -> Any:
        with context():
            return function(*args)

    call.blocks = blocks(function)  # type: ignore[attr-defined]  # a function's own word
    return call
