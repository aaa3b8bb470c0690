"""How many examples Hypothesis tries where a test wants more, or fewer, than its default."""

from __future__ import annotations

import os

from hypothesis import settings

# A test that asks for no number has Hypothesis' own of 100 in a full run.
settings.register_profile("quick", max_examples=40)
if os.environ.get("OTT_TEST_EXAMPLES") != "all":
    settings.load_profile("quick")


def examples(most: int) -> int:
    """Return `most` where all is run in full (OTT_TEST_EXAMPLES=all), else a third of it."""
    return most if os.environ.get("OTT_TEST_EXAMPLES") == "all" else most // 3
