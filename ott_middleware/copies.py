"""Copies of frozen values, some fields of which were changed by this package itself.

The constructors of these values check what users of the package hand in. What the package makes of
a value that was checked, in a way that leaves it valid, needs no second check: a request would pay
for several.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    _T = TypeVar("_T", bound=DataclassInstance)

_set = object.__setattr__


def copy_unchecked(value: _T, /, **changes: Any) -> _T:
    """Return a copy of a frozen value with some fields changed, which are valid by construction.

    A subclass that a user derived is copied by its own constructor.
    """
    kind = type(value)
    names, others = _fields(kind)
    if not names:
        return dataclasses.replace(value, **changes)
    copy = object.__new__(kind)
    for name in names:
        _set(copy, name, changes[name] if name in changes else getattr(value, name))
    for name, default in others:
        _set(copy, name, default)
    return copy


@lru_cache(maxsize=64)
def _fields(kind: type[DataclassInstance]) -> tuple[tuple[str, ...], tuple[tuple[str, Any], ...]]:
    """Return the fields that a copy takes over, and those that begin anew with their default."""
    if not kind.__module__.startswith("ott_middleware."):
        return (), ()
    fields = dataclasses.fields(kind)
    return (
        tuple(each.name for each in fields if each.init),
        tuple((each.name, each.default) for each in fields if not each.init),
    )
