from __future__ import annotations

import asyncio
import contextvars
import functools
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from ott_middleware.concurrency import (
    blocks,
    call_backend,
    call_hook,
    check_service_call,
    choose_run,
    drive,
    drive_waiting,
    in_thread,
    inline,
    is_async,
    name_of,
    on_loop,
    on_running_loop,
    run_on_own_loop,
)
from ott_middleware.errors import (
    BackendFull,
    BackendUnavailable,
    ConfigurationError,
    InvalidToken,
    KeyTaken,
    SessionUnavailable,
)

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


def plain(*args: Any, **keywords: Any) -> Any:
    return (args, keywords)


async def waiting(*args: Any, **keywords: Any) -> Any:
    await asyncio.sleep(0)
    return (args, keywords)


def whose_thread() -> int:
    return threading.get_ident()


def exhausted() -> Any:
    return next(iter(()))


class AsyncCallable:
    async def __call__(self) -> None: ...


class Greeter:
    def __call__(self) -> str:
        return "called"


class Plug:
    """A plug-in with methods of every kind."""

    def method(self) -> str:
        return "method"

    def thread(self) -> int:
        return threading.get_ident()

    def swap(self, name: str) -> str:
        before = WHO.get()
        WHO.set(name)
        return before

    async def later(self) -> str:
        await asyncio.sleep(0)
        return "later"

    def promise(self) -> Awaitable[str]:
        return self.later()


class Memory(Plug):
    blocks = False


class Suspending(Plug):
    suspends = True


class Sensitive(Plug):
    thread_sensitive = True


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """A loop that does not wait for ever."""
    return asyncio.run(asyncio.wait_for(coroutine, 30))


# What is known about a function.


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (waiting, True),
        (functools.partial(functools.partial(waiting, 1), 2), True),
        (AsyncCallable(), True),
        (functools.partial(AsyncCallable()), True),
        (Plug().later, True),
        (sync_to_async(plain), True),
        (Suspending().promise, True),
        (functools.partial(Suspending().promise), True),
        (plain, False),
        (functools.partial(plain, 1), False),
        (Greeter(), False),
        (Plug().method, False),
        (Plug().promise, False),  # it did not say so
        (len, False),
        (lambda: None, False),
        (async_to_sync(waiting), False),
    ],
)
def test_which_functions_give_awaitables(function: Callable[..., Any], expected: bool) -> None:
    assert is_async(function) is expected


def test_only_what_says_so_does_not_block() -> None:
    def quick() -> None: ...

    for function in (
        plain,
        len,
        Plug().method,
        functools.partial(Plug().method),
        Greeter(),
        quick,
    ):
        assert blocks(function)
    quick.blocks = False  # type: ignore[attr-defined]  # how a plain function says so
    for function in (quick, functools.partial(quick), Memory().method, Memory()):
        assert not blocks(function)
    quick.blocks = 0  # type: ignore[attr-defined]  # a slip, not a word
    assert blocks(quick)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (plain, "plain"),
        (functools.partial(functools.partial(plain)), "plain"),
        (Plug().method, "Plug.method"),
        (Greeter(), "Greeter"),
        (functools.partial(Greeter()), "Greeter"),
        (len, "len"),
    ],
)
def test_how_messages_name_a_function(function: Callable[..., Any], name: str) -> None:
    assert name_of(function) == name


# For synchronous callers.


def test_inline_calls_and_never_suspends() -> None:
    here = threading.get_ident()
    assert drive(inline(plain)(1, a=2)) == ((1,), {"a": 2})
    assert drive(inline(whose_thread)()) == here


class Promise:
    def __await__(self) -> Any:
        raise AssertionError
        yield


@pytest.mark.parametrize("function", [lambda: waiting(), Plug().promise, Promise])
def test_inline_refuses_awaitables_by_name(function: Callable[..., Any]) -> None:
    # A coroutine that was left unclosed would warn, which is an error here.
    with pytest.raises(TypeError) as caught:
        drive(inline(function)())
    assert str(caught.value) == (
        f"{name_of(function)} gave an awaitable to a synchronous caller: "
        "make it `async def`, or return the value itself"
    )


