"""Backends: where tokens wait."""
