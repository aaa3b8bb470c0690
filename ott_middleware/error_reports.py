"""Keeps tokens out of the reports of Sentry and the spans of OpenTelemetry.

Both read the URL of a request where their layer is. Inside of the middleware that is the clean URL.
A layer outside, such as Sentry's around a Flask app, may have read the URL before the token was
cut: its report, or its span, is cut when a request with a token comes in. The functions are also
hooks for set-ups that these cuts do not reach.
"""

from __future__ import annotations

import operator
import sys
from typing import Any

from .access_logs import cut_tokens
from .context import current_attempt, current_request

# What stands for a token that is a value by itself, as Sentry has it for other secrets.
_FILTERED = "[Filtered]"
# Shorter values of a link are no tokens, and may be words of a report.
_SHORTEST = 16
# A report is nested less deeply; a deeper value is of a program's own data.
_DEEPEST = 16


def hide_tokens_in_event(event: Any, hint: Any = None) -> Any:
    """Return an event of Sentry without link parameters, and without the present request's token.

    With `attach_stacktrace`, an event has the local variables of all functions that are called at
    the moment. Those of the middleware hold the token that it redeems.

    It fits `before_send`, `before_send_transaction` and `before_breadcrumb` of `sentry_sdk.init`.
    The event's own values are not changed, since some of them are the app's.
    """
    return _cut(event, _present_tokens(), {})


def hide_tokens_in_span(span: Any, request: Any = None) -> None:
    """Cut link parameters from the attributes of an OpenTelemetry span.

    It fits `server_request_hook` of the instrumentations for ASGI and FastAPI, and `request_hook`
    of those for Flask and Django.
    """
    for name, value in dict(getattr(span, "attributes", None) or {}).items():
        cut = _cut(value, (), {})
        if cut is not value:
            span.set_attribute(name, cut)


def reach_reporters() -> None:
    """Cut what Sentry and OpenTelemetry already hold of the present request, if they are there."""
    try:
        if sentry := sys.modules.get("sentry_sdk"):
            _reach_sentry(sentry)
        if trace := sys.modules.get("opentelemetry.trace"):
            hide_tokens_in_span(trace.get_current_span())
    except Exception:
        # The failure: another version of a library than this code knows. A report with a token is
        # a lesser harm than a request that fails, and a reporter must never fail a request.
        return


def _reach_sentry(sentry: Any) -> None:
    scope = sentry.get_isolation_scope()
    # The function must be the last one: a layer of Sentry adds one that fills in the URL. A scope
    # has it once: the scope may be one of many requests, and Sentry empties a list of over 20.
    functions = scope._event_processors
    if functions[-1:] != [hide_tokens_in_event]:
        if hide_tokens_in_event in functions:
            functions.remove(hide_tokens_in_event)
        scope.add_event_processor(hide_tokens_in_event)


def _present_tokens() -> tuple[str, ...]:
    """Return the tokens of the request that is handled in this context."""
    request = current_request()
    values = {current_attempt().token or "", *(request.links if request is not None else ())}
    return tuple(value for value in values if len(value) >= _SHORTEST)


def _cut(value: Any, tokens: tuple[str, ...], seen: dict[int, Any], depth: int = 0) -> Any:
    """Return a value of a report without tokens; the same object if it has none.

    :param tokens: values that no text may hold.
    :param seen: what has been cut already, and is kept here.
    """
    if type(value) is str:
        value = cut_tokens(value)
        for token in tokens:
            if token in value:
                value = value.replace(token, _FILTERED)
        return value
    if type(value) not in (dict, list, tuple) or depth > _DEEPEST:
        return value
    # A value that holds itself is cut where it is met first.
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = value
    mapping = type(value) is dict
    items = list(value.values()) if mapping else value
    new = [_cut(item, tokens, seen, depth + 1) for item in items]
    if not all(map(operator.is_, new, items)):
        seen[id(value)] = dict(zip(value, new, strict=True)) if mapping else type(value)(new)
    return seen[id(value)]
