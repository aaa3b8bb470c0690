"""Remembers sessions that ended, or had tokens revoked, while a token was being generated."""

from __future__ import annotations

import threading
from array import array

from ..forks import renew_in_children


class Revocations:
    """Remembers revocations in memory of a fixed size: 256 KiB, whatever the number of sessions.

    When a session is revoked, a backend deletes the tokens that it has; a `put` that arrives later
    would leave a live token behind. So the token service notes the moment at which it began to
    generate a token, and checks after its `put` whether the session was revoked since.

    Sessions share slots: where another session of the same slot was revoked meanwhile, a token is
    refused without need (one in 16,384), and its client retries. No revocation is ever missed.

    :param slots: the size of each of the two tables.
    """

    def __init__(self, slots: int = 16_384) -> None:
        self._slots = slots
        self._lock = threading.Lock()
        self._moment = 0
        self._revoked = array("Q", bytes(8 * slots))
        self._ended = array("Q", bytes(8 * slots))

    def now(self) -> int:
        """Return the number of revocations until now."""
        return self._moment

    def note_revoked(self, session_id: str) -> None:
        """Note that a session's tokens are revoked; call it before the backend's `revoke`."""
        self._note(self._revoked, session_id)

    def note_ended(self, session_id: str) -> None:
        """Note that a session ended; call it before the backend's `revoke`."""
        self._note(self._ended, session_id)

    def revoked_since(self, session_id: str, moment: int) -> bool:
        """Return whether tokens of a session were revoked after `moment`."""
        return self._revoked[hash(session_id) % self._slots] > moment

    def ended_since(self, session_id: str, moment: int) -> bool:
        """Return whether a session ended after `moment`."""
        return self._ended[hash(session_id) % self._slots] > moment

    def _note(self, table: array[int], session_id: str) -> None:
        # Without the lock, the earlier of two notes could overwrite the later one.
        with self._lock:
            self._moment += 1
            table[hash(session_id) % self._slots] = self._moment

    def renew_after_fork(self) -> None:
        """Give a forked child a new lock: the inherited one may stay locked for ever."""
        self._lock = threading.Lock()


#: Shared by all services and sites of this process.
revocations = Revocations()
renew_in_children(revocations)
