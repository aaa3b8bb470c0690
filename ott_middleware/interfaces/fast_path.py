"""The fast path: passes a request without a token to the app without an attribute look-up."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def call_directly(front: Any, kind: type, function: Callable[..., Any]) -> None:
    """Have `function` called where `front` is called, without a look-up.

    Python finds `__call__` on the type, so `front` gets a type of its own; the rest of what a
    request needs, `function` holds in its closure. A subclass with a `__call__` of its own keeps
    it.

    :param front: the instance.
    :param kind: the class whose `__call__` is replaced.
    """
    cls = type(front)
    if cls.__call__ is not kind.__call__:
        return
    own = {"__slots__": (), "__module__": cls.__module__, "__doc__": cls.__doc__}
    front.__class__ = type(cls.__name__, (cls,), {**own, "__call__": staticmethod(function)})
    # By its own rules, `inspect` would take the first parameter for `self`.
    front.__signature__ = inspect.signature(function)
