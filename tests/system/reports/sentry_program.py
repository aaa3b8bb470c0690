"""Runs failing apps under Sentry as it installs itself; prints where reports have a token."""

from __future__ import annotations

import json
from typing import Any

import sentry_sdk
from reported_apps import (
    asgi,
    ask_while_store_is_down,
    ask_with_live_tokens,
    django_asgi,
    django_wsgi,
    failing,
    fastapi,
    flask,
    places,
    session,
    set_up_django,
    starlette,
    wsgi,
)
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
from sentry_sdk.transport import Transport

from ott_middleware import OTTMiddleware, error_reports, flow

REPORTS: list[tuple[str, Any]] = []


class InProcess(Transport):
    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            REPORTS.append((item.type, json.loads(item.payload.get_bytes())))


def outside() -> dict[str, tuple[str, Any]]:
    """Apps with a layer of Sentry's around the middleware."""
    return {
        "Starlette, add_middleware": ("asgi", starlette(inside=True)),
        "FastAPI, add_middleware": ("asgi", fastapi(inside=True)),
        "Flask": ("wsgi", flask()),
        "ASGI, outside": ("asgi", SentryAsgiMiddleware(OTTMiddleware(asgi, session=session()))),
        "WSGI, outside": ("wsgi", SentryWsgiMiddleware(OTTMiddleware(wsgi, session=session()))),
    }


def inside() -> dict[str, tuple[str, Any]]:
    return {
        "Starlette": ("asgi", starlette(inside=False)),
        "FastAPI": ("asgi", fastapi(inside=False)),
        "Django, WSGI": ("wsgi", django_wsgi()),
        "Django, ASGI": ("asgi", django_asgi()),
    }


def begin(**hooks: Any) -> None:
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1",
        transport=InProcess,
        traces_sample_rate=1.0,
        send_default_pii=True,
        max_request_body_size="always",
        **hooks,
    )


if __name__ == "__main__":
    found: dict[str, Any] = {}

    def collect(name: str) -> None:
        sentry_sdk.flush()
        kinds = sorted({kind for kind, _ in REPORTS} & {"event", "transaction"})
        where = {each for _, report in REPORTS for each in places(report)}
        found[name] = {"kinds": kinds, "places": sorted(where)}
        REPORTS.clear()

    def ask_all(apps: dict[str, tuple[str, Any]], more: str = "") -> None:
        for name, (interface, app) in apps.items():
            ask_with_live_tokens(app, interface)
            collect(name + more)

    def ask_failing(more: str = "") -> None:
        for interface, app in (("asgi", asgi), ("wsgi", wsgi)):
            ask_while_store_is_down(failing(app), interface)
            collect(f"store down, {interface}{more}")

    begin()
    set_up_django()
    ask_all(outside() | inside())
    ask_failing()
    # What Sentry reports without the package's help.
    flow.reach_reporters = lambda: None  # type: ignore[attr-defined]
    ask_all(outside(), ", bare")
    # And with its hooks alone.
    hook = error_reports.hide_tokens_in_event
    begin(before_send=hook, before_send_transaction=hook, attach_stacktrace=True)
    ask_all(outside(), ", hooks")
    ask_failing(", hooks")
    print(json.dumps(found))
