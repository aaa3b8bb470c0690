"""Keeps tokens out of the access logs of servers that log from a copy of the request's URL.

The middleware cuts the token from the scope or environ. Servers that log from these show the clean
URL; other servers keep a copy. Such a server is reached by a filter on its logger, or, where it
writes to a stream without `logging`, by a wrapper around the method that builds the line. Both are
installed when an app is wrapped and whenever a request with a token comes in, for each server that
is imported by then. A server that logs in another language (uWSGI, nginx) must be configured.
"""

from __future__ import annotations

import copy
import functools
import logging
import operator
import sys
from collections.abc import Callable
from typing import Any

from .http.link_text import LinkText

# The loggers of servers that may be given a URL, or a request as a whole.
LOGGERS = (
    *("uvicorn.access", "uvicorn.error", "uvicorn.asgi"),
    *("hypercorn.access", "hypercorn.error"),
    *("granian.access", "_granian"),
    *("gunicorn.access", "gunicorn.error"),
    *("werkzeug", "waitress", "asyncio"),
    *("django.server", "django.request", "django.channels.server"),
    *("aiohttp.access", "tornado.access", "websockets.server"),
)
# The methods of servers that write without `logging`: the module, the class, and the method, which
# takes or returns the text of a line.
METHODS = (
    ("daphne.access", "AccessLogGenerator", "write_entry"),
    ("gevent.pywsgi", "WSGIHandler", "format_request"),
    ("eventlet.wsgi", "LoggerFileWrapper", "write"),
    ("wsgiref.simple_server", "WSGIRequestHandler", "log_message"),
)
# How many attributes a record has without those of `extra=`.
_PLAIN = len(vars(logging.makeLogRecord({})))
# Attributes of each record that hold no URL.
_OWN_ATTRIBUTES = frozenset(
    {
        *("msg", "args", "name", "levelname", "pathname", "filename", "module", "funcName"),
        *("threadName", "processName", "taskName"),
    }
)


class _Links:
    """The link parameters of all middlewares of this process."""

    def __init__(self) -> None:
        self.text = LinkText(())
        # Loggers and methods that are not reached yet: those of servers that are not imported.
        self.loggers, self.methods = list(LOGGERS), list(METHODS)

    def add(self, name: str) -> None:
        if name not in self.text.names:
            self.text = LinkText({*self.text.names, name})


_links = _Links()


def cut_tokens(value: Any) -> Any:
    """Return a text without link parameters; any other value as it is."""
    return _links.text.cut(value) if isinstance(value, str) else value


class TokenFilter(logging.Filter):
    """Cuts link parameters from log records, and lets every record pass.

    A record without a link parameter is not changed. A `dictConfig` names the class, for a logger
    or a handler: `"filters": {"tokens": {"()": "ott_middleware.access_logs.TokenFilter"}}`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        # The quick look: nearly every record has no parameter in its message, and nothing else than
        # the message.
        if type(record.args) is tuple and len(record.__dict__) == _PLAIN:
            try:
                message = record.getMessage()
            except Exception:  # a bad line, which the rest treats
                return self._cut(record)
            if not _links.text.may_be_in(message):
                return True
        return self._cut(record)

    def _cut(self, record: logging.LogRecord) -> bool:
        # What `extra=` added, and a traceback that is formatted already. The message may be a
        # template with the parameter in it, `?ott=%s`: it is formatted first.
        for key, value in record.__dict__.items():
            if key not in _OWN_ATTRIBUTES and type(value) is str:
                cut = _links.text.cut(value)
                if cut is not value:
                    setattr(record, key, cut)
        if record.args:
            record.args = _cut_arguments(record.args)
        # An argument may be an object whose text has the URL.
        try:
            message = record.getMessage()
        except Exception:  # a log line must not break a request; `logging` reports the bad line
            return True
        cut = _links.text.cut(message)
        if cut is not message:
            record.msg, record.args = cut, ()
        return True


def _cut_arguments(arguments: Any) -> Any:
    """Return a record's arguments without link parameters; the same object if they have none."""
    if isinstance(arguments, tuple):
        new = tuple(map(cut_tokens, arguments))
        return arguments if all(map(operator.is_, new, arguments)) else new
    if not isinstance(arguments, dict):
        return arguments
    changed = {
        key: cut for key, value in arguments.items() if (cut := cut_tokens(value)) is not value
    }
    if not changed:
        return arguments
    # A copy, since the mapping is the caller's; of the same type, which may format missing keys.
    new_mapping = copy.copy(arguments)
    new_mapping.update(changed)
    return new_mapping


_filter = TokenFilter()


def hide_tokens(*targets: logging.Logger | logging.Handler | str, query_param: str = "ott") -> None:
    """Keep link parameters out of logs; for loggers that this package does not know by itself.

    :param targets: loggers, their names, or handlers. A filter on a logger sees the records that
        are logged on that very logger, one on a handler all records that the handler writes.
    :param query_param: name of the link parameter, as in the option `query_param`.
    """
    _links.add(query_param)
    for target in targets:
        (logging.getLogger(target) if isinstance(target, str) else target).addFilter(_filter)
    reach_servers()


def reach_servers() -> None:
    """Install the filter and the wrappers for the servers that were imported since the last call.

    No logger is made here: one that is made before the `dictConfig` of its server would be disabled
    by `disable_existing_loggers`, and the server's log would be lost.
    """
    known = logging.root.manager.loggerDict
    for name in [name for name in _links.loggers if name in known]:
        logger = known[name]
        if isinstance(logger, logging.Logger):
            logger.addFilter(_filter)
            _remove(_links.loggers, name)
    for method in [method for method in _links.methods if method[0] in sys.modules]:
        _wrap_method(*method)
        _remove(_links.methods, method)


def _remove(items: list[Any], item: object) -> None:
    # Two threads may have reached one server at the same time.
    if item in items:
        items.remove(item)


def _wrap_method(module: str, class_name: str, name: str) -> None:
    owner = getattr(sys.modules[module], class_name, None)
    original: Callable[..., Any] | None = getattr(owner, name, None)
    if original is None or hasattr(original, "_ott_original"):
        return

    @functools.wraps(original)
    def without_tokens(self: Any, *values: Any, **named: Any) -> Any:
        cut = {key: cut_tokens(value) for key, value in named.items()}
        return cut_tokens(original(self, *map(cut_tokens, values), **cut))

    without_tokens._ott_original = original  # type: ignore[attr-defined]  # marks the wrapper
    setattr(owner, name, without_tokens)
