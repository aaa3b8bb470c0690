"""Copies of frozen values, some fields of which were changed by this package itself.

The constructors of these values check what users of the package hand in. What the package makes of
a value that was checked, in a way that leaves it valid, needs no second check: a request would pay
for several. The classes have no `__slots__`, so that all fields of a copy can be set at once.
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
    anew = _begin_anew(kind)
    if anew is None:
        return dataclasses.replace(value, **changes)
    copy = object.__new__(kind)
    # All fields at once: a frozen value's own constructor sets them one by one.
    _set(copy, "__dict__", {**value.__dict__, **anew, **changes})
    return copy


def build_unchecked(kind: type[_T], /, **fields: Any) -> _T:
    """Return a value of a class of this package, of fields that are valid by construction.

    :param fields: all that the constructor takes.
    """
    value = object.__new__(kind)
    fields.update(_begin_anew(kind) or ())
    _set(value, "__dict__", fields)
    return value


@lru_cache(maxsize=64)
def _begin_anew(kind: type[DataclassInstance]) -> dict[str, Any] | None:
    """Return the fields that no copy takes over; None for a class that is not this package's."""
    if not kind.__module__.startswith("ott_middleware."):
        return None
    return {each.name: each.default for each in dataclasses.fields(kind) if not each.init}
