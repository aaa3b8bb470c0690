"""The clock that is used where no other is given."""

from __future__ import annotations

import time


def system_clock() -> float:
    """Return the Unix time in seconds.

    `time.time` is looked up at each call. As a default argument it would be bound when a module is
    imported, and a test that freezes the time would freeze nothing here.
    """
    return time.time()
