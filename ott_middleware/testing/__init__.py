"""What proves that a backend or a session adapter keeps its promise.

`BackendContract` and `SessionAdapterContract` are classes of pytest tests: derive from one in a
test module of yours and say how your backend, or your adapter, is made. `assert_single_use` and its
relatives are the races alone, for a script or another test runner. Neither pytest nor anything else
is needed to import this module.
"""

import sys

# Before it is imported: where pytest runs, a failed test of the contract shows what it compared.
_explain = getattr(sys.modules.get("pytest"), "register_assert_rewrite", lambda *_: None)
_explain(
    *(f"{__name__}.{name}" for name in ("backend_contract", "adapter_contract", "adapter_driver"))
)

from .adapter_contract import SessionAdapterContract  # noqa: E402 - see above
from .backend_contract import BackendContract  # noqa: E402 - see above
from .races import (  # noqa: E402 - see above
    aassert_single_use,
    assert_fork_safe,
    assert_single_use,
    assert_single_use_across,
)
from .store import Clock  # noqa: E402 - see above

__all__ = [
    "BackendContract",
    "Clock",
    "SessionAdapterContract",
    "aassert_single_use",
    "assert_fork_safe",
    "assert_single_use",
    "assert_single_use_across",
]
