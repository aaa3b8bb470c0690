"""What each site of the tests has in common: the options that name the other site and the store."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from app_site_words import EMAIL, NAME, PASSWORD

__all__ = ["DATA", "EMAIL", "KEY", "NAME", "PASSWORD", "options"]

#: The folder that both sites of an app share: its database, its sessions.
DATA = Path(os.environ["SITE_DATA"])
KEY = "the same key at both of the sites"

# Whatever an app does with its own log, the test reads the package's warnings on stderr.
warnings = logging.StreamHandler()
warnings.setLevel(logging.WARNING)
warnings.setFormatter(logging.Formatter("ott_middleware warns: %(message)s"))
logging.getLogger("ott_middleware").addHandler(warnings)


def options() -> dict[str, Any]:
    """Return the options that every site has, whatever its app."""
    return {
        "backend": f"sqlite:///{DATA / 'links.db'}",
        "secret": "a secret of the two sites, and of no other",
        "store_token": "hashed",
        "public_origin": os.environ["SITE_ORIGIN"],
        "handoff_targets": [os.environ["SITE_TARGET"]],
    }
