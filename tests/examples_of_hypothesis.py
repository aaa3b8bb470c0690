"""How many examples Hypothesis tries where a test wants more, or fewer, than its default."""

from __future__ import annotations

import os


def examples(most: int) -> int:
    """Return `most` where all is run in full (OTT_TEST_EXAMPLES=all), else a third of it."""
    return most if os.environ.get("OTT_TEST_EXAMPLES") == "all" else most // 3
