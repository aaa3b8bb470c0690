"""Runs coroutine functions for a greenlet of gevent or eventlet, on a loop in a native thread.

Greenlets share a thread. A loop that one of them ran there would be the running loop of all: the
loops of other requests would be refused, and so would Django's database in any view.

The loop runs in the library's own pool of native threads. Thread-sensitive code of the coroutine
(Django's database) is sent back to the greenlet, which has the app's connections and sees no loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from io import FileIO
from typing import Any, Protocol, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext

T = TypeVar("T")


class Pool(Protocol):
    """A greenlet library's native threads."""

    def start(self, work: Callable[[], None]) -> None:
        """Call `work` in a native thread."""

    def wait(self, reader: int) -> None:
        """Let other greenlets run until a file descriptor can be read."""


class _Gevent:  # pragma: no cover - runs in servers, in processes of their own
    def start(self, work: Callable[[], None]) -> None:
        import gevent

        gevent.get_hub().threadpool.spawn(work)

    def wait(self, reader: int) -> None:
        import gevent.socket

        gevent.socket.wait_read(reader)


class _Eventlet:  # pragma: no cover - runs in servers, in processes of their own
    def start(self, work: Callable[[], None]) -> None:
        import eventlet.tpool

        eventlet.spawn(eventlet.tpool.execute, work)

    def wait(self, reader: int) -> None:
        import eventlet.hubs

        eventlet.hubs.trampoline(reader, read=True)


def greenlet_pool() -> Pool | None:
    """Return the pool of the library that has replaced Python's threads by greenlets, or None."""
    # Asked at each call: a server patches the threads before or after the app is wrapped.
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        return _Gevent()
    patcher: Any = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched("thread"):
        return _Eventlet()
    return None


def run_in_pool(pool: Pool, function: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function on a loop in a native thread, and return its result.

    Other greenlets run meanwhile. Context variables go along, and come back.
    """
    errands, ended = _Errands(), Future[contextvars.Context]()
    result: Future[T] = Future()

    async def whole() -> contextvars.Context:
        # Left unentered, asgiref would have one thread for the database of all requests.
        async with ThreadSensitiveContext() as sensitive:
            SyncToAsync.context_to_thread_executor[sensitive] = errands
            try:
                result.set_result(await function())
            except BaseException as error:
                result.set_exception(error)
            finally:
                SyncToAsync.context_to_thread_executor.pop(sensitive)
        return contextvars.copy_context()

    def work() -> None:
        _call(ended, lambda: asyncio.run(whole()))
        errands.close()

    pool.start(functools.partial(contextvars.copy_context().run, work))
    errands.run(pool.wait)
    for variable, value in ended.result().items():
        variable.set(value)
    return result.result()


class _Errands(Executor):
    """The calls that a coroutine in a native thread sends back to the greenlet that waits."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        # Written in the native thread, read in the greenlet: no lock of either library is needed.
        # (gevent's `os.close` waits for the loop of its thread, which a pool's thread has not.)
        reader, writer = os.pipe()
        self._reader, self._writer = FileIO(reader), FileIO(writer, "w")
        self._left = False

    def submit(self, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Future[Any]:
        """Have the greenlet call a function. Called in the native thread."""
        future: Future[Any] = Future()
        self._calls.append((future, functools.partial(function, *args, **keywords)))
        with suppress(BrokenPipeError):  # the greenlet has left
            self._writer.write(b"!")
        if self._left:
            self._drop()
        return future

    def close(self) -> None:
        """Let the greenlet go on. Called in the native thread."""
        self._writer.close()

    def run(self, wait: Callable[[int], None]) -> None:
        """Make the calls, until the native thread is done. Called in the greenlet."""
        try:
            while True:
                wait(self._reader.fileno())
                if not self._reader.read(1):
                    return
                _call(*self._calls.popleft())
        finally:
            # A greenlet may be ended while it waits; the native thread must not wait for it.
            self._left = True
            self._drop()
            self._reader.close()

    def _drop(self) -> None:
        with suppress(IndexError):
            while True:
                self._calls.popleft()[0].cancel()


def _call(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)
