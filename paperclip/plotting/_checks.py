# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Checks that all pictures share."""

from paperclip.exceptions import InvalidQueryError

__all__ = ["check_table"]


def check_table(table, needed, method):
    """Say which column is missing and where a table with it comes from."""
    names = getattr(table, "colnames", None)
    if names is None:
        msg = (
            f"table must be a Table that {method} returned, got {type(table).__name__}"
        )
        raise InvalidQueryError(msg)
    missing = [name for name in needed if name not in names]
    if missing:
        msg = (
            f"table has no column {', '.join(map(repr, missing))}; pass a Table that "
            f"{method} returned, or add it (the columns are {names})"
        )
        raise InvalidQueryError(msg)
