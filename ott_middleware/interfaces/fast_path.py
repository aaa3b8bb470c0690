"""The fast path: passes a request without a token to the app without an attribute look-up."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def call_directly(middleware: Any, kind: type, function: Callable[..., Any]) -> None:
    """Have `function` called where `middleware` is called, without a look-up.

    Python finds `__call__` on the type, so `middleware` gets a type of its own. `function` holds
    the rest of what a request needs in its closure. A subclass keeps a `__call__` of its own.

    :param middleware: the instance.
    :param kind: the class whose `__call__` is replaced.
    """
    cls = type(middleware)
    if cls.__call__ is not kind.__call__:
        return
    own = {"__slots__": (), "__module__": cls.__module__, "__doc__": cls.__doc__}
    middleware.__class__ = type(cls.__name__, (cls,), {**own, "__call__": staticmethod(function)})
    # By its own rules, `inspect` would take the first parameter for `self`.
    middleware.__signature__ = inspect.signature(function)


def call_instead(middleware: Any, function: Callable[..., Any]) -> None:
    """Have another function called from now on, where `call_directly` has set one.

    :param middleware: the instance; one with a `__call__` of its own keeps it.
    """
    cls: Any = type(middleware)
    if isinstance(vars(cls).get("__call__"), staticmethod):
        cls.__call__ = staticmethod(function)
