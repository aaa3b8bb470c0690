"""Checks the options of the pages: `site_name`, `login_url` and `pages`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, get_args

from .concurrency import is_async, name_of
from .errors import ConfigurationError
from .http.origins import Origin
from .http.page_texts import PageName

_PAGES = get_args(PageName)
# Visible ASCII but for the backslash, which browsers read as a slash.
_PATH = re.compile(r"/(?!/)[!-\[\]-~]*")
_URL = re.compile(r"https?://[!-\[\]-~]+")


def check_page_options(site_name: object, login_url: object, pages: object) -> None:
    """Check what the options of the pages were given.

    :raises ConfigurationError: one of them is of another form.
    """
    if site_name is not None and not (
        isinstance(site_name, str) and site_name.strip() and site_name.isprintable()
    ):
        raise ConfigurationError(f"site_name: {site_name!r}; use a name on one line, or None")
    if login_url is not None and not _is_login_url(login_url):
        raise ConfigurationError(
            f"login_url: {login_url!r}; use a path that begins with one slash, as '/login', or a "
            "URL, as 'https://login.example.com/' (percent-encode all but ASCII)"
        )
    if pages is None:
        return
    if not isinstance(pages, Mapping):
        raise ConfigurationError(
            f"pages: a {type(pages).__name__}; pass a dict, as {{'used': function}}"
        )
    for name, show in pages.items():
        _check_page(name, show)


def _is_login_url(text: object) -> bool:
    # The buttons of pages lead here: never to `javascript:`, and to another host only where the
    # option spells it out.
    if not isinstance(text, str):
        return False
    return bool(_PATH.fullmatch(text) or (_URL.fullmatch(text) and Origin.of_url(text)))


def _check_page(name: Any, show: Any) -> None:
    if name not in _PAGES:
        near = difflib.get_close_matches(str(name), _PAGES, 1)
        raise ConfigurationError(
            f"pages: {name!r} is no page; "
            + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_PAGES)}")
        )
    if not callable(show):
        raise ConfigurationError(
            f"pages: {name!r} is a {type(show).__name__}; pass a function that takes a Page and "
            "returns HTML or a Response, as {'used': lambda page: HTML}"
        )
    if is_async(show):
        raise ConfigurationError(
            f"pages: {name_of(show)} for {name!r} is async; make it a plain function that does "
            "not wait"
        )
