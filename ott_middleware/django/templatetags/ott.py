"""The template tag `ott_link`: a URL of another site that signs in the first visitor to open it.

``{% load ott %}<a href="{% ott_link "https://b.example/welcome" %}">…</a>``
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from django import template
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.cache import CacheNode

from ...concurrency import on_running_loop
from ...errors import Unauthorized, Unavailable
from ...flow.get_handle import get_handle

logger = logging.getLogger("ott_middleware")
register = template.Library()


def ott_link(context: Mapping[str, Any], url: str, expires_in: float | None = None) -> str:
    """Return a URL with a token for the signed-in user, escaped as the template asks for.

    Without a signed-in user, or while the store of tokens does not respond, it is the URL alone.

    :param context: of the template, with the request.
    :param url: see `Handle.link`.
    :param expires_in: minutes; default: the middleware's option.
    :raises ImproperlyConfigured: the template has no request, or keeps this part by `{% cache %}`.
    :raises InvalidTarget: the URL points to a site that is not among `handoff_targets`.
    :raises RuntimeError: the template is rendered on an event loop.
    """
    request = context.get("request")
    if request is None:
        raise ImproperlyConfigured(
            "ott_link: the template has no request; render it with one, render(request, ...), and "
            "add 'django.template.context_processors.request' to the context_processors of "
            "TEMPLATES"
        )
    _refuse_in_cached_fragment()
    handle = get_handle(request)
    if on_running_loop():
        raise RuntimeError(
            "ott_link: this template is rendered on the event loop; in an async view write `await "
            "sync_to_async(render)(request, ...)`, or pass the link to the template: `await "
            "get_handle(request).alink(url)`"
        )
    try:
        link = handle.link(str(url), expires_in=expires_in)
    except Unauthorized:
        return str(url)
    except Unavailable as error:
        logger.error("ott_link: %s: %s; the page has the URL alone", type(error).__name__, error)
        return str(url)
    # Attack: Django's cache middleware keeps the page, and gives the user's token to another
    # visitor. The page is not kept; without these lines, that visitor would be signed in as the
    # user. For caches outside of Django, the response varies by the cookie.
    request._cache_update_cache = False
    if hasattr(request, "session"):
        request.session.accessed = True
    return link


def _refuse_in_cached_fragment() -> None:
    # Attack: `{% cache %}` keeps the link of the first user, and shows it to all visitors. Included
    # templates are rendered inside of the tag's own method, which this line looks for; without it,
    # each visitor could open the link, and be signed in as that user.
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not CacheNode.render.__code__:
        frame = frame.f_back
    if frame is not None:
        raise ImproperlyConfigured(
            "ott_link: it stands between {% cache %} and {% endcache %}, which would show the link "
            "of one user to others; put it outside, or link to a view that redirects to "
            "get_handle(request).link(url)"
        )


register.simple_tag(ott_link, takes_context=True)
