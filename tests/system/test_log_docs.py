"""The recipes of docs/logs.md, as they stand there."""

from __future__ import annotations

import io
import logging
import logging.config
from typing import Any

import pytest
from documents import ROOT, blocks

PAGE = ROOT / "docs" / "logs.md"
TOKEN = "q1W2e3R4t5Y6u7I8o9P0-_aSdFgHjKlZ"


def recipes(heading: str) -> list[str]:
    return [block.text for block in blocks(PAGE, "python") if block.heading == heading]


@pytest.fixture
def written() -> io.StringIO:
    """What the root logger's handler writes; the only one for a while."""
    root, stream = logging.getLogger(), io.StringIO()
    root.handlers[:] = [logging.StreamHandler(stream)]
    return stream


class TestLoggersOfYourOwn:
    def test_logger_and_handlers_are_filtered(self, written: io.StringIO) -> None:
        first, _ = recipes("Loggers of your own")
        exec(first, {})
        logging.getLogger("company.access").warning("GET /page?ott=%s", TOKEN)
        logging.getLogger("company.other").warning("GET /other?ott=%s", TOKEN)
        assert written.getvalue() == "GET /page\nGET /other\n"

    def test_dict_config_is_filtered(
        self, written: io.StringIO, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names: dict[str, Any] = {}
        _, second = recipes("Loggers of your own")
        exec(second, names)
        logging.config.dictConfig({**names["LOGGING"], "disable_existing_loggers": False})
        logging.getLogger("company.more").warning("GET /page?ott=%s", TOKEN)
        assert capsys.readouterr().err == "GET /page\n"


class TestReporters:
    def test_sentry_takes_the_hooks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sentry_sdk = pytest.importorskip("sentry_sdk")
        options: dict[str, Any] = {}
        monkeypatch.setattr(sentry_sdk, "init", lambda **given: options.update(given))
        (recipe,) = recipes("Sentry")
        exec(recipe, {})
        assert set(options) == {"before_send", "before_send_transaction", "before_breadcrumb"}
        for hook in options.values():
            assert hook({"message": f"GET /page?ott={TOKEN}"}, {}) == {"message": "GET /page"}

    def test_opentelemetry_takes_the_hook(self) -> None:
        pytest.importorskip("opentelemetry.instrumentation.asgi")
        (recipe,) = recipes("OpenTelemetry")
        names: dict[str, Any] = {}
        exec(recipe, names)
        traced = names["traced"](lambda scope, receive, send: None)
        # OpenTelemetry wraps what it is given.
        assert traced.server_request_hook.__name__ == "hide_tokens_in_span"
