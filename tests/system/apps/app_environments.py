"""Environments that the apps are installed in: made once for a list of requirements, and kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path

from services import absent

import ott_middleware

#: The repository: the sites import the package from here, since no environment has it.
ROOT = Path(ott_middleware.__file__).parents[1]
VARIABLE = "OTT_APPS_ENVIRONMENTS"
# The apps are known to run on this one; not all of them run on the newest.
VERSION = "3.11"


def environment(name: str, requirements: Iterable[str]) -> Path:
    """Return the Python of an environment with the requirements, servers, and what we require.

    It is made in the directory that `OTT_APPS_ENVIRONMENTS` names, by default a temporary one of
    this machine, where the next run finds it.
    """
    wanted = sorted({*requirements, *_dependencies(), "uvicorn>=0.30", "waitress>=3"})
    digest = hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:8]
    default = Path(tempfile.gettempdir()) / f"ott-apps-{os.getuid()}"
    directory = Path(os.environ.get(VARIABLE, default))
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = directory / f"{name}-{digest}"
    python, log = place / "bin" / "python", directory / f"{name}-{digest}.log"
    # Two test processes may want it at the same time.
    with (directory / f"{name}-{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (place / "complete").exists():
            return python
        shutil.rmtree(place, ignore_errors=True)
        with log.open("wb") as output:
            for command in (
                [_interpreter(), "-m", "venv", str(place)],
                [*_installer(python), *wanted],
            ):
                if subprocess.run(command, stdout=output, stderr=output, check=False).returncode:
                    absent(f"{', '.join(wanted)}: cannot be installed; see {log}")
        (place / "complete").touch()
    return python


def _installer(python: Path) -> list[str]:
    """Return the command that installs into the environment: uv's, which is quicker, or pip's."""
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "-q", "--python", str(python)]
    return [str(python), "-m", "pip", "install", "-q", "--no-compile"]


def _interpreter() -> str:
    if sys.version_info[:2] == tuple(map(int, VERSION.split("."))):
        return sys.executable
    found = shutil.which(f"python{VERSION}")
    if found is None or subprocess.run([found, "-c", "import venv"], check=False).returncode:
        absent(f"the apps run on Python {VERSION}, which is not here")
    return found


def _dependencies() -> list[str]:
    """Return what the package itself needs."""
    return [line for line in requires("ott_middleware") or () if "extra ==" not in line]
