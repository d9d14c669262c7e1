# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Versions: listing, restoring and naming them."""

__all__ = ["VersionMethods"]


class VersionMethods:
    """Part of `paperclip.index.Index`, which inherits it."""
