"""How many examples Hypothesis tries where a test wants more, or fewer, than its default."""

from __future__ import annotations

import os

from hypothesis import settings

IS_FULL = os.environ.get("OTT_TEST_EXAMPLES") == "all"
# A test that asks for no number has Hypothesis' own of 100 in a full run. An example may take two
# seconds, since the other processes of a run leave each a part of a core.
settings.register_profile("suite", max_examples=100 if IS_FULL else 40, deadline=2000)
settings.load_profile("suite")


def examples(most: int) -> int:
    """Return `most` where all is run in full (OTT_TEST_EXAMPLES=all), else a third of it."""
    return most if IS_FULL else most // 3
