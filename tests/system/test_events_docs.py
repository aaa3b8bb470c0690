"""The recipes of docs/events.md, as they stand there."""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import pytest
import services
from documents import ROOT, blocks
from harness import Site, World

PAGE = ROOT / "docs" / "events.md"


def recipe(heading: str, *modules: str) -> dict[str, Any]:
    """Run the recipe under a heading; return its names."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            services.absent(f"{module} is not installed: pip install -e .[test]")
    (block,) = (b for b in blocks(PAGE, "python") if b.heading == heading)
    names: dict[str, Any] = {}
    exec(compile(block.text, f"{PAGE.name}:{block.line}", "exec"), names)
    return names


def use(site: Site) -> str:
    """Make a token, use it, and try it again."""
    token: str = site.generate({"cookie": "sid=alice-cookie"}).json()["token"]
    site.verify(token)
    site.verify(token)
    assert site.flow.services.reports.events.flush(10)
    return token


def test_logging(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "audit")
    token = use(world.serve(on_event=recipe("Logging")["on_event"]))
    records = [record for record in caplog.records if record.name == "audit"]
    assert [record.getMessage() for record in records] == [
        "token generated: session session-of-alice, for any site",
        "token redeemed: session session-of-alice, for any site",
        "token refused: session None, for any site (used_token)",
    ]
    prints = {record.token for record in records}
    assert len(prints) == 1
    assert token not in caplog.text


def test_prometheus(world: World) -> None:
    pages = recipe("Prometheus", "prometheus_client")
    from prometheus_client import REGISTRY, generate_latest

    try:
        use(world.serve(on_event=pages["on_event"]))
        text = generate_latest().decode()
    finally:
        REGISTRY.unregister(pages["TOKENS"])
    for kind, reason in (("generated", ""), ("redeemed", ""), ("refused", "used_token")):
        assert f'ott_tokens_total{{kind="{kind}",reason="{reason}"}} 1.0' in text


def test_opentelemetry(world: World) -> None:
    names = recipe("OpenTelemetry", "opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    # The recipe's counter, of a provider that the test can read: the global one is set once only.
    names["counter"] = provider.get_meter("ott_middleware").create_counter("ott.tokens")
    use(world.serve(on_event=names["on_event"]))
    data: Any = reader.get_metrics_data()
    points = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    found = {(p.attributes["ott.kind"], p.attributes.get("ott.reason")): p.value for p in points}
    assert found == {("generated", None): 1, ("redeemed", None): 1, ("refused", "used_token"): 1}
    provider.shutdown()
