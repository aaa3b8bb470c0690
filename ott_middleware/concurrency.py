"""The bridge between sync and async: the only module that knows both.

The flow and the service are coroutines that await each function they call. Each plug-in function
is *bound* once, when the app is wrapped, so that awaiting it does what the interface needs:

`inline`
    for sync callers. It calls the function and never suspends, so that `drive` can run the whole
    coroutine with a single step: no loop, no thread. A coroutine function is run to its end on a
    loop of its own (`run_on_own_loop`), in another thread.
`on_loop`
    for async callers. Coroutine functions are awaited, functions that respond from memory
    (``blocks = False``) are called directly, and all others go to a thread.

A function that is cancelled in a thread still runs to its end. A `take` that was cancelled has
taken the token: nothing here puts a token back.

One module, though it is long: whatever knows both sync and async stands here.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import GeneratorType
from typing import Any, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, async_to_sync, sync_to_async

from .errors import BackendUnavailable, OTTError, RequestError
from .greenlets import greenlet_pool, run_in_pool
from .hooks import hook_failed


def _renew_executor() -> None:
    # asgiref has one thread for all thread-sensitive code, which a forked child does not have; its
    # executor does not notice, and a call in the child would wait for ever.
    SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)


with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_renew_executor)

T = TypeVar("T")
Bound = Callable[..., Awaitable[Any]]
Bind = Callable[[Callable[..., Any]], Bound]
Run = Callable[[Coroutine[Any, Any, T]], T]


def without_partials(function: Any) -> Any:
    """Return the function that a `functools.partial` calls, and any other function as it is."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def owner_of(function: Callable[..., Any]) -> Any:
    """Return what carries the marks of a function: the object of a method, else the function."""
    function = without_partials(function)
    return getattr(function, "__self__", function)


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether calling `function` returns an awaitable.

    True for coroutine functions, for objects with such a `__call__`, and for methods of an object
    that says ``suspends = True`` because its plain functions return awaitables.
    """
    function = without_partials(function)
    return (
        inspect.iscoroutinefunction(function)
        or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - whether it is async is asked, not whether it is callable
        or getattr(owner_of(function), "suspends", False) is True
    )


def blocks(function: Callable[..., Any]) -> bool:
    """Return whether a sync `function` may wait: true unless it says ``blocks = False``."""
    return getattr(owner_of(function), "blocks", True) is not False


class Waiting:
    """The one method of an object that may wait: on a loop it is called in a thread.

    :param thread_sensitive: it must run in the thread for such code, even if the object's others
        need not.
    """

    blocks = True

    def __init__(self, method: Callable[..., Any], *, thread_sensitive: bool = False) -> None:
        self._method = method
        self._sensitive = thread_sensitive

    @property
    def thread_sensitive(self) -> bool:
        """Whether the method must run in the thread for thread-sensitive code."""
        return self._sensitive or getattr(owner_of(self._method), "thread_sensitive", False)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self._method(*args, **keywords)


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function in messages."""
    function = without_partials(function)
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def inline(function: Callable[..., Any]) -> Bound:
    """Bind `function` for a synchronous caller."""
    waits, owner = is_async(function), owner_of(function)

    async def call(*args: Any, **keywords: Any) -> Any:
        # An adapter may learn only when it is bound to an app whether it suspends.
        if waits or getattr(owner, "suspends", False) is True:
            whole = functools.partial(_call_and_await, function, *args, **keywords)
            return await whole() if on_running_loop() else run_on_own_loop(whole)
        return call_plain(function, *args, **keywords)

    return call


def call_plain(function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Any:
    """Call a plain function for a synchronous caller.

    :raises TypeError: it returned an awaitable.
    """
    result = function(*args, **keywords)
    if hasattr(result, "__await__"):
        # No caller could await it here; without the close, Python would warn at another place.
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError(
            f"{name_of(function)} gave an awaitable to a synchronous caller: "
            "make it `async def`, or return the value itself"
        )
    return result


def on_loop(function: Callable[..., Any]) -> Bound:
    """Bind `function` for a caller on an event loop."""
    if inspect.iscoroutinefunction(function):
        return function
    if is_async(function) or not blocks(function):
        return functools.partial(_call_and_await, function)
    return _in_thread(function, thread_sensitive=is_thread_sensitive(function))


def is_thread_sensitive(function: Callable[..., Any]) -> bool:
    """Return whether a sync `function` must run in the thread for thread-sensitive code."""
    return getattr(owner_of(function), "thread_sensitive", False) is True


def in_own_thread(function: Bound, close: Callable[[], None]) -> Bound:
    """Wrap a coroutine function: its thread-sensitive code runs in a thread of each call's own.

    Otherwise, all requests of the process wait for one thread. (Within a request of Django's own
    ASGI handler, that request's thread serves.)

    :param close: called in the thread, if there was one, before the thread ends.
    """

    async def call(*args: Any, **keywords: Any) -> Any:
        async with ThreadSensitiveContext() as context:
            try:
                return await function(*args, **keywords)
            finally:
                executor = SyncToAsync.context_to_thread_executor.get(context)
                if executor is not None:
                    executor.submit(close)

    return call


async def _call_and_await(function: Callable[..., Any], /, *args: Any, **keywords: Any) -> Any:
    result = function(*args, **keywords)
    # `isawaitable` alone takes six times as long, for each call of each request.
    if hasattr(result, "__await__") or type(result) is GeneratorType:
        return await result if inspect.isawaitable(result) else result
    return result


def in_thread(function: Callable[..., T], *args: Any, **keywords: Any) -> Awaitable[T]:
    """Call a blocking `function` in a worker thread; context variables go with it."""
    return _in_thread(function, thread_sensitive=False)(*args, **keywords)


def _in_thread(function: Callable[..., Any], *, thread_sensitive: bool) -> Bound:
    def guarded(*args: Any, **keywords: Any) -> Any:
        try:
            return function(*args, **keywords)
        except StopIteration as error:
            # A future cannot carry a StopIteration: the caller would wait for ever.
            raise RuntimeError(f"{name_of(function)} raised StopIteration") from error

    threaded = sync_to_async(guarded, thread_sensitive=thread_sensitive)

    async def call(*args: Any, **keywords: Any) -> Any:
        result = await threaded(*args, **keywords)
        return await result if inspect.isawaitable(result) else result

    return call


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of `inline` functions to its end, in one step.

    :raises RuntimeError: it suspended; the text names the coroutine that did.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    culprit = _innermost(coroutine)
    coroutine.close()
    raise RuntimeError(f"{culprit} suspended where nothing can wait for it")


def _innermost(coroutine: Any) -> str:
    while inspect.iscoroutine(awaited := getattr(coroutine, "cr_await", None)):
        coroutine = awaited
    return str(coroutine.__qualname__)


def drive_waiting(coroutine: Coroutine[Any, Any, T]) -> T:
    """`drive` a coroutine of functions that wait on loops of their own.

    :raises RuntimeError: an event loop runs in this thread; nothing was begun.
    """
    # Refused before the first step: half-way, a token may be used up already.
    if on_running_loop():
        coroutine.close()
        raise RuntimeError(
            "an event loop runs in this thread: await the call's twin, or call it in another thread"
        )
    return drive(coroutine)


def run_on_own_loop(function: Callable[[], Awaitable[T]]) -> T:
    """Call a coroutine function from synchronous code, and return its result.

    Its thread-sensitive code runs in the thread that waits: the request's own, where thread-local
    state of the app (a database connection, say) is at hand.
    """
    pool = greenlet_pool()
    return run_in_pool(pool, function) if pool else async_to_sync(_call_and_await)(function)


async def within(seconds: float, awaitable: Awaitable[T]) -> T:
    """Await something for some seconds at most.

    :raises TimeoutError: it took longer.
    """
    try:
        return await asyncio.wait_for(awaitable, seconds)
    except asyncio.TimeoutError:
        raise TimeoutError from None  # another class before Python 3.11


def run_in_worker(function: Callable[[], Awaitable[T]]) -> T:
    """Call a coroutine function in a worker thread that no request waits for.

    Unlike `run_on_own_loop` it needs no executor: these are gone while the interpreter ends.
    """
    pool = greenlet_pool()
    return run_in_pool(pool, function) if pool else asyncio.run(_call_and_await(function))


def choose_run(*hooks: Callable[..., Any] | None) -> Run[Any]:
    """Return how sync callers run coroutines of `inline` functions, given all that may wait."""
    waits = any(is_async(hook) for hook in hooks if hook is not None)
    return drive_waiting if waits else drive


def on_running_loop() -> bool:
    """Return whether an event loop runs in this thread, and would be held up by a wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    # Another greenlet's loop goes on while this one waits.
    return greenlet_pool() is None


def refuse_on_loop(name: str) -> None:
    """Refuse a sync method where an event loop runs in this thread.

    :param name: of the method; its awaited twin has an `a` before it.
    :raises RuntimeError: an event loop runs in this thread.
    """
    if on_running_loop():
        raise RuntimeError(
            f"{name}() would hold up the event loop: use `await a{name}()`, or call {name}() in a "
            "worker thread"
        )


async def call_backend(awaitable: Awaitable[T]) -> T:
    """Await a backend; a foreign exception becomes `BackendUnavailable`."""
    try:
        return await awaitable
    except OTTError:
        raise
    except Exception as error:
        raise hook_failed("the backend", error, kind=BackendUnavailable) from error


async def call_hook(name: str, awaitable: Awaitable[T]) -> T:
    """Await an adapter or a hook; a foreign exception becomes `SessionUnavailable`."""
    # As within `naming`, which takes longer.
    try:
        return await awaitable
    except RequestError:
        raise
    except Exception as error:
        raise hook_failed(name, error) from error


def check_service_call(function: Bound, returns: type) -> Bound:
    """Wrap a method of a user's `TokenService`: other errors become `BackendUnavailable`."""

    async def call(*args: Any, **keywords: Any) -> Any:
        try:
            result = await function(*args, **keywords)
        except RequestError:
            raise
        except Exception as error:
            raise hook_failed("tokens=", error, kind=BackendUnavailable) from error
        if not isinstance(result, returns):
            raise BackendUnavailable(
                f"the token service returned a {type(result).__name__}: return a {returns.__name__}"
            )
        return result

    return call