def test_errors_of_a_function_are_those_of_its_call() -> None:
    def failing() -> None:
        raise KeyError("k")

    with pytest.raises(KeyError):
        drive(inline(failing)())
    for bind in (on_loop, inline):
        with pytest.raises(KeyError):
            run(bind(failing)())


def test_drive_returns_what_the_coroutine_does() -> None:
    async def whole(value: Any) -> Any:
        first = await inline(plain)(value)
        return await inline(lambda: first)()

    assert drive(whole(1)) == ((1,), {})

    async def nothing() -> None: ...

    assert drive(nothing()) is None

    async def returns_it() -> StopIteration:
        return StopIteration(7)

    assert isinstance(drive(returns_it()), StopIteration)


def test_drive_names_the_culprit_and_closes_everything() -> None:
    closed = []

    async def culprit() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append("culprit")

    async def middle() -> None:
        await culprit()

    async def whole() -> None:
        try:
            await middle()
        finally:
            closed.append("whole")

    with pytest.raises(RuntimeError) as caught:
        drive(whole())
    # sleep() itself is a coroutine: the innermost one.
    assert str(caught.value) == "sleep suspended where nothing can wait for it"
    assert closed == ["culprit", "whole"]


def test_drive_names_who_waits_for_something_else_than_a_coroutine() -> None:
    class Bare:
        def __await__(self) -> Any:
            yield

    async def culprit() -> None:
        await Bare()

    async def whole() -> None:
        await culprit()

    with pytest.raises(RuntimeError, match=r"\.culprit suspended where nothing can wait for it$"):
        drive(whole())


@pytest.mark.parametrize("bind", [inline, on_loop])
def test_a_stop_iteration_is_an_error_and_no_answer(bind: Callable[..., Any]) -> None:
    # A naive driver takes it for the coroutine's end, and a bare thread hangs with it.
    finish = drive if bind is inline else run
    with pytest.raises(RuntimeError, match="raised StopIteration") as caught:
        finish(bind(exhausted)())
    assert isinstance(caught.value.__cause__, StopIteration)


def test_a_stop_iteration_in_a_thread_names_its_function() -> None:
    with pytest.raises(RuntimeError, match=r"^exhausted raised StopIteration$"):
        run(on_loop(exhausted)())
    with pytest.raises(RuntimeError, match=r"^exhausted raised StopIteration$"):
        asyncio.run(_await(in_thread(exhausted)))


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(awaitable, 30)


def test_a_stop_iteration_from_memory_is_an_error_too() -> None:
    def quick() -> Any:
        return next(iter(()))

    quick.blocks = False  # type: ignore[attr-defined]  # how a plain function says so
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        run(on_loop(quick)())


# On a loop.


def test_what_answers_from_memory_or_suspends_stays_on_the_loop() -> None:
    async def whole() -> None:
        here = threading.get_ident()
        assert await on_loop(Memory().thread)() == here
        assert await on_loop(Suspending().promise)() == "later"
        assert await on_loop(Suspending().method)() == "method"
        assert await on_loop(Memory().promise)() == "later"
        assert await on_loop(waiting)(1, a=2) == ((1,), {"a": 2})

        async def inside() -> int:
            return threading.get_ident()

        assert await on_loop(inside)() == here

    run(whole())


def test_what_blocks_goes_to_a_thread_and_the_loop_goes_on() -> None:
    came, go = threading.Event(), threading.Event()

    def blocking() -> int:
        came.set()
        # Only the loop, which must be free for that, lets it go.
        assert go.wait(30)
        return threading.get_ident()

    async def whole() -> None:
        call = asyncio.ensure_future(_await(on_loop(blocking)()))
        assert await in_thread(came.wait, 30)
        go.set()
        assert await call != threading.get_ident()
        assert await on_loop(plain)(1, a=2) == ((1,), {"a": 2})
        assert await in_thread(plain, 1, a=2) == ((1,), {"a": 2})
        # It gave an awaitable after all: that is awaited where there is a loop.
        assert await on_loop(Plug().promise)() == "later"

    run(whole())


