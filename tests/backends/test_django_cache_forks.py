"""Connections of a Django cache and forks: a child uses none of its parent's."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ott_middleware.backends import DjangoCacheBackend, django_cache

from .test_django_cache import local

LATER: dict[str, Any] = {"owner": "owner", "limit": None}


class Interrupted(DjangoCacheBackend):
    """A backend that another thread uses between any two steps of the first one."""

    watching = False

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if self.watching:
            self.__dict__["watching"] = False
            with self._cache() as cache:
                self.__dict__.setdefault("seen", []).append(cache)
            self.__dict__["watching"] = True


@pytest.fixture
def backend() -> Iterator[Interrupted]:
    with local():
        made = Interrupted("ott")
        made.put("key", b"value", expires_at=time.time() + 60, **LATER)
        yield made


def fork(monkeypatch: pytest.MonkeyPatch) -> None:
    child = os.getpid() + 1
    monkeypatch.setattr(django_cache.os, "getpid", lambda: child)


def test_threads_of_a_child(backend: Interrupted, monkeypatch: pytest.MonkeyPatch) -> None:
    with backend._cache() as of_parent:
        pass
    fork(monkeypatch)
    backend.__dict__["watching"] = True
    with backend._cache() as first:
        backend.__dict__["watching"] = False
    assert first is not of_parent
    seen = backend.__dict__["seen"]
    assert seen
    assert all(cache is not of_parent for cache in seen)


def test_fork_amid_an_operation(backend: Interrupted, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a signal handler does it: the child goes on with the operation of its parent.
    with backend._cache() as of_parent:
        fork(monkeypatch)
        with backend._cache():
            pass
    with backend._cache() as first, backend._cache() as second:
        assert first is not of_parent
        assert second is not of_parent


def test_child_closes_nothing_of_its_parent(
    backend: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    with backend._cache() as of_parent:
        of_parent.close = lambda: closed.append("parent's")
    fork(monkeypatch)
    backend.close()
    assert closed == []
