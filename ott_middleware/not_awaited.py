"""Results of coroutine methods that say so where they were not awaited."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Coroutine, Generator
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import markcoroutinefunction

T = TypeVar("T")
P = ParamSpec("P")


class NotAwaited(Coroutine[Any, Any, T]):
    """What a method that must be awaited returns: a coroutine that says so where it is shown.

    A plain coroutine in a template or an f-string makes a page with the text "<coroutine object…",
    and one in an `if` is always true.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T], name: str) -> None:
        self._coroutine = coroutine
        self._name = name

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __str__(self) -> str:
        raise self._misuse()

    def __bool__(self) -> bool:
        # Attack: `if ott.asession():` lets each visitor in, signed in or not. Without this line, a
        # coroutine is true. (asyncio asks when it shows a task, since Python 3.12.)
        if sys._getframe(1).f_globals.get("__name__") == "asyncio.base_tasks":
            return True
        raise self._misuse()

    def __repr__(self) -> str:
        return f"<{self._name}() was not awaited>"

    def _misuse(self) -> RuntimeError:
        return RuntimeError(f"{self._name}() was not awaited: write `await ott.{self._name}(...)`")


def must_be_awaited(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Have the result of a coroutine method say so where it was not awaited."""

    @functools.wraps(method)
    def call(*args: P.args, **keywords: P.kwargs) -> Coroutine[Any, Any, T]:
        return NotAwaited(method(*args, **keywords), method.__name__)

    markcoroutinefunction(call)
    return call
