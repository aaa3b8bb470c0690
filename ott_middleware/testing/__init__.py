"""What proves that a backend keeps its promise.

`BackendContract` is a class of pytest tests: derive from it in a test module of yours and say how
your backend is made. `assert_single_use` and its relatives are the races alone, for a script or
another test runner. Neither pytest nor anything else is needed to import this module.
"""

import sys

# Before it is imported: where pytest runs, a failed test of the contract shows what it compared.
_explain = getattr(sys.modules.get("pytest"), "register_assert_rewrite", lambda _: None)
_explain(f"{__name__}.contract")

from .contract import BackendContract  # noqa: E402 - see above
from .races import aassert_single_use, assert_single_use, assert_single_use_across  # noqa: E402
from .store import Clock  # noqa: E402

__all__ = [
    "BackendContract",
    "Clock",
    "aassert_single_use",
    "assert_single_use",
    "assert_single_use_across",
]
