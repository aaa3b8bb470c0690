"""Runs failing apps under OpenTelemetry's instrumentations; prints where spans have a token."""

from __future__ import annotations

import json
import os
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as AroundASGI
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as AroundWSGI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from reported_apps import (
    asgi,
    ask_sockets,
    ask_with_live_tokens,
    django_asgi,
    django_wsgi,
    fastapi,
    flask,
    places,
    session,
    set_up_django,
    wsgi,
)

from ott_middleware import OTTMiddleware, error_reports, flow

os.environ["OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST"] = "referer,sec-.*"
HOOK = error_reports.hide_tokens_in_span


def around_asgi(**hooks: Any) -> tuple[str, Any]:
    return "asgi", AroundASGI(OTTMiddleware(asgi, session=session()), **hooks)


def around_wsgi(**hooks: Any) -> tuple[str, Any]:
    return "wsgi", AroundWSGI(OTTMiddleware(wsgi, session=session()), **hooks)


if __name__ == "__main__":
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    set_up_django()
    for instrumentor in (DjangoInstrumentor(), FastAPIInstrumentor(), FlaskInstrumentor()):
        instrumentor.instrument()
    found: dict[str, Any] = {}

    def ask(apps: dict[str, tuple[str, Any]], more: str = "") -> None:
        for name, (interface, app) in apps.items():
            if interface == "socket":
                ask_sockets(app)
            else:
                ask_with_live_tokens(app, interface)
            spans = exporter.get_finished_spans()
            exporter.clear()
            values = [dict(span.attributes or {}) for span in spans]
            values += [dict(event.attributes or {}) for span in spans for event in span.events]
            found[name + more] = {"spans": len(spans), "places": sorted(set(places(values)))}

    outside = {
        "FastAPI, add_middleware": ("asgi", fastapi(inside=True)),
        "ASGI, outside": around_asgi(),
        "WSGI, outside": around_wsgi(),
        "sockets, outside": ("socket", around_asgi()[1]),
    }
    ask(
        {
            **outside,
            "FastAPI": ("asgi", fastapi(inside=False)),
            "Flask": ("wsgi", flask()),
            "Django, WSGI": ("wsgi", django_wsgi()),
            "Django, ASGI": ("asgi", django_asgi()),
        }
    )
    flow.reach_reporters = lambda: None  # type: ignore[attr-defined]
    ask(outside, ", bare")
    ask({"ASGI": around_asgi(server_request_hook=HOOK)}, ", hook")
    print(json.dumps(found))
