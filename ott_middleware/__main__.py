"""`python -m ott_middleware doctor module:app`: tells whether a set-up works."""

import sys

from .doctor import main

if __name__ == "__main__":
    sys.exit(main())
