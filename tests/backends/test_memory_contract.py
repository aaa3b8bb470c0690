from __future__ import annotations

from collections.abc import Callable

from ott_middleware import Backend, MemoryBackend
from ott_middleware.testing import BackendContract


class TestMemory(BackendContract):
    def make_backend(self, clock: Callable[[], float]) -> Backend:
        return MemoryBackend(clock=clock)

    def before_fork(self) -> Callable[[], Backend]:
        return MemoryBackend

    def make_small_backend(self, clock: Callable[[], float]) -> Backend:
        return MemoryBackend(10, clock=clock)
