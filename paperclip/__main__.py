# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Run the command ``paperclip`` as ``python -m paperclip``."""

import sys

from paperclip.cli import main

__all__ = []

if __name__ == "__main__":
    sys.exit(main())
