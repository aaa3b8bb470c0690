"""Races for one token: of all callers, in threads, tasks, processes or forks, one may get it."""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import select
import signal
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..backends.base import Backend
from ..errors import OTTError, Unavailable
from .sync_async import SECONDS, Call, Caller, acall, arace, caller_of

_VALUE = b"redeemed"
# Spawned, not forked: nothing that this process holds open goes along.
_START = "spawn"
# How often the parent of forked processes asks again, and after how many seconds.
_TRIES, _PAUSE = 3, 0.2
_HUNG = 20.0  # seconds after which a forked child has hung


def assert_single_use(backend: Backend, *, rounds: int = 50, callers: int = 8) -> None:
    """Let threads race for tokens, one token after the other.

    A backend that is async only is raced by tasks, on an event loop made for it, and closed with
    that loop; inside a loop use `aassert_single_use`. The store need not be empty.

    :param rounds: how many tokens.
    :param callers: how many threads or tasks ask for each.
    :raises AssertionError: a token was given to two, or to none.
    """
    caller = caller_of(backend)
    try:
        for key in _keys(rounds):
            caller.call(_put_call(backend, key))
            check_winners(caller.race([_take_call(key)] * callers))
    finally:
        if backend.async_only:
            caller.close()  # its connections belong to the loop, which ends here


async def aassert_single_use(backend: Backend, *, rounds: int = 50, callers: int = 8) -> None:
    """Let the tasks of the running loop race for tokens: see `assert_single_use`."""
    for key in _keys(rounds):
        await acall(backend, _put_call(backend, key))
        check_winners(await arace(backend, [_take_call(key)] * callers))


def assert_single_use_across(
    connect: Callable[[], Backend], *, rounds: int = 50, processes: int = 3
) -> None:
    """Let processes race for tokens.

    :param connect: makes a backend of the store that all processes share. It is called in each
        of them, and so must be something that can be pickled: a function of a module, or
        `functools.partial(MyBackend, "…")`.
    :param rounds: how many tokens.
    :param processes: how many processes ask for each.
    :raises AssertionError: a token was given to two, or to none.
    """
    keys = _keys(rounds)
    caller = caller_of(connect())
    try:
        for key in keys:
            caller.call(_put_call(caller.backend, key))
    finally:
        caller.close()
    context = multiprocessing.get_context(_START)
    barrier = context.Barrier(processes)
    taken = _spawn(context, processes, _take_all, connect, keys, barrier)
    for of_one_key in zip(*taken, strict=True):
        check_winners(of_one_key)


def _spawn(context: Any, count: int, target: Callable[..., None], *arguments: Any) -> list[Any]:
    """Run a function in new processes; return what each puts into the queue that it is given."""
    results = context.Queue()
    processes = [
        context.Process(target=target, args=(*arguments, results), daemon=True)
        for _ in range(count)
    ]
    for process in processes:
        process.start()
    try:
        return [results.get(timeout=2 * SECONDS) for _ in processes]
    finally:
        for process in processes:
            process.join(5)
            process.kill()
        results.close()


def _take_all(
    connect: Callable[[], Backend], keys: Sequence[str], barrier: Any, results: Any
) -> None:
    backend = connect()
    caller = caller_of(backend)
    taken: list[Any] = []
    for key in keys:
        barrier.wait(SECONDS)
        taken += caller.race([_take_call(key)])
    caller.close()
    results.put([value if value is None else bytes(value) for value in taken])


def assert_fork_safe(connect: Callable[[], Backend], *, rounds: int = 4, children: int = 2) -> None:
    """Fork a process that uses a backend, with threads amid their operations, and ask both sides.

    Of the parent and its children one gets the token, and no child hangs. A child may also be
    refused (`BackendUnavailable`): that fails closed. The process that is forked is made for it.

    :param connect: makes the backend, as for `assert_single_use_across`. Its store may be the
        process's own memory.
    :param rounds: how many tokens.
    :param children: how many forked processes ask for each, one after the other, before the parent.
    :raises AssertionError: a token was given to two, or to none; or a child hung or failed.
    """
    context = multiprocessing.get_context(_START)
    (taken,) = _spawn(context, 1, _fork_all, connect, rounds, children)
    for of_one_key in taken:
        for outcome in of_one_key:
            if outcome not in (None, _VALUE.decode()):
                raise AssertionError(f"after a fork, a process {outcome}")
        check_winners([outcome and outcome.encode() for outcome in of_one_key])


