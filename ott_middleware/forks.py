"""What a forked child must renew: locks, caches and connections that are its parent's.

A fork copies the memory of the process, and one thread. A lock that another thread held stays
locked in the child for ever; a token in memory is there twice; a connection has two processes at
its end. An object that holds such things registers itself here, and is told in each child.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import suppress
from typing import Protocol, TypeVar

T = TypeVar("T")


class Renewable(Protocol):
    """An object that holds what must not be used on both sides of a fork."""

    def renew_after_fork(self) -> None:
        """Make this object usable in a child. It is called before any other code runs there."""
        ...


class Preparable(Renewable, Protocol):
    """An object that must do something before a fork as well, and after it in the parent."""

    def prepare_for_fork(self, deadline: float) -> None:
        """Close what a child must not inherit. It is called in the parent.

        :param deadline: until when to wait for other threads, in monotonic seconds.
        """
        ...

    def resume_after_fork(self) -> None:
        """Go on in the parent."""
        ...


# Not a WeakSet: iterating over one fails if another thread adds to it at that moment, and a hook
# that fails lets the fork go on. `valuerefs()` copies in one step.
_renewed: weakref.WeakValueDictionary[int, Renewable] = weakref.WeakValueDictionary()
_prepared: weakref.WeakValueDictionary[int, Preparable] = weakref.WeakValueDictionary()

# How many seconds a fork waits for operations of other threads, all objects together. They take
# milliseconds, unless they wait for another process themselves.
_WAIT = 2.0
_forking = threading.RLock()  # a signal handler may fork amid a fork


def renew_in_children(thing: Renewable) -> None:
    """Have `thing.renew_after_fork()` called in each forked child, as long as it is referenced."""
    _renewed[id(thing)] = thing


def prepare_for_forks(thing: Preparable) -> None:
    """Like `renew_in_children`, and have the other two methods called around each fork."""
    _renewed[id(thing)] = _prepared[id(thing)] = thing


def _living(things: weakref.WeakValueDictionary[int, T]) -> list[T]:
    return [thing for reference in things.valuerefs() if (thing := reference()) is not None]


def _prepare() -> None:
    _forking.acquire()
    deadline = time.monotonic() + _WAIT
    for thing in _living(_prepared):
        thing.prepare_for_fork(deadline)


def _resume() -> None:
    for thing in _living(_prepared):
        thing.resume_after_fork()
    _forking.release()


def _renew() -> None:
    with suppress(RuntimeError):  # not held: a server may call this hook without the other one
        _forking.release()
    for thing in _living(_renewed):
        thing.renew_after_fork()


with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(before=_prepare, after_in_parent=_resume, after_in_child=_renew)
