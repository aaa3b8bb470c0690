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


class Preparable(Renewable, Protocol):
    """An object that must do something before a fork as well."""

    def prepare_for_fork(self) -> None:
        """Close what a child must not inherit. It is called in the parent."""
        ...


# Not a WeakSet: iterating over one fails if another thread adds to it at that moment, and a hook
# that fails lets the fork go on. `valuerefs()` copies in one step.
_renewed: weakref.WeakValueDictionary[int, Renewable] = weakref.WeakValueDictionary()
_prepared: weakref.WeakValueDictionary[int, Preparable] = weakref.WeakValueDictionary()


def renew_in_children(thing: Renewable) -> None:
    """Have `thing.renew_after_fork()` called in each forked child, as long as it is referenced."""
    _renewed[id(thing)] = thing


def prepare_for_forks(thing: Preparable) -> None:
    """Like `renew_in_children`, with `thing.prepare_for_fork()` called before each fork."""
    _renewed[id(thing)] = _prepared[id(thing)] = thing


def _prepare() -> None:
    for thing in [thing for ref in _prepared.valuerefs() if (thing := ref()) is not None]:
        thing.prepare_for_fork()


def _renew() -> None:
    for thing in [thing for ref in _renewed.valuerefs() if (thing := ref()) is not None]:
        thing.renew_after_fork()


with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(before=_prepare, after_in_child=_renew)