def _fork_all(connect: Callable[[], Backend], rounds: int, children: int, results: Any) -> None:
    # Python 3.12 warns of forks in a process with threads, which is what this is about.
    warnings.simplefilter("ignore", DeprecationWarning)
    backend = connect()
    caller = caller_of(backend)
    keys = _keys(rounds)
    for key in keys:
        caller.call(_put_call(backend, key))
    stop = threading.Event()
    # A loop's operations are the loop's alone, and it does not run while the process forks.
    workers = [
        threading.Thread(target=_work, args=(caller, stop), daemon=True)
        for _ in range(0 if backend.async_only else 2)
    ]
    for worker in workers:
        worker.start()
    taken = []
    for key in keys:
        outcomes = [_in_child(backend, key) for _ in range(children)]
        # Where no child got the value, the parent must: it asks again if the engine was too busy.
        lost = set(outcomes) == {None}
        taken.append([*outcomes, (_insist if lost else _outcome)(caller, key)])
        if not set(outcomes) <= {None, _VALUE.decode()}:
            break  # seconds are lost with each child that hangs
    stop.set()
    for worker in workers:
        worker.join(SECONDS)
    caller.close()
    results.put(taken)


def _work(caller: Caller, stop: threading.Event) -> None:
    while not stop.is_set():
        _outcome(caller, _put_own(caller))


def _put_own(caller: Caller) -> str:
    (key,) = _keys(1)
    caller.call(_put_call(caller.backend, key, owner=key))
    return key


def _in_child(backend: Backend, key: str) -> str | None:
    """What a forked child gets for a key; or in words what went wrong."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - ends without a word to what measures
        outcome: str | None = "failed"
        try:
            caller = caller_of(backend)  # with a loop of the child's own
            outcome = _outcome(caller, key)
            if outcome is None:
                outcome = _uses_own(caller)
        finally:
            os.write(writer, json.dumps(outcome).encode())
            os._exit(0)
    os.close(writer)
    try:
        if not select.select([reader], [], [], _HUNG)[0]:
            os.kill(pid, signal.SIGKILL)
            return f"has hung for {_HUNG:.0f} seconds"
        result: str | None = json.loads(os.read(reader, 4096))
        return result
    finally:
        os.waitpid(pid, 0)
        os.close(reader)


def _uses_own(caller: Caller) -> str | None:
    """Put and take in a child; None if that works, or is refused."""
    try:
        key = _put_own(caller)
    except Unavailable:
        return None
    outcome = _outcome(caller, key)
    return None if outcome == _VALUE.decode() else f"put a value and then got {outcome}"


def _insist(caller: Caller, key: str) -> str | None:
    """Take a key, again where the engine was too busy to respond."""
    for _ in range(_TRIES):
        if (outcome := _outcome(caller, key)) is not None:
            return outcome
        time.sleep(_PAUSE)
    return _outcome(caller, key)


def _outcome(caller: Caller, key: str) -> str | None:
    try:
        value = caller.call(_take_call(key))
    except Unavailable:
        return None
    except OTTError as error:
        return f"failed with {type(error).__name__}"
    return None if value is None else bytes(value).decode("latin-1")


def check_winners(results: Sequence[Any]) -> None:
    """Check that of the takes of one key one got the value, and the others nothing."""
    for result in results:
        if isinstance(result, BaseException):
            raise AssertionError(
                f"take raised {type(result).__name__} where it had to return"
            ) from result
    winners = [result for result in results if result is not None]
    if len(winners) != 1:
        raise AssertionError(f"{len(winners)} of {len(results)} got the value of one token")
    if bytes(winners[0]) != _VALUE:
        raise AssertionError("the winner got another value than was put")


def _put_call(backend: Backend, key: str, owner: str = "owner") -> Call:
    expires_at = backend.clock() + 2 * SECONDS
    return Call("put", (key, _VALUE), {"expires_at": expires_at, "owner": owner, "limit": None})


def _take_call(key: str) -> Call:
    return Call("take", (key,))


def _keys(rounds: int) -> list[str]:
    return [f"race:{secrets.token_hex(12)}" for _ in range(rounds)]
