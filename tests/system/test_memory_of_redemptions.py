"""Redemptions leave nothing behind: with each adapter, under both interfaces.

What stays after a redemption grows with each span of them. Caches that fill and dictionaries that
are rebuilt grow in some spans alone, so the span in which least was added counts.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import log_watch
import pytest
from harness import NAVIGATION, SECRET, Site, World
from sessions.sites import make_django_people
from token_watch import token_record

from ott_middleware import (
    CookieSession,
    DjangoSession,
    FlaskSession,
    SealedSession,
    Session,
    StarletteSession,
)
from ott_middleware.tokens.recent import recent

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("untraced")]

# Of each adapter under each interface; of Django, which takes ten times as long, a quarter.
REDEMPTIONS = int(os.environ.get("OTT_TEST_REDEMPTIONS", "160"))
SPANS = 4
MOST = 4096  # bytes, in the least of all spans: 102 for each redemption of a short run


def flask_session() -> FlaskSession:
    from flask import Flask

    app = Flask("memory")
    app.secret_key = SECRET
    return FlaskSession(app, match="id")


def django_session() -> DjangoSession:
    make_django_people()
    return DjangoSession(mode="fork", match="id")


ADAPTERS: dict[str, Callable[[], Any]] = {
    "CookieSession": lambda: CookieSession("sid", probe="/probe"),
    "SealedSession": lambda: SealedSession(SECRET),
    "DjangoSession": django_session,
    "FlaskSession": flask_session,
    "StarletteSession": lambda: StarletteSession(secret_key=SECRET, match="id"),
}


@pytest.fixture(scope="module", autouse=True)
def _without_earlier_tests() -> None:
    # What these left takes each collection longer than what is measured.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _short_tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # The watches keep each line, each cookie and each token, and pytest each record.
    monkeypatch.setattr(log_watch, "watches", [])
    monkeypatch.setattr(token_record, "_keeper", 0)
    logging.disable()
    # Filled before the memory is measured: in a short run the bound is low.
    monkeypatch.setattr(recent, "_most", min(2048, REDEMPTIONS // SPANS))
    recent.renew_after_fork()
    yield
    tracemalloc.stop()
    logging.disable(logging.NOTSET)


def redeem(site: Site, session: Session) -> None:
    """Redeem one token by a link, and one by the verify path."""
    opened = site.get(f"/welcome?ott={site.token(session)}", NAVIGATION)
    assert opened.status == 303
    assert opened.cookies
    assert site.verify(site.token(session)).status == 200
    site.seen.clear()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_redemptions_leave_nothing_behind(world: World, adapter: str) -> None:
    site = world.serve(session=ADAPTERS[adapter](), max_per_session=None)
    token = "x" if adapter == "CookieSession" else ""
    session = Session(id="s", token=token, user_id="1", user={"id": "1"})
    redemptions = REDEMPTIONS // 4 if adapter == "DjangoSession" else REDEMPTIONS
    tracemalloc.start()
    held = []
    pairs = redemptions // SPANS // 2
    # The first span fills what is bounded.
    for span in (min(2 * pairs, 4096), *[pairs] * SPANS):
        for _ in range(span):
            redeem(site, session)
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
    grown = [after - before for before, after in itertools.pairwise(held)]
    assert min(grown) < MOST, f"bytes after each of {SPANS} spans: {grown}"
