from __future__ import annotations

from typing import Any

from ott_middleware import MemoryBackend

# One store, so that a link of one client can be opened in another.
OPTIONS: dict[str, Any] = {
    "backend": MemoryBackend(),
    "handoff_targets": ["https://b.example"],
    "store_token": "hashed",
}
