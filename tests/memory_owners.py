"""Which keys a `MemoryBackend` holds for each owner."""

from __future__ import annotations

from ott_middleware import MemoryBackend


def owners_of(backend: MemoryBackend) -> dict[str, list[str]]:
    """Return all owners, each with the keys of its tokens, oldest first."""
    return {
        owner: [keys] if isinstance(keys, str) else list(keys)
        for part in backend._tokens()._parts
        for owner, keys in part.owners.items()
    }
