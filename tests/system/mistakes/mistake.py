"""One row of the table of mistakes: what a developer did, and what they read then."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ott_middleware.errors import OTTError


@dataclass(frozen=True)
class Mistake:
    """A mistake that can be made.

    :param done: what the developer did, as the docs' table says it.
    :param make: makes the mistake, and returns what the developer reads: the text of an error, or
        the log's lines. :func:`read_error` and :func:`read_log` help.
    :param cure: the words of that text which name the cure; the docs' table shows them.
    """

    done: str
    make: Callable[[], str]
    cure: str


def read_error(call: Callable[[], object], kind: type[Exception] = OTTError) -> str:
    """Return the text of the error that `call` raises."""
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__} was raised")


@contextmanager
def read_log(level: int = logging.WARNING) -> Iterator[list[str]]:
    """Collect the lines that the package logs at `level` or above, while the block runs."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = logging.getLogger("ott_middleware"), Lines(level)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(level, logger.getEffectiveLevel()))
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
