# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Compaction and scalar indexes."""

__all__ = ["UpkeepMethods"]


class UpkeepMethods:
    """Part of `paperclip.index.Index`, which inherits it."""
