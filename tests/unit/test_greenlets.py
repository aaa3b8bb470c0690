"""Coroutine functions for greenlets. Native threads stand for the pools of gevent and eventlet,
which replace the threads of a whole process: tests/system/servers runs them in servers."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import select
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, sync_to_async

from ott_middleware import concurrency, greenlets
from ott_middleware.concurrency import drive, inline, on_running_loop, refuse_on_loop
from ott_middleware.greenlets import greenlet_pool, run_in_pool

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="none")


class Threads:
    """A pool without a bound."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def start(self, work: Callable[[], None]) -> None:
        self.threads.append(threading.Thread(target=work))
        self.threads[-1].start()

    def wait(self, reader: int) -> None:
        select.select([reader], [], [], 10)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()


class Leaving(Threads):
    """A pool for a greenlet that is ended while it waits."""

    def wait(self, reader: int) -> None:
        super().wait(reader)
        raise SystemExit


@pytest.fixture
def pool() -> Threads:
    return Threads()


def has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class TestRunInPool:
    def test_loop_runs_in_another_thread(self, pool: Threads) -> None:
        async def whole() -> tuple[int, bool]:
            await asyncio.sleep(0)
            return threading.get_ident(), has_loop()

        thread, loop = run_in_pool(pool, whole)
        assert loop
        assert thread == pool.threads[0].ident
        pool.join()

    def test_thread_sensitive_code_runs_in_the_caller(self, pool: Threads) -> None:
        async def whole() -> list[Any]:
            ask = sync_to_async(lambda: (threading.get_ident(), has_loop()))
            return [await ask(), *await asyncio.gather(ask(), ask())]

        assert run_in_pool(pool, whole) == [(threading.get_ident(), False)] * 3
        pool.join()

    def test_loop_that_cannot_start_is_an_error(
        self, pool: Threads, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def whole() -> None: ...

        def refuse(coroutine: Any) -> None:
            coroutine.close()
            raise OSError("no more descriptors")

        monkeypatch.setattr(greenlets, "asyncio", types.SimpleNamespace(run=refuse))
        with pytest.raises(OSError, match="descriptors"):
            run_in_pool(pool, whole)
        pool.join()

    def test_errors_come_out_of_both_threads(self, pool: Threads) -> None:
        def failing() -> None:
            raise KeyError("k")

        async def whole(call: Any) -> None:
            await sync_to_async(failing)() if call else failing()

        for call in (True, False):
            with pytest.raises(KeyError):
                run_in_pool(pool, functools.partial(whole, call))

        async def ends() -> None:
            raise SystemExit(3)

        with pytest.raises(SystemExit):
            run_in_pool(pool, ends)
        pool.join()

    def test_context_variables_go_along_and_come_back(self, pool: Threads) -> None:
        def here() -> str:
            before = NAME.get()
            NAME.set("here")
            return before

        async def whole() -> list[str]:
            seen = [NAME.get()]
            NAME.set("there")
            return [*seen, await sync_to_async(here)(), NAME.get()]

        def caller() -> None:
            NAME.set("alice")
            assert run_in_pool(pool, whole) == ["alice", "there", "here"]
            assert NAME.get() == "here"

        contextvars.copy_context().run(caller)
        pool.join()

    def test_caller_that_ends_leaves_no_thread_behind(self) -> None:
        pool, go = Leaving(), threading.Event()
        outcomes: list[Any] = []

        async def whole() -> None:
            for _ in range(2):
                try:
                    await sync_to_async(has_loop)()
                except BaseException as error:
                    outcomes.append(type(error))
                await asyncio.to_thread(go.wait, 10)

        with pytest.raises(SystemExit):
            run_in_pool(pool, whole)
        go.set()
        pool.join()
        # The first call was waiting, the second was made to no greenlet at all.
        assert outcomes == [asyncio.CancelledError] * 2

    def test_call_that_was_cancelled_is_not_made(self, pool: Threads) -> None:
        called: list[int] = []

        async def whole() -> None:
            context = SyncToAsync.thread_sensitive_context.get()
            errands = SyncToAsync.context_to_thread_executor[context]
            go = threading.Event()
            first = errands.submit(go.wait, 10)
            assert errands.submit(called.append, 1).cancel()
            go.set()
            await asyncio.wrap_future(first)

        run_in_pool(pool, whole)
        pool.join()
        assert called == []


class TestGreenletPool:
    def test_threads_of_python_need_none(self) -> None:
        assert greenlet_pool() is None

    @pytest.mark.parametrize(
        ("module", "asks", "found"),
        [
            ("gevent.monkey", "is_module_patched", greenlets._Gevent),
            ("eventlet.patcher", "is_monkey_patched", greenlets._Eventlet),
        ],
    )
    def test_patched_threads(
        self, monkeypatch: pytest.MonkeyPatch, module: str, asks: str, found: type
    ) -> None:
        for patched in (True, False):
            stub = types.SimpleNamespace(**{asks: lambda name, patched=patched: patched})
            monkeypatch.setitem(sys.modules, module, stub)  # type: ignore[arg-type]  # no module
            assert isinstance(greenlet_pool(), found) is patched

    def test_hooks_and_handles_wait_in_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pool = Threads()
        monkeypatch.setattr(concurrency, "greenlet_pool", lambda: pool)

        async def hook() -> int:
            return threading.get_ident()

        async def another_greenlets_loop() -> int:
            assert not on_running_loop()
            refuse_on_loop("generate")
            thread: int = drive(inline(hook)())
            return thread

        assert asyncio.run(another_greenlets_loop()) == pool.threads[0].ident
        pool.join()
