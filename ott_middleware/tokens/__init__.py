"""Tokens: their names in a backend, their options, and the service that issues and redeems them."""

from .options import GenerationContext, TokenOptions
from .protocol import TokenService
from .service import OneTimeTokens

__all__ = ["GenerationContext", "OneTimeTokens", "TokenOptions", "TokenService"]
