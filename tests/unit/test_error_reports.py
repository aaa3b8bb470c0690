from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from ott_middleware.access_logs import hide_tokens
from ott_middleware.context import Attempt, using_attempt, using_request
from ott_middleware.error_reports import (
    hide_tokens_in_event,
    hide_tokens_in_span,
    reach_reporters,
)
from ott_middleware.http.messages import Request

TOKEN = "q1W2e3R4t5Y6u7I8o9P0-_aSdFgHjKlZ"
URL = f"/page?a=1&ott={TOKEN}"


@pytest.fixture(autouse=True)
def parameter() -> None:
    hide_tokens(query_param="ott")


class Span:
    def __init__(self, **attributes: Any) -> None:
        self.attributes = attributes
        self.changes: dict[str, Any] = {}

    def set_attribute(self, name: str, value: Any) -> None:
        self.changes[name] = value


class TestHideTokensInEvent:
    def test_texts_at_any_depth_are_cut_in_a_copy(self) -> None:
        own = {"url": URL, "n": 1}
        event = {
            "request": {"query_string": f"a=1&ott={TOKEN}", "headers": {"Referer": URL}},
            "breadcrumbs": {"values": [{"data": ("GET", URL)}]},
            "extra": own,
            "tags": {"same": "text"},
        }
        cut = hide_tokens_in_event(event, {})
        assert cut == {
            "request": {"query_string": "a=1", "headers": {"Referer": "/page?a=1"}},
            "breadcrumbs": {"values": [{"data": ("GET", "/page?a=1")}]},
            "extra": {"url": "/page?a=1", "n": 1},
            "tags": {"same": "text"},
        }
        assert own == {"url": URL, "n": 1}
        assert cut["tags"] is event["tags"]

    def test_event_without_a_token_is_the_same_object(self) -> None:
        event = {"request": {"url": "/page", "data": [1, None, b"x"]}}
        assert hide_tokens_in_event(event) is event

    def test_value_that_holds_itself_ends(self) -> None:
        event: dict[str, Any] = {"url": URL}
        event["self"] = [event]
        assert hide_tokens_in_event(event)["url"] == "/page?a=1"
        deep: Any = URL
        for _ in range(40):
            deep = [deep]
        assert hide_tokens_in_event(deep) is deep

    def test_token_of_the_present_request_is_filtered(self) -> None:
        other = TOKEN[::-1]
        request = Request(
            method="GET",
            scheme="http",
            path="/",
            target="/",
            query="",
            headers={},
            links=(TOKEN, "short"),
        )
        with using_attempt(Attempt(token=other)), using_request(request):
            event = hide_tokens_in_event({"vars": {"links": [repr(TOKEN), other, "short"]}})
        assert event == {"vars": {"links": ["'[Filtered]'", "[Filtered]", "short"]}}


class TestHideTokensInSpan:
    def test_attributes_are_cut(self) -> None:
        span = Span(url=URL, referer=(URL,), status=200, path="/page")
        hide_tokens_in_span(span, {"type": "http"})
        assert span.changes == {"url": "/page?a=1", "referer": ("/page?a=1",)}

    @pytest.mark.parametrize("span", [object(), types.SimpleNamespace(attributes=None)])
    def test_span_that_is_not_recorded_has_none(self, span: Any) -> None:
        hide_tokens_in_span(span)


class Scope:
    def __init__(self, *functions: Any) -> None:
        self._event_processors = list(functions)

    def add_event_processor(self, function: Any) -> None:
        self._event_processors.append(function)


class TestReachReporters:
    def reach(self, monkeypatch: pytest.MonkeyPatch, scope: Any, span: Any) -> None:
        sentry: Any = types.ModuleType("sentry_sdk")
        sentry.get_isolation_scope = lambda: scope
        trace: Any = types.ModuleType("opentelemetry.trace")
        trace.get_current_span = lambda: span
        monkeypatch.setitem(sys.modules, "sentry_sdk", sentry)
        monkeypatch.setitem(sys.modules, "opentelemetry.trace", trace)
        reach_reporters()

    def test_function_is_the_last_one_and_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scope, span = Scope(len), Span(url=URL)
        for _ in range(3):
            self.reach(monkeypatch, scope, span)
        assert scope._event_processors == [len, hide_tokens_in_event]
        assert span.changes == {"url": "/page?a=1"}
        scope.add_event_processor(max)
        self.reach(monkeypatch, scope, span)
        assert scope._event_processors == [len, max, hide_tokens_in_event]

    def test_unknown_version_breaks_no_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reach(monkeypatch, object(), None)

    def test_without_the_libraries_nothing_happens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("sentry_sdk", "opentelemetry.trace"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        reach_reporters()
        assert "sentry_sdk" not in sys.modules
