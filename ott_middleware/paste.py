"""An entry point for apps that are deployed from an .ini file (PasteDeploy: Pyramid, Turbogears).

The middleware is a filter of the pipeline, the last thing that a request passes before the app::

    [filter:handoff]
    use = egg:ott_middleware
    session = sid
    probe = /account
    backend = redis://cache.internal:6379/0
    secret = %(secret)s
    store_token = hashed
    public_origin = https://a.example
    handoff_targets = https://b.example https://c.example/app/

    [pipeline:main]
    pipeline = handoff app

All options of `OTTMiddleware` can be given. Lists are split at blanks; `true` and `false`, numbers
and `none` are read as such. A hook, an adapter or a backend object is named by the module that
holds it: `on_invalid = python:shop.links:refuse`. `probe` belongs to the `CookieSession` that the
cookie names of `session` stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from .errors import ConfigurationError
from .interfaces.wsgi import WSGIMiddleware
from .sessions.cookie import CookieSession

_PYTHON = "python:"
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "none": None}
_LISTS = ("session", "trusted_origins", "handoff_targets", "public_origin", "trusted_proxies")
# What no text can be: written as "python:module:name".
_OBJECTS = ("on_event", "generate_token", "tokens", "pages")
_NUMBERS = ("expires_in", "max_per_session")


def filter_app_factory(
    app: Any, global_conf: Mapping[str, str] | None, **local_conf: str
) -> WSGIMiddleware:
    """Wrap the next app of a pipeline. (PasteDeploy, "paste.filter_app_factory".)

    :param app: the WSGI app.
    :param global_conf: the `[DEFAULT]` section; not used.
    :param local_conf: the filter's own section: options of `OTTMiddleware`, and `probe`.
    :raises ConfigurationError: a bad option.
    """
    options = {name: _parse(name, text.strip()) for name, text in local_conf.items()}
    probe = options.pop("probe", None)
    if probe is not None:
        names = options.get("session")
        if not isinstance(names, list):
            raise ConfigurationError(
                f"probe: {probe!r} without cookie names; add 'session = ' and the name of the "
                "app's session cookie"
            )
        options["session"] = CookieSession(*names, probe=probe)
    return WSGIMiddleware(app, **options)


def _parse(name: str, text: str) -> Any:
    """Return the value that the text of an option stands for."""
    # The text of a secret is the secret, whatever it looks like; it is shown in no error either.
    if name == "secret":
        return text
    if text.startswith(_PYTHON):
        return _import(name, text)
    if name in _LISTS:
        return "auto" if text == "auto" else text.replace(",", " ").split()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if name in _OBJECTS:
        raise ConfigurationError(f"{name}: {text!r}; write 'python:package.module:name'")
    if name in _NUMBERS:
        try:
            return float(text) if "." in text else int(text)
        except ValueError:
            raise ConfigurationError(f"{name}: {text!r}; use a number") from None
    return text


def _import(name: str, text: str) -> Any:
    try:
        return resolve_name(text.removeprefix(_PYTHON))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"{name}: {text!r} can't be imported ({type(error).__name__}: {error}); write "
            "'python:package.module:name'"
        ) from error
