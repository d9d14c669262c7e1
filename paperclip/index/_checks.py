# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Checks of the arguments of `paperclip.index.Index`."""

import numpy as np

from paperclip.exceptions import InvalidQueryError, InvalidRowsError
from paperclip.index._rows import normalise
from paperclip.index.schema import nearest

__all__ = ["check_unicode", "column_names", "unit_query"]


def check_unicode(name, text):
    """Refuse a text with half a character, which no index can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        msg = f"{name} must be Unicode, got {text!r:.60} with half a character"
        raise InvalidQueryError(msg) from exc


def unit_query(vector, dimension):
    """Return a query as a unit vector, float32, shape (d,)."""
    vector = np.asarray(vector)
    if vector.ndim == 2 and len(vector) == 1:
        vector = vector[0]
    if vector.shape != (dimension,):
        msg = (
            f"vector must have shape ({dimension},) for this index, got "
            f"{vector.shape}; was it made by another model?"
        )
        raise InvalidQueryError(msg)
    if vector.dtype.kind in "fiu":
        bad = np.flatnonzero(~np.isfinite(vector))
        if len(bad) or not vector.any():
            what = f"has {vector[bad[0]]} at place {bad[0]}" if len(bad) else "is zero"
            msg = (
                "vector cannot be searched: it must be finite and not all zero, but "
                f"{what}; look after the text or picture that it was made of"
            )
            raise InvalidQueryError(msg)
    try:
        return normalise(vector[None], dimension, name="vector")[0]
    except InvalidRowsError as exc:
        msg = f"vector cannot be searched: {exc}"
        raise InvalidQueryError(msg) from exc


def column_names(columns, specs):
    """Return the wanted names as a tuple, all of ``specs`` for `None`."""
    if columns is None:
        return tuple(specs)
    names = (columns,) if isinstance(columns, str) else tuple(columns)
    for name in names:
        if name not in specs:
            msg = f"columns has the unknown name {name!r}{nearest(name, specs)}"
            raise InvalidQueryError(msg)
    if not names or len(set(names)) < len(names):
        msg = f"columns must name at least one column, each once, got {names}"
        raise InvalidQueryError(msg)
    return names
