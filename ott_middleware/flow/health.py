"""`check()`: whether the store of a middleware works, for a readiness probe."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from ..concurrency import drive, refuse_on_loop, within
from ..errors import OTTError
from ..tokens.probe import try_store
from ..tokens.service import OneTimeTokens
from .services import Services

logger = logging.getLogger("ott_middleware")


@dataclass(frozen=True, slots=True)
class Health:
    """The result of `check()`: true where the store works.

    :ivar ok: whether a value was put into the store and taken out again.
    :ivar seconds: how long that took.
    :ivar problem: what failed, with the cure where one is known; empty where all is well. It holds
        no secret.
    """

    ok: bool
    seconds: float
    problem: str = ""

    def __bool__(self) -> bool:
        return self.ok


class Checked:
    """The methods `check` and `acheck` of a middleware."""

    _services: Services

    def _warn_of_second_layer(self, app: object) -> None:
        """Warn where an app is wrapped already, by a middleware that reads the same links."""
        if not isinstance(app, Checked):
            return
        inner, outer = app._services.options, self._services.options
        if (inner.query_param, inner.base_path) == (outer.query_param, outer.base_path):
            logger.warning(
                "the app is wrapped twice: the outer OTTMiddleware redeems the links, and the app "
                "makes them by the inner one, whose store and options may be others; wrap it once"
            )

    def check(self, timeout: float = 5.0) -> Health:
        """Put a random value into the store, take it out again, and return whether that worked.

        For a readiness probe. Nothing is raised where the store fails. A token service of the app's
        own (`tokens=`) is not tried, and counts as well.

        :param timeout: seconds to wait for the store.
        :raises RuntimeError: an event loop runs in this thread: use `await acheck()`.
        """
        refuse_on_loop("check")
        began = time.monotonic()
        results: list[Health] = []

        def work() -> None:
            results.append(drive(self._try_store(asynchronous=False)))

        # A store of the app's own may never respond: this thread waits for `timeout` at most.
        thread = threading.Thread(target=work, daemon=True, name="ott_middleware check")
        thread.start()
        thread.join(timeout)
        return results[0] if results else _late(began, timeout)

    async def acheck(self, timeout: float = 5.0) -> Health:
        """`check`, awaited."""
        began = time.monotonic()
        try:
            return await within(timeout, self._try_store(asynchronous=True))
        except TimeoutError:
            return _late(began, timeout)

    async def _try_store(self, *, asynchronous: bool) -> Health:
        """Do what `check` does, for a sync caller or for an event loop."""
        tokens = self._services.tokens
        if not isinstance(tokens, OneTimeTokens):
            return Health(True, 0.0)
        began = time.monotonic()
        problem = ""
        try:
            await try_store(tokens.backend, asynchronous=asynchronous)
        except OTTError as error:
            problem = f"{type(error).__name__}: {error}"
        return Health(not problem, time.monotonic() - began, problem)


def _late(began: float, timeout: float) -> Health:
    problem = f"the store did not respond within {timeout:g} s"
    return Health(False, time.monotonic() - began, problem)
