# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Warnings that point at the line of the user, however deep they are raised."""

import sys
import warnings
from pathlib import Path

__all__ = ["warn_user"]

_PACKAGE = str(Path(__file__).parents[1]) + "/"


def warn_user(message, category):
    """
    Warn, and name the first line outside of this package as the place.

    Parameters
    ----------
    message : str
        What the user should know.
    category : type
        Class of the warning.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_ours(filename):
    return filename.replace("\\", "/").startswith(_PACKAGE.replace("\\", "/"))
