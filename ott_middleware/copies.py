"""Copies of frozen values, some fields of which were changed by this package itself.

The constructors of these values check what users of the package hand in. What the package makes of
a value that was checked, in a way that leaves it valid, needs no second check: a request would pay
for several.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    _T = TypeVar("_T", bound=DataclassInstance)

_set = object.__setattr__


def copy_unchecked(value: _T, /, **changes: Any) -> _T:
    """Return a copy of a frozen value with some fields changed, which are valid by construction.

    A subclass that a user derived is copied by its own constructor.
    """
    kind = type(value)
    slots = _slots(kind)
    if slots is None:
        return dataclasses.replace(value, **changes)
    copy = object.__new__(kind)
    for set_slot, each in zip(slots.setters, slots.read(value), strict=True):
        set_slot(copy, each)
    for name, each in slots.defaults:
        _set(copy, name, each)
    for name, each in changes.items():
        _set(copy, name, each)
    return copy


def build_unchecked(kind: type[_T], /, **fields: Any) -> _T:
    """Return a value of a class of this package, of fields that are valid by construction.

    :param fields: all that the constructor takes.
    """
    slots = cast(_Slots, _slots(kind))
    value = object.__new__(kind)
    for name, set_slot in slots.by_name:
        set_slot(value, fields[name])
    for name, each in slots.defaults:
        _set(value, name, each)
    return value


class _Slots(NamedTuple):
    """The fields of a class: those that a copy takes over, and those that begin anew."""

    read: Callable[[Any], tuple[Any, ...]]
    setters: tuple[Callable[[Any, Any], None], ...]
    by_name: tuple[tuple[str, Callable[[Any, Any], None]], ...]
    defaults: tuple[tuple[str, Any], ...]


@lru_cache(maxsize=64)
def _slots(kind: type[DataclassInstance]) -> _Slots | None:
    if not kind.__module__.startswith("ott_middleware."):
        return None
    fields = dataclasses.fields(kind)
    taken = [each.name for each in fields if each.init]
    setters = tuple(getattr(kind, name).__set__ for name in taken)
    return _Slots(
        operator.attrgetter(*taken),
        setters,
        tuple(zip(taken, setters, strict=True)),
        tuple((each.name, each.default) for each in fields if not each.init),
    )