def test_what_is_not_sensitive_gets_threads_of_its_own() -> None:
    both = threading.Barrier(2)

    def meet() -> int:
        both.wait(30)
        return threading.get_ident()

    async def whole() -> None:
        # In one thread the two would wait for each other for ever.
        for pair in ((on_loop(meet)(), on_loop(meet)()), (in_thread(meet), in_thread(meet))):
            first, second = await asyncio.gather(*pair)
            assert first != second

    run(whole())


def test_sensitive_functions_share_the_thread_for_sensitive_code() -> None:
    async def whole() -> None:
        sensitive = await sync_to_async(threading.get_ident, thread_sensitive=True)()
        threads = await asyncio.gather(*(on_loop(Sensitive().thread)() for _ in range(5)))
        assert set(threads) == {sensitive}
        partial = functools.partial(Sensitive().thread)
        assert await on_loop(partial)() == sensitive
        assert sensitive != threading.get_ident()

    run(whole())


@pytest.mark.parametrize("bind", [on_loop, inline])
@pytest.mark.parametrize("plug", [Plug(), Sensitive(), Memory(), Suspending()])
def test_context_variables_go_along_and_come_back(bind: Callable[..., Any], plug: Plug) -> None:
    async def whole() -> None:
        WHO.set("alice")
        assert await bind(plug.swap)("there") == "alice"
        assert WHO.get() == "there"

    run(whole())
    assert WHO.get() == "nobody"


def test_a_cancelled_thread_runs_to_its_end() -> None:
    came, go, ended = threading.Event(), threading.Event(), threading.Event()

    def take() -> None:
        came.set()
        assert go.wait(30)
        ended.set()

    async def whole() -> None:
        call = asyncio.ensure_future(_await(on_loop(take)()))
        assert await in_thread(came.wait, 30)
        call.cancel()
        await asyncio.sleep(0)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await call

    run(whole())
    assert ended.wait(30)


# Asynchronous hooks for synchronous callers.


def test_inline_runs_coroutine_functions_on_loops_of_their_own() -> None:
    here = threading.get_ident()
    learns = Plug()
    late = inline(learns.promise)
    learns.suspends = True  # type: ignore[attr-defined]  # as an adapter that is bound to an app

    async def elsewhere() -> tuple[int, int]:
        # What must run in one thread runs in the one that waits.
        sensitive = sync_to_async(threading.get_ident, thread_sensitive=True)
        return threading.get_ident(), await sensitive()

    async def whole() -> tuple[Any, ...]:
        return (
            await inline(whose_thread)(),
            await inline(waiting)(1),
            await inline(Suspending().promise)(),
            await late(),
            await inline(elsewhere)(),
        )

    first, *others, (loop, sensitive) = drive(whole())
    assert (first, sensitive) == (here, here)
    assert loop != here
    assert others == [((1,), {}), "later", "later"]


def test_inline_awaits_where_a_loop_runs() -> None:
    async def whole() -> int:
        async def inside() -> int:
            return threading.get_ident()

        called: int = await inline(inside)()
        return called

    assert run(whole()) == threading.get_ident()


def test_context_variables_cross_to_a_loop_of_its_own_and_back() -> None:
    async def swap() -> str:
        return Plug().swap("changed there")

    def caller() -> None:
        WHO.set("alice")
        assert run_on_own_loop(swap) == "alice"
        assert WHO.get() == "changed there"

    contextvars.copy_context().run(caller)


def test_where_a_loop_runs_nothing_is_begun() -> None:
    begun = []

    async def whole() -> None:
        begun.append(True)

    async def caller() -> None:
        with pytest.raises(RuntimeError, match="event loop"):
            drive_waiting(whole())

    # A coroutine that was left unclosed would warn, which is an error here.
    run(caller())
    assert begun == []
    drive_waiting(whole())
    assert begun == [True]


def test_errors_of_a_coroutine_come_out() -> None:
    async def failing() -> None:
        await asyncio.sleep(0)
        raise KeyError("k")

    with pytest.raises(KeyError):
        run_on_own_loop(failing)

    async def stopping() -> None:
        exhausted()

    with pytest.raises(RuntimeError, match="raised StopIteration"):
        run_on_own_loop(stopping)


