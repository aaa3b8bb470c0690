"""The lines of the doctor: plain text, one for each finding."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ..reasons import Word


class Report:
    """Writes findings as lines, and remembers whether one failed.

    :ivar status: the exit status: 1 where a check failed.
    """

    def __init__(self, stream: TextIO) -> None:
        self.status = 0
        self._stream = stream

    def ok(self, subject: str, text: str) -> None:
        """Write what works."""
        self._write("ok", subject, text)

    def warn(self, subject: str, text: str, cure: str) -> None:
        """Write what may fail, and the cure."""
        self._write("warning", subject, f"{text}: {cure}")

    def fail(self, subject: str, text: str, cure: str = "", *, word: Word | None = None) -> None:
        """Write what does not work, and the cure.

        :param word: the reason word of the requests that are refused for it: the log has it too,
            and the documentation's page Errors has an entry of that name.
        """
        self.status = 1
        see = f" (documentation, Errors: {word})" if word else ""
        self._write("failed", subject, (f"{text}: {cure}" if cure else text) + see)

    @contextmanager
    def log_lines(self) -> Iterator[None]:
        """Write the warnings that the package logs while the block runs."""
        report = self

        class Lines(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                report._write("warning", "log", record.getMessage())

        logger, handler = logging.getLogger("ott_middleware"), Lines(logging.WARNING)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    def _write(self, word: str, subject: str, text: str) -> None:
        line = f"{word:<8} {subject}: {' '.join(text.split())}"
        self._stream.write(line + "\n")
        self._stream.flush()
