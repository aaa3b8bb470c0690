"""A Django project's own tests, run as its developer runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


class TestProjectOfADeveloper:
    def test_its_tests_pass(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "django", "test", "shop", "--settings", "shop.settings"],
            cwd=HERE,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert "Ran 11 tests" in done.stderr
