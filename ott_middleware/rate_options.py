"""Parses the option `rate_limit`, by the library `limits`."""

from __future__ import annotations

import re
from typing import NamedTuple

from .errors import ConfigurationError, missing_library

# Each attempt of a client is kept for as long as the period lasts.
_MOST_ATTEMPTS = 10_000
# `limits` reads a period of no length, as in '20/0 minutes', as one of length 1.
_NO_PERIOD = re.compile(r"(?:/|per)\s*0+\s*[a-z]", re.IGNORECASE)


class Rate(NamedTuple):
    """So many attempts in any period of so many seconds."""

    attempts: int
    seconds: int


def parse_rates(given: object) -> tuple[Rate, ...]:
    """Return the rates that the option names; none for None.

    :raises ConfigurationError: no rate, or `limits` is not installed.
    """
    if given is None:
        return ()
    try:
        import limits
    except ImportError as error:
        raise missing_library("rate_limit", error, "'ott_middleware[limits]'") from None
    cure = (
        f"rate_limit: {given!r}; write attempts and a period, as '20/minute', '5/10 minutes' or "
        "'20/minute;100/hour'"
    )
    if not isinstance(given, str) or _NO_PERIOD.search(given):
        raise ConfigurationError(cure)
    try:
        items = limits.parse_many(given)
    except ValueError:
        raise ConfigurationError(cure) from None
    rates = tuple(Rate(item.amount, item.get_expiry()) for item in items)
    if not all(1 <= rate.attempts <= _MOST_ATTEMPTS and rate.seconds >= 1 for rate in rates):
        raise ConfigurationError(f"{cure}, with 1 to {_MOST_ATTEMPTS} attempts")
    return rates
