"""Tokens: their names in a backend, their options, and the service that issues and redeems them."""
