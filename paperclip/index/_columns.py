# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Adding and dropping columns."""

__all__ = ["ColumnMethods"]


class ColumnMethods:
    """Part of `paperclip.index.Index`, which inherits it."""
