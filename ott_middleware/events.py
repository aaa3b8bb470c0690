"""Tells `on_event` what becomes of tokens, for audits and metrics.

The hook is called in a thread of its own, from a queue with an end: a hook that waits holds up no
request, and one that raises breaks none. When the queue is full, events are dropped and counted. An
`async def` hook runs in the same thread, on an event loop that lasts for one event.
"""

from __future__ import annotations

import atexit
import hmac
import inspect
import logging
import secrets
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from .concurrency import run_in_worker
from .crypto import derive
from .forks import renew_in_children
from .hooks import hook_failed
from .reasons import Reason

logger = logging.getLogger("ott_middleware")

# Events that wait for a slow hook: some megabytes at most.
QUEUE_SIZE = 1000
# How long a process that ends waits for the hook.
EXIT_SECONDS = 2.0
_PROCESS_KEY = secrets.token_bytes(32)


Kind = Literal["generated", "redeemed", "refused", "revoked", "replayed"]


@dataclass(frozen=True, slots=True)
class Event:
    """What became of a token, or of a request for one. It holds no token and no cookie.

    :ivar kind: what happened. A token that was redeemed has signed a user in, or has been
        exchanged for a session by a server. One that was replayed was used before, by another
        browser; `session_id` is that of its first use.
    :ivar time: aware, in UTC, by the clock of the token service.
    :ivar session_id: the session's id, where it is known.
    :ivar channel: what the token is for; None for `revoked`, which concerns all channels.
    :ivar audience: the origin that the token is bound to; None if it is bound to none, or if that
        is not known.
    :ivar fingerprint: tells one token from another, at all sites with the same `secret` (without
        one: in this process). The token cannot be computed from it. None where there is no token.
    :ivar reason: why a request was refused; None for all other kinds.
    """

    kind: Kind
    time: datetime
    session_id: str | None = None
    channel: str | None = None
    audience: str | None = None
    fingerprint: str | None = None
    reason: Reason | None = None


OnEvent = Callable[[Event], "Awaitable[None] | None"]


class Events:
    """Sends events to a hook.

    :param hook: the option `on_event`.
    :param clock: tells the time in Unix seconds.
    :param secret: keys the fingerprints; None for a key of this process.
    """

    def __init__(self, hook: OnEvent, clock: Callable[[], float], secret: bytes | None) -> None:
        self._clock = clock
        self._key = derive(secret or _PROCESS_KEY, None, "event fingerprint")
        self._worker = _Worker(hook)
        # The worker's thread does not hold this object: it ends with the middleware.
        weakref.finalize(self, self._worker.stop).atexit = False

    @property
    def dropped(self) -> int:
        """The number of events that were dropped since the queue was full."""
        return self._worker.dropped

    def send(
        self,
        kind: Kind,
        *,
        token: str | None = None,
        session_id: str | None = None,
        channel: str | None = None,
        audience: str | None = None,
        reason: Reason | None = None,
    ) -> None:
        """Have the hook called with a new event, soon. Never waits, and never raises."""
        now = datetime.fromtimestamp(self._clock(), timezone.utc)
        printed = None if token is None else self._fingerprint(token)
        self._worker.put(Event(kind, now, session_id, channel, audience, printed, reason))

    def flush(self, seconds: float) -> bool:
        """Wait until the hook has had all events; return whether it has."""
        return self._worker.flush(seconds)

    def _fingerprint(self, token: str) -> str:
        # A token of an own service may be any text. (An error would quote it in a server's log.)
        return hmac.digest(self._key, token.encode("utf-8", "surrogatepass"), "sha256")[:8].hex()


class _Worker:
    """Events that wait, and the thread that hands them on, which starts with the first one.

    Not a `queue.Queue`: those of gevent and eventlet do not tell when all events are done.
    """

    def __init__(self, hook: OnEvent) -> None:
        self._hook = hook
        self._ended = False
        self.renew_after_fork()
        renew_in_children(self)
        _workers.add(self)

    def renew_after_fork(self) -> None:
        """Start anew in a forked child: the parent's thread has the parent's events."""
        self.dropped = 0
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._thread: threading.Thread | None = None

    def put(self, event: Event) -> None:
        with self._changed:
            if len(self._events) < QUEUE_SIZE and self._has_thread():
                self._events.append(event)
                self._changed.notify_all()
                return
            self.dropped += 1
            first = self.dropped == 1
        if first:
            logger.warning(
                "on_event= is too slow: %d events wait, and events are dropped (logged once; "
                "Events.dropped counts them). Hand the events on to a queue of your own",
                len(self._events),
            )

    def stop(self) -> None:
        """End the thread, after the events that wait."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._events, seconds)

    def _has_thread(self) -> bool:
        if self._thread is None:
            name = "ott_middleware on_event"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # there are too many, or the interpreter ends
                return False
            self._thread = thread
        return True

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._events or self._ended)
                if not self._events:
                    return
                event = self._events[0]  # it stays until it is done, so that `flush` waits for it
            _call(self._hook, event)
            with self._changed:
                self._events.popleft()
                self._changed.notify_all()


_workers: weakref.WeakSet[_Worker] = weakref.WeakSet()


@atexit.register
def _flush_all() -> None:
    for worker in list(_workers):
        worker.flush(EXIT_SECONDS)


def _call(hook: OnEvent, event: Event) -> None:
    try:
        result = hook(event)
        if inspect.isawaitable(result):
            awaitable = result
            run_in_worker(lambda: awaitable)
    # A hook that calls sys.exit() must not end the thread, and so all further events.
    except BaseException as error:
        logger.error("%s", hook_failed("on_event=", error))
