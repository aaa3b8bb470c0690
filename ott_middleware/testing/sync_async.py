"""A backend asked from synchronous code, in either colour, once or by many at once."""

from __future__ import annotations

import asyncio
import random
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

from ..backends.base import Backend

_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platlib", "purelib"))

SECONDS = 60.0  # after which a race has hung


class Call(NamedTuple):
    """One call of a backend's `put`, `take` or `revoke`."""

    name: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


def put_call(
    key: str, value: bytes, *, expires_at: float, owner: str = "owner", limit: int | None = None
) -> Call:
    """A `put`."""
    return Call("put", (key, value), {"expires_at": expires_at, "owner": owner, "limit": limit})


def take_call(key: str) -> Call:
    """A `take`."""
    return Call("take", (key,), {})


class Colour:
    """A backend asked in one colour."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def call(self, call: Call) -> Any:
        """Make one call."""
        return getattr(self.backend, call.name)(*call.arguments, **call.keywords)

    def race(self, calls: Sequence[Call]) -> list[Any]:
        """Make all calls at once; the answers, in their order, exceptions among them."""
        answers: list[Any] = [None] * len(calls)
        barrier = threading.Barrier(len(calls))

        # Coverage measures by a trace function as well, and `unsettled` has taken its place.
        def make(number: int, call: Call) -> None:  # pragma: no cover
            barrier.wait(SECONDS)
            try:
                answers[number] = self.call(call)
            except Exception as error:
                answers[number] = error

        with unsettled(self.backend):
            threads = [
                threading.Thread(target=make, args=each, daemon=True) for each in enumerate(calls)
            ]
            for thread in threads:
                thread.start()
        for thread in threads:
            thread.join(SECONDS)
            if thread.is_alive():
                raise AssertionError(f"{calls[0].name} has hung for {SECONDS:.0f} seconds")
        return answers

    def close(self) -> None:
        """Close the backend."""
        self.backend.close()


class AsyncColour(Colour):
    """A backend asked in the asynchronous colour, on an event loop of its own."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._loop = asyncio.new_event_loop()

    def call(self, call: Call) -> Any:
        return self._run(acall(self.backend, call))

    def race(self, calls: Sequence[Call]) -> list[Any]:
        return self._run(arace(self.backend, calls))  # type: ignore[no-any-return]  # as it is

    def close(self) -> None:
        try:
            self._run(self.backend.aclose())
            self._run(self._loop.shutdown_asyncgens())
            self._run(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(coroutine, SECONDS))


def colour_of(backend: Backend) -> Colour:
    """The synchronous colour where there is one, else the asynchronous one."""
    return AsyncColour(backend) if backend.async_only else Colour(backend)


async def acall(backend: Backend, call: Call) -> Any:
    """Make one call of the asynchronous colour."""
    return await getattr(backend, f"a{call.name}")(*call.arguments, **call.keywords)


async def arace(backend: Backend, calls: Sequence[Call]) -> list[Any]:
    """Make all calls at once, each in a task of its own."""
    # A backend without an asynchronous colour works in threads, which begin here.
    with unsettled(backend):
        tasks = (acall(backend, call) for call in calls)
        return list(await asyncio.gather(*tasks, return_exceptions=True))


@contextmanager
def unsettled(backend: Backend) -> Iterator[None]:
    """Make threads that start meanwhile pause now and then amid the backend's own code.

    Two steps that belong together are a few nanoseconds apart, and races that could happen do not,
    for days. So the threads pause at random between the instructions of the modules that define
    the backend and what it holds.
    """
    files = _files(backend)

    # A trace function is not traced itself, and so can't be measured.
    def trace(  # pragma: no cover
        frame: FrameType, event: str, _: Any
    ) -> Callable[..., Any] | None:
        if event == "call":
            if frame.f_code.co_filename not in files:
                return None
            frame.f_trace_opcodes = True
        elif event == "opcode" and random.random() < 0.05:  # noqa: S311 - for timing only
            time.sleep(0.0002)
        return trace

    before = threading.gettrace()
    threading.settrace(trace)
    try:
        yield
    finally:
        threading.settrace(before)


def _files(backend: Backend) -> frozenset[str]:
    kinds = [*type(backend).__mro__]
    for held in getattr(backend, "__dict__", {}).values():
        kinds += type(held).__mro__
    files = {_file(kind) for kind in kinds if not _file(kind).startswith(_LIBRARIES)}
    # What the backend itself is made of may be installed among them.
    return frozenset(files | {_file(kind) for kind in type(backend).__mro__}) - {""}


def _file(kind: type) -> str:
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
