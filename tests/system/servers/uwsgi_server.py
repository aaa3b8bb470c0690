"""Serves by uWSGI, as its console script does: `python -m` cannot run a module written in C."""

import sys

import pyuwsgi

if __name__ == "__main__":
    # The interpreter of this environment, whose packages the app needs.
    pyuwsgi.run([*sys.argv[1:], "--pyhome", sys.prefix])
