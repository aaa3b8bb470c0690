"""Mistakes in hooks, and links that nobody can tell why they fail without the log's reason."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from harness import Site, World, person
from mistake import Mistake, read_error, read_log
from sessions.club import ClubSession

from ott_middleware import CookieSession, MemoryBackend, SealedSession
from ott_middleware.errors import ConfigurationError

_SECRET = "a secret of thirty-two characters"


def _arrive(match: Callable[..., Any], level: int = logging.WARNING) -> str:
    """Redeem a link of a site that exposes the user's id alone; return the log's lines."""
    world = World("wsgi")
    backend = MemoryBackend(clock=world.clock)
    source = world.serve(session=ClubSession(secret="another"), backend=backend)
    site = world.serve(session=ClubSession(match=match), backend=backend)
    token = source.token(person("ada"))
    with read_log(level) as lines:
        site.verify(token)
    return "\n".join(lines)


def _log_of(ask: Callable[[Site], object], level: int = logging.WARNING, **options: Any) -> str:
    site = World("wsgi").serve(**options)
    with read_log(level) as lines:
        ask(site)
    return "\n".join(lines)


def _signed_in(site: Site) -> object:
    return site.generate({"cookie": "sid=alice-cookie"})


def _no_such_user(values: Any) -> Any:
    raise LookupError(values)


def _slow_event() -> str:
    import threading

    go = threading.Event()
    site = World("wsgi").serve(on_event=lambda event: go.wait(30))
    with read_log() as lines:
        for _ in range(1010):
            site.flow.services.reports.events.send("revoked")
        go.set()
    return "\n".join(lines)


def _break_event() -> str:
    site = World("wsgi").serve(on_event=lambda event: event.no_such_field)
    with read_log() as lines:
        site.verify("x")
        site.flow.services.reports.events.flush(10)
    return "\n".join(lines)


MISTAKES = (
    Mistake(
        "`match` reads a field that the source does not expose",
        lambda: _arrive(lambda session: session.user["email"]),
        "the source sent no field 'email': add expose=['email'] there",
    ),
    Mistake(
        "`match` asks for such a field with `.get()`, and finds no user",
        lambda: _arrive(lambda session: session.user.get("email")),
        "match= found no user, since the source sent no field 'email': add expose=['email'] there",
    ),
    Mistake(
        "`match` is a plain function that returns a coroutine",
        lambda: _arrive(lambda session: _later()),
        "match= gave an awaitable: make it ",
    ),
    Mistake(
        "`match` of `SealedSession` returns something that is no user",
        lambda: _log_of(
            lambda site: site.verify(site.token(person("ada"))),
            session=SealedSession(_SECRET, match=lambda session: {"name": "Ada"}),
        ),
        "match= returned a dict: return the user's id, or a mapping with an 'id', or None",
    ),
    Mistake(
        "a hook raises",
        lambda: _log_of(
            _signed_in,
            session=CookieSession("sid", validate=_no_such_user, renews_key=True),
        ),
        "validate= raised LookupError at hooks.py",
    ),
    Mistake(
        "`validate` returns `True`",
        lambda: _log_of(
            _signed_in,
            session=CookieSession("sid", validate=lambda values: True, renews_key=True),
        ),
        "validate= returned bool: return None or a mapping",
    ),
    Mistake(
        "`on_event` is no function",
        lambda: read_error(lambda: World("wsgi").serve(on_event="print"), ConfigurationError),
        "on_event: 'print'; pass a function of the event",
    ),
    Mistake("`on_event` raises", _break_event, "on_event= raised AttributeError at hooks.py"),
    Mistake("`on_event` is slow", _slow_event, "Hand the events on to a queue of your own"),
    Mistake(
        "a link is opened at another site than the one that it is bound to (log at DEBUG)",
        lambda: _log_of(
            lambda site: site.verify(site.token(audience="https://b.example")),
            logging.DEBUG,
            public_origin="https://c.example",
        ),
        "bound to https://b.example, and redeemed for https://c.example",
    ),
    Mistake(
        "a front end of another origin calls a path (log at DEBUG)",
        lambda: _log_of(
            lambda site: site.generate({"origin": "https://front.example"}), logging.DEBUG
        ),
        "https://front.example is neither this site's own origin",
    ),
    Mistake(
        "the body of a verify request has another shape (log at DEBUG)",
        lambda: _log_of(
            lambda site: site.post_verify(json.dumps({"ott": "x"}).encode()), logging.DEBUG
        ),
        "[body.token] Invalid input: expected string, received undefined",
    ),
)


async def _later() -> None:
    return None
