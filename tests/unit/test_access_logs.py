from __future__ import annotations

import io
import logging
import logging.config
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

import pytest

from ott_middleware import CookieSession, OTTMiddleware, access_logs
from ott_middleware.access_logs import TokenFilter, cut_tokens, hide_tokens, reach_servers

TOKEN = "q1W2e3R4t5Y6u7I8o9P0-_aSdFgHjKlZ"
URL = f"/page?a=1&ott={TOKEN}"


@pytest.fixture(autouse=True)
def links(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What the process hides, as if it had one middleware."""
    links = access_logs._Links()
    links.add("ott")
    monkeypatch.setattr(access_logs, "_links", links)
    # Reached in other tests.
    marked = [logging.getLogger(name) for name in access_logs.LOGGERS if name in known()]
    for logger in marked:
        logger.removeFilter(access_logs._filter)
    yield links
    for logger in marked:
        logger.addFilter(access_logs._filter)


def known() -> dict[str, Any]:
    return logging.root.manager.loggerDict


@pytest.fixture
def written() -> tuple[logging.Logger, io.StringIO]:
    """A logger with the filter, and what it writes."""
    logger, stream = logging.Logger("of a test"), io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    hide_tokens(logger)
    return logger, stream


class Atoms(dict[str, Any]):
    """Like those of gunicorn and hypercorn."""

    def __missing__(self, key: str) -> str:
        return "-"


class Target:
    """An argument whose text has the URL."""

    def __str__(self) -> str:
        return URL


class TestTokenFilter:
    def test_message_arguments_and_extras_are_cut(self, written: Any) -> None:
        logger, stream = written
        record = logger.makeRecord(
            "x",
            20,
            __file__,
            1,
            f"a {URL}",
            (),
            None,
            extra={"url": URL, "status": 200, "method": "GET"},
        )
        assert TokenFilter().filter(record) is True
        assert (record.msg, record.url, record.status) == ("a /page?a=1", "/page?a=1", 200)
        logger.warning('%s - "%s" %d', "1.2.3.4", URL, 200)
        logger.warning("%(r)s %(x)s", Atoms(r=URL, n=3))
        logger.warning("%s", Target())
        logger.warning("/page?a=1&ott=%s", "x")
        assert stream.getvalue().splitlines() == [
            '1.2.3.4 - "/page?a=1" 200',
            "/page?a=1 -",
            "/page?a=1",
            "/page?a=1",
        ]

    def test_mapping_of_the_caller_is_not_changed(self, written: Any) -> None:
        logger, stream = written
        details = {"path": URL, "status": 200}
        logger.warning("%(path)s", details)
        assert details == {"path": URL, "status": 200}
        assert stream.getvalue() == "/page?a=1\n"

    @pytest.mark.parametrize(
        "arguments", [(), ("/page?a=1%20", 200), ({"r": "/page", "n": 1},), (Target,)]
    )
    def test_record_without_a_token_is_not_changed(self, arguments: tuple[Any, ...]) -> None:
        message = "%s " * len(arguments)
        record = logging.LogRecord("x", 20, __file__, 1, message, arguments, None)
        before = dict(vars(record))
        TokenFilter().filter(record)
        assert vars(record) == before
        assert record.args is before["args"]

    def test_mapping_that_is_no_dict_is_cut_in_the_message(self) -> None:
        mapping = types.MappingProxyType({"path": URL})
        record = logging.LogRecord("x", 20, __file__, 1, "%(path)s", (mapping,), None)
        TokenFilter().filter(record)
        assert record.getMessage() == "/page?a=1"

    def test_bad_line_is_left_to_logging(self) -> None:
        record = logging.LogRecord("x", 20, __file__, 1, "%d %d", (URL,), None)
        assert TokenFilter().filter(record) is True
        # `logging` prints the arguments of a bad line.
        assert record.args == ("/page?a=1",)

    def test_dict_config_takes_the_class(self) -> None:
        stream = io.StringIO()
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "incremental": False,
                "filters": {"tokens": {"()": "ott_middleware.access_logs.TokenFilter"}},
                "handlers": {
                    "one": {
                        "class": "logging.StreamHandler",
                        "stream": stream,
                        "filters": ["tokens"],
                    }
                },
                "loggers": {"ott_test.urls": {"handlers": ["one"], "propagate": False}},
            }
        )
        logging.getLogger("ott_test.urls").warning("GET %s", URL)
        assert stream.getvalue() == "GET /page?a=1\n"


class TestHideTokens:
    def test_names_handlers_and_parameters(self) -> None:
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        logger = logging.getLogger("ott_test.company")
        logger.propagate = False
        logger.addHandler(handler)
        hide_tokens("ott_test.company", query_param="key")
        hide_tokens(handler)
        logger.getChild("below").warning("/?key=1&ott=2&x=3")
        logger.warning("/?key=1&ott=2&x=3")
        assert stream.getvalue() == "/?x=3\n" * 2
        # Once, however often it is asked for.
        hide_tokens("ott_test.company")
        assert len(logger.filters) == 1

    def test_values_that_are_no_text_stay(self) -> None:
        assert cut_tokens(URL) == "/page?a=1"
        assert cut_tokens(7) == 7


class TestReachServers:
    def test_logger_is_reached_when_it_is_there_and_never_made(
        self, links: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        links.loggers = ["ott_test.server", "ott_test.parent"]
        reach_servers()
        assert "ott_test.server" not in known()
        logging.getLogger("ott_test.parent.child")  # makes a placeholder for its parent
        server = logging.getLogger("ott_test.server")
        reach_servers()
        assert links.loggers == ["ott_test.parent"]
        assert server.filters == [access_logs._filter]

    def test_filter_outlives_a_later_configuration(self, links: Any) -> None:
        links.loggers = ["ott_test.late"]
        logger = logging.getLogger("ott_test.late")
        reach_servers()
        stream = io.StringIO()
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {"one": {"class": "logging.StreamHandler", "stream": stream}},
                "loggers": {"ott_test.late": {"handlers": ["one"], "propagate": False}},
            }
        )
        logger.warning("%s", URL)
        assert stream.getvalue() == "/page?a=1\n"

    def test_method_is_wrapped_once(self, links: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        class Lines:
            def write(self, line: str, *, more: str = "") -> str:
                return f"{line} {more} {URL}"

        module = types.ModuleType("ott_test_server")
        module.Lines = Lines  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "ott_test_server", module)
        others = [("ott_test_server", "Gone", "write"), ("ott_test_server", "Lines", "gone")]
        method = ("ott_test_server", "Lines", "write")
        for _ in range(2):
            links.methods = [*others, method, ("ott_test_absent", "Lines", "write")]
            reach_servers()
        assert links.methods == [("ott_test_absent", "Lines", "write")]
        assert Lines().write(URL, more=URL) == "/page?a=1 /page?a=1 /page?a=1"
        assert not hasattr(Lines.write._ott_original, "_ott_original")  # type: ignore[attr-defined]

    def test_threads_reach_a_server_at_the_same_time(self, links: Any) -> None:
        names = [f"ott_test.thread_{number}" for number in range(50)]
        for name in names:
            logging.getLogger(name)
        links.loggers = list(names)
        threads = [threading.Thread(target=reach_servers) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert links.loggers == []
        assert all(len(logging.getLogger(name).filters) == 1 for name in names)

    def test_server_that_was_reached_by_another_thread(self, links: Any) -> None:
        access_logs._remove(links.loggers, "gone already")
        assert len(links.loggers) == len(access_logs.LOGGERS)


class TestMiddleware:
    def test_parameter_of_each_is_hidden(self, links: Any) -> None:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            return []

        for name in ("key", None):
            OTTMiddleware(app, session=CookieSession("sid", renews_key=True), query_param=name)
        assert links.text.names == ("key", "ott")

    def test_forked_worker_hides_as_well(self) -> None:
        program = f"""
import logging, os, sys
logging.getLogger("gunicorn.access").addHandler(logging.StreamHandler(sys.stdout))
from ott_middleware import OTTMiddleware, CookieSession
OTTMiddleware(lambda environ, start: [], session=CookieSession("sid", renews_key=True))
if os.fork() == 0:
    logging.getLogger("gunicorn.access").warning("%s", {URL!r})
    os._exit(0)
os.wait()
"""
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == "/page?a=1\n"
