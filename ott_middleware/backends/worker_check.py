"""Warns about a second process where tokens are in the memory of one."""

from __future__ import annotations

import atexit
import errno
import hashlib
import logging
import os
import socket
import sys
from typing import ClassVar

logger = logging.getLogger("ott_middleware")

_ONE_PROCESS = (
    "MemoryBackend: %s. A token made in one process is unknown in the others, so that links fail "
    "by chance. Run one process, or give all of them one store: "
    "OTTMiddleware(app, backend=...) with a backend that is shared."
)


class WorkerCheck:
    """Logs once that there is more than one process with a memory of its own."""

    _warned = False
    _seen: ClassVar[dict[int, object]] = {}

    def __init__(self) -> None:
        self._pid = os.getpid()
        workers = os.environ.get("WEB_CONCURRENCY", "")
        if workers.isdecimal() and int(workers) > 1:
            self._warn(f"WEB_CONCURRENCY is {workers}")

    def check(self) -> None:
        """Compare this process with those seen before, and log a warning if it is another one."""
        pid = os.getpid()
        if self._pid != pid:
            self._pid = pid
            self._warn("the process was forked after this backend was made; the child starts empty")
        # Of two threads that get here at once, one claims: the other would find the name taken, and
        # by its own process.
        mine = object()
        if pid not in WorkerCheck._seen and WorkerCheck._seen.setdefault(pid, mine) is mine:
            self._claim_workers_name()

    def _claim_workers_name(self) -> None:
        # Workers of one server have one parent and one command line. The first of them to get here
        # takes a name (in Linux's abstract namespace: no file, gone with the process); a process
        # that finds it taken is the second.
        if not sys.platform.startswith("linux"):
            return
        try:
            where = (os.getppid(), os.getuid(), os.getcwd(), sys.argv)
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        except OSError:
            return  # a sandbox without such sockets: no reason to refuse tokens
        name = hashlib.sha256(repr(where).encode("utf-8", "replace")).hexdigest()
        try:
            claim.bind(b"\0ott_middleware:" + name.encode("ascii"))
        except OSError as error:
            claim.close()
            if error.errno == errno.EADDRINUSE:
                self._warn("a second worker process runs this app")
            return
        # Held until this process ends, and by no child, which might live on.
        atexit.register(claim.close)
        os.register_at_fork(after_in_child=claim.close)

    def _warn(self, what: str) -> None:
        if not WorkerCheck._warned:
            WorkerCheck._warned = True
            logger.warning(_ONE_PROCESS, what)
