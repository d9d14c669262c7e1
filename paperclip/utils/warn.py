# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Warnings that point at the line of the user, however deep they are raised."""

import sys
import warnings

__all__ = ["warn_user"]

_PACKAGE = __name__.partition(".")[0]


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
    while frame.f_back is not None and _is_ours(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_ours(frame):
    """Tell by the name of the module; its file may be one of several copies."""
    return frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE
