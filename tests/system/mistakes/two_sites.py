"""Mistakes with two sites, their links and their store."""

from __future__ import annotations

from typing import Any

from mistake import Mistake, read_log

from ott_middleware.backends import private_store

MADE_UP = "A" * 32


def serve(**options: Any) -> Any:
    from harness import World  # the page of the docs is made without the folder of tests

    return World("wsgi").serve(**options)


def link_to_another_site_from_memory() -> str:
    with read_log() as lines:
        serve(handoff_targets=["https://b.example"])
    return "\n".join(lines)


def link_of_a_site_with_another_store() -> str:
    private_store._unknown_seen.clear()
    with read_log() as lines:
        serve().open(f"/?ott={MADE_UP}")
    return "\n".join(lines)


MISTAKES = (
    Mistake(
        "two sites, each with the default store, which is the memory of one process",
        link_to_another_site_from_memory,
        "pass one backend= that both sites reach, and the same secret=",
    ),
    Mistake(
        "a link is opened at a site that does not share the store of the site that made it",
        link_of_a_site_with_another_store,
        "made by another site or worker",
    ),
)
