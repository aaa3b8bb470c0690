"""Checks the options of pull handoff: `issuer`, `issuer_only` and `protected`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .concurrency import is_async, name_of
from .errors import ConfigurationError
from .http.idn import encode_host
from .http.messages import Request
from .http.origins import Origin, is_loopback

Protected = Callable[[Request], bool]

_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True, slots=True)
class Issuer:
    """The site that signs in the visitors of this one.

    :ivar url: the origin and the `base_path` of that site, without a slash at the end.
    """

    origin: Origin
    url: str

    @classmethod
    def parse(cls, text: object) -> Issuer:
        """Return the value of the option `issuer`, parsed.

        :raises ConfigurationError: the text is no https URL of an origin with a base path.
        """
        plain = encode_host(text) if isinstance(text, str) else ""
        scheme, mark, rest = plain.partition("://")
        host, slash, path = rest.partition("/")
        origin, path = Origin.parse(f"{scheme}{mark}{host}"), (slash + path).rstrip("/")
        if origin is None or origin.scheme not in ("http", "https") or not _PATH.fullmatch(path):
            raise ConfigurationError(
                f"issuer: {text!r}; use the origin of the site that signs users in, with its "
                "base_path if it has one, as 'https://a.example' or 'https://a.example/api/auth'"
            )
        # Attack: an attacker on the network reads the session of a visitor who comes to the issuer
        # by http. Only https is accepted, and http on this machine; else each visitor would be sent
        # there.
        if origin.scheme == "http" and not is_loopback(origin.host):
            raise ConfigurationError(f"issuer: {text!r}; use https, or a loopback host for tests")
        return cls(origin, f"{origin}{path}")


def check_issuer_options(
    issuer: Issuer | None,
    own: Sequence[Origin],
    query_param: str | None,
    issuer_only: bool,
    protected: object,
) -> None:
    """Check what the options of pull handoff were given, beside `issuer` itself.

    :param own: the origins of `public_origin`.
    :raises ConfigurationError: one of them is of another form, or they exclude each other.
    """
    if issuer is None:
        if protected is not None or not issuer_only:
            name = "issuer_only: False," if protected is None else "protected:"
            raise ConfigurationError(
                f"{name} given without issuer, and has no effect then; pass issuer= with the site "
                "that signs users in, or leave it out"
            )
        return
    if issuer.origin in own:
        raise ConfigurationError(
            f"issuer: {issuer.url} is this site's own origin; pass the site that signs users in, "
            "or leave it out"
        )
    if query_param is None:
        raise ConfigurationError(
            "issuer: given with query_param=None, which turns links off; leave one of them out"
        )
    if protected is None:
        return
    if not callable(protected) or isinstance(protected, type):
        raise ConfigurationError(
            f"protected: {protected!r}; pass a function of the request, as "
            "lambda request: request.path.startswith('/account')"
        )
    if is_async(protected):
        raise ConfigurationError(
            f"protected: {name_of(protected)} is async; make it a plain function that does not wait"
        )
