"""What a forked child must renew: locks, caches and connections that are its parent's.

A fork copies the memory of the process, and one thread. A lock that another thread held stays
locked in the child for ever; a token in memory is there twice; a connection has two processes at
its end. An object that holds such things registers itself here, and is told in each child.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import Protocol


class Renewable(Protocol):
    """An object that holds what must not be used on both sides of a fork."""

    def renew_after_fork(self) -> None:
        """Make this object usable in a child. It is called before any other code runs there."""
        ...


# Not a WeakSet: iterating over one fails if another thread adds to it at that moment, and a hook
# that fails lets the fork go on. `valuerefs()` copies in one step.
_registered: weakref.WeakValueDictionary[int, Renewable] = weakref.WeakValueDictionary()


def renew_in_children(thing: Renewable) -> None:
    """Have `thing.renew_after_fork()` called in each forked child, as long as it is referenced.

    Before a fork its `prepare_for_fork()` is called, if it has one.
    """
    _registered[id(thing)] = thing


def _prepare() -> None:
    for thing in _things():
        prepare = getattr(thing, "prepare_for_fork", None)
        if prepare is not None:
            prepare()


def _renew() -> None:
    for thing in _things():
        thing.renew_after_fork()


def _things() -> list[Renewable]:
    return [thing for reference in _registered.valuerefs() if (thing := reference()) is not None]


with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(before=_prepare, after_in_child=_renew)
