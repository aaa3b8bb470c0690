"""Calls a backend from sync code: its sync or its awaited methods, once or by many at once."""

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
    """One call of a backend's `put`, `take`, `revoke` or `close`."""

    name: str
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}  # noqa: RUF012 - no caller changes it


class Caller:
    """Calls the sync methods of a backend."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def call(self, call: Call) -> Any:
        """Make one call."""
        return getattr(self.backend, call.name)(*call.arguments, **call.keywords)

    def race(self, calls: Sequence[Call]) -> list[Any]:
        """Make all calls at once; return their results in order, exceptions among them."""
        results: list[Any] = [None] * len(calls)
        barrier = threading.Barrier(len(calls))

        # Coverage measures by a trace function as well, and that of the race has taken its place.
        def make(number: int, call: Call) -> None:  # pragma: no cover
            barrier.wait(SECONDS)
            try:
                results[number] = self.call(call)
            except Exception as error:
                results[number] = error

        with threads_pause_at_random(self.backend):
            threads = [
                threading.Thread(target=make, args=each, daemon=True) for each in enumerate(calls)
            ]
            for thread in threads:
                thread.start()
        for thread in threads:
            thread.join(SECONDS)
            if thread.is_alive():
                raise AssertionError(f"{calls[0].name} has hung for {SECONDS:.0f} seconds")
        return results

    def close(self) -> None:
        """Close the backend."""
        self.backend.close()


class AsyncCaller(Caller):
    """Calls the awaited methods of a backend, on an event loop of its own."""

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


def caller_of(backend: Backend) -> Caller:
    """Choose the sync methods where there are any, else the awaited ones."""
    return AsyncCaller(backend) if backend.async_only else Caller(backend)


async def acall(backend: Backend, call: Call) -> Any:
    """Await one call."""
    return await getattr(backend, f"a{call.name}")(*call.arguments, **call.keywords)


async def arace(backend: Backend, calls: Sequence[Call]) -> list[Any]:
    """Await all calls at once, each in a task of its own."""
    # A backend without awaited methods of its own works in threads, which begin here.
    with threads_pause_at_random(backend):
        tasks = (acall(backend, call) for call in calls)
        return list(await asyncio.gather(*tasks, return_exceptions=True))


@contextmanager
def threads_pause_at_random(backend: Backend) -> Iterator[None]:
    """Make threads that start meanwhile pause now and then amid the backend's own code.

    Two steps that belong together are a few nanoseconds apart, and races that could happen do not,
    for days. So the threads pause at random between the instructions of the modules that define
    the backend and what it holds.

    Each thread ends its trace before it ends itself. Without that, Python 3.12 counts the thread
    as traced for ever, and runs all that follows in the process at a fifth of its speed.
    """
    files = _files(backend)

    # A trace function is not traced itself, and so can't be measured.
    def trace(  # pragma: no cover
        frame: FrameType, event: str, _: Any
    ) -> Callable[..., Any] | None:
        if event == "call":
            frame.f_trace_opcodes = frame.f_code.co_filename in files
            return trace if frame.f_trace_opcodes or _is_outermost(frame) else None
        if event == "opcode" and random.random() < 0.05:  # noqa: S311 - for timing only
            time.sleep(0.0002)
        elif event == "return" and _is_outermost(frame):
            sys.settrace(None)
        return trace

    before = threading.gettrace()
    threading.settrace(trace)
    try:
        yield
    finally:
        threading.settrace(before)


def _is_outermost(frame: FrameType) -> bool:  # pragma: no cover - called by the trace function
    """Whether this is the first function of a thread, such as `Thread.run`."""
    return frame.f_back is not None and frame.f_back.f_code.co_name == "_bootstrap_inner"


def _files(backend: Backend) -> frozenset[str]:
    kinds = [*type(backend).__mro__]
    for held in vars(backend).values():
        kinds += type(held).__mro__
    files = {_file(kind) for kind in kinds if not _file(kind).startswith(_LIBRARIES)}
    # What the backend itself is made of may be installed among them.
    return frozenset(files | {_file(kind) for kind in type(backend).__mro__}) - {""}


def _file(kind: type) -> str:
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