@pytest.mark.parametrize(
    ("hooks", "runs"),
    [
        ((), drive),
        ((None, None), drive),
        ((plain, None, Plug().method), drive),
        ((plain, waiting), drive_waiting),
        ((None, Suspending().promise), drive_waiting),
    ],
)
def test_one_asynchronous_hook_decides_how_coroutines_run(hooks: Any, runs: Any) -> None:
    assert choose_run(*hooks) is runs


def test_whether_a_loop_runs() -> None:
    async def inside() -> tuple[bool, bool]:
        return on_running_loop(), await in_thread(on_running_loop)

    assert not on_running_loop()
    assert run(inside()) == (True, False)


# Whose fault it is.


async def gives(outcome: Any) -> Any:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def test_what_works_is_passed_on() -> None:
    assert drive(call_backend(gives(7))) == 7
    assert drive(call_hook("name", gives(7))) == 7
    assert drive(check_service_call(inline(lambda *args, **keywords: 7), int)(1, a=2)) == 7


@pytest.mark.parametrize("error", [KeyError("secret"), ValueError("secret"), StopAsyncIteration()])
def test_other_peoples_failures_are_named_by_their_type_alone(error: Exception) -> None:
    def failing() -> Any:
        raise error

    kind = type(error).__name__
    for failure, expected, text in [
        (call_backend(gives(error)), BackendUnavailable, f"the backend raised {kind}"),
        (call_hook("hook", gives(error)), SessionUnavailable, f"hook raised {kind}"),
        (
            check_service_call(inline(failing), int)(),
            BackendUnavailable,
            f"tokens= raised {kind}",
        ),
    ]:
        with pytest.raises(expected) as caught:
            drive(failure)
        assert re.fullmatch(rf"{text} at test_concurrency\.py:\d+", str(caught.value))
        assert caught.value.__cause__ is error


class Sniffio:
    """Stands for the module, which is there wherever trio runs."""

    class AsyncLibraryNotFoundError(RuntimeError): ...

    def __init__(self, library: str | None) -> None:
        self.library = library

    def current_async_library(self) -> str:
        if self.library is None:
            raise self.AsyncLibraryNotFoundError
        return self.library


@pytest.mark.parametrize(
    ("library", "error", "said"),
    [
        ("trio", RuntimeError("no running event loop"), True),
        ("trio", RuntimeError("secret"), False),
        (None, RuntimeError("no running event loop"), False),
    ],
)
def test_missing_asyncio_is_named(
    monkeypatch: pytest.MonkeyPatch, library: str | None, error: Exception, said: bool
) -> None:
    monkeypatch.setitem(sys.modules, "sniffio", Sniffio(library))  # type: ignore[arg-type]  # no module
    for failure in (call_backend(gives(error)), call_hook("hook", gives(error))):
        with pytest.raises((BackendUnavailable, SessionUnavailable)) as caught:
            drive(failure)
        assert ("needs asyncio, and this server runs trio" in str(caught.value)) is said
        assert "secret" not in str(caught.value)


def test_errors_with_an_answer_of_their_own_are_passed_on() -> None:
    for error in (BackendFull(), InvalidToken(), SessionUnavailable("x")):

        def failing(error: Exception = error) -> Any:
            raise error

        for failure in (
            call_backend(gives(error)),
            call_hook("hook", gives(error)),
            check_service_call(inline(failing), int)(),
        ):
            with pytest.raises(type(error)) as caught:
                drive(failure)
            assert caught.value is error


def test_a_backend_may_say_more_than_a_hook() -> None:
    taken = KeyTaken()
    with pytest.raises(KeyTaken):
        drive(call_backend(gives(taken)))
    # From a hook these are failures like any other: no request is answered with them.
    for error in (taken, ConfigurationError("x")):
        with pytest.raises(SessionUnavailable):
            drive(call_hook("hook", gives(error)))


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit()])
def test_what_ends_a_task_or_a_process_is_nobodys_failure(error: BaseException) -> None:
    for failure in (call_backend(gives(error)), call_hook("hook", gives(error))):
        with pytest.raises(type(error)):
            drive(failure)


def test_a_service_that_returns_something_else_has_failed() -> None:
    with pytest.raises(BackendUnavailable, match=r"^the token service .* NoneType: return a str$"):
        drive(check_service_call(inline(lambda: None), str)())
