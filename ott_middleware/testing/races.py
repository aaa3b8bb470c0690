"""Races for one token: of many who take it at once, one may get it."""

from __future__ import annotations

import multiprocessing
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..backends.base import Backend
from .colours import SECONDS, acall, arace, colour_of, put_call, take_call

_VALUE = b"redeemed"


def assert_single_use(backend: Backend, *, rounds: int = 50, callers: int = 8) -> None:
    """Let threads race for tokens, one token after the other.

    A backend that is asynchronous only is raced by tasks, on an event loop made for it, and closed
    with that; inside a loop use `aassert_single_use`. The store need not be empty.

    :param rounds: how many tokens.
    :param callers: how many threads or tasks ask for each.
    :raises AssertionError: a token was given to two, or to none.
    """
    colour = colour_of(backend)
    try:
        for key in _keys(rounds):
            colour.call(put_call(key, _VALUE, expires_at=_soon(backend)))
            check_winners(colour.race([take_call(key)] * callers))
    finally:
        if backend.async_only:
            colour.close()  # its connections belong to the loop, which ends here


async def aassert_single_use(backend: Backend, *, rounds: int = 50, callers: int = 8) -> None:
    """Let the tasks of the running loop race for tokens: see `assert_single_use`."""
    for key in _keys(rounds):
        await acall(backend, put_call(key, _VALUE, expires_at=_soon(backend)))
        check_winners(await arace(backend, [take_call(key)] * callers))


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
    backend = connect()
    colour = colour_of(backend)
    try:
        for key in keys:
            colour.call(put_call(key, _VALUE, expires_at=_soon(backend)))
    finally:
        colour.close()
    # Spawned, not forked: nothing that this process holds open goes along.
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    answers = context.Queue()
    workers = [
        context.Process(target=_take_all, args=(connect, keys, barrier, answers), daemon=True)
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    try:
        taken = [answers.get(timeout=SECONDS) for _ in workers]
    finally:
        for worker in workers:
            worker.join(5)
            worker.kill()
        answers.close()
    for of_one_key in zip(*taken, strict=True):
        check_winners(of_one_key)


def _take_all(
    connect: Callable[[], Backend], keys: Sequence[str], barrier: Any, answers: Any
) -> None:
    backend = connect()
    colour = colour_of(backend)
    taken: list[Any] = []
    for key in keys:
        barrier.wait(SECONDS)
        taken += colour.race([take_call(key)])
    colour.close()
    answers.put([value if value is None else bytes(value) for value in taken])


def check_winners(answers: Sequence[Any]) -> None:
    """Of those who took one key, one must have got the value, and the others nothing."""
    for answer in answers:
        if isinstance(answer, BaseException):
            raise AssertionError(
                f"take raised {type(answer).__name__} where it had to answer"
            ) from answer
    winners = [answer for answer in answers if answer is not None]
    if len(winners) != 1:
        raise AssertionError(f"{len(winners)} of {len(answers)} got the value of one token")
    if bytes(winners[0]) != _VALUE:
        raise AssertionError("the winner got another value than was put")


def _soon(backend: Backend) -> float:
    clock: Callable[[], float] = getattr(backend, "clock", time.time)
    return clock() + 2 * SECONDS


def _keys(rounds: int) -> list[str]:
    return [f"race:{secrets.token_hex(12)}" for _ in range(rounds)]
