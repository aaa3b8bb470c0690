"""Run where FastAPI and the package are installed, and nothing else: itsdangerous is not."""

from __future__ import annotations

import importlib.util

from fastapi import FastAPI

from ott_middleware import ConfigurationError, OTTMiddleware, SealedSession

assert importlib.util.find_spec("itsdangerous") is None, "installed, so that this tells nothing"
told = ""
try:
    OTTMiddleware(FastAPI())
except ConfigurationError as error:
    told = str(error)
assert "itsdangerous" in told
assert "SealedSession(secret)" in told
OTTMiddleware(FastAPI(), session="sid")
OTTMiddleware(FastAPI(), session=SealedSession("a secret of this site"))
print("FastAPI alone: the error says what to pass, and what it says works")
