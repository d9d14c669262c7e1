# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Cells of tables as plain values, and names for pairs."""

import hashlib
from difflib import get_close_matches

import numpy as np
from astropy.table import Table

from paperclip.exceptions import InvalidQueryError

__all__ = [
    "cell_value",
    "group_name",
    "has_text",
    "is_words",
    "lot",
    "need_column",
    "read_csv",
    "some",
]

_NAMED = 5  # keys that a message names


def need_column(table, name):
    """
    Refuse a column that does not exist.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.
    name : str
        Column that is needed.

    Raises
    ------
    InvalidQueryError
        If there is none; the nearest name is given.
    """
    if name not in table.colnames:
        near = get_close_matches(name, table.colnames, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        msg = f"the table has no column {name!r}{hint} It has {table.colnames}"
        raise InvalidQueryError(msg)


def cell_value(value):
    """
    Return a plain value of a cell.

    Parameters
    ----------
    value : object
        Element of a column.

    Returns
    -------
    value : object
        None if it is masked or NaN.
    """
    if value is None or np.ma.is_masked(value):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and np.isnan(value):
        return None
    return value


def has_text(text):
    if isinstance(text, str):
        return bool(text.strip())
    return text is not None and len(text) > 0


def is_words(value):
    """
    Tell whether a value is a text that files and tokenizers can take.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    answer : bool
        False for what is blank or no str, and for halves of characters
        (surrogates), which JSON can hold and UTF-8 cannot.
    """
    if not isinstance(value, str) or not value.strip():
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_csv(path, **options):
    """
    Read a CSV file in UTF-8, also with the mark that spreadsheets put first.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    **options : object
        For astropy's reader.

    Returns
    -------
    table : `~astropy.table.Table`
        Its rows.
    """
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    return Table.read(lines, format="ascii.csv", **options)


def group_name(parts, said):
    """
    Name the group of a pair.

    Parameters
    ----------
    parts : sequence
        What makes the name together, such as mission and proposal.
    said : mapping
        Texts of the pair by source; if a part is missing they tell who
        belongs together.

    Returns
    -------
    name : str
        Not blank.
    """
    if all(part is not None and str(part).strip() for part in parts):
        return ":".join(str(part).strip() for part in parts)
    texts = "\n".join(str(text) for _, text in sorted(said.items()))
    return "text:" + hashlib.blake2b(texts.encode(), digest_size=8).hexdigest()


def lot(key, seed):
    """
    Return bytes that look drawn and depend on the arguments only.

    Parameters
    ----------
    key : str
        Key of a pair.
    seed : int
        Any seed.

    Returns
    -------
    lot : bytes
        To sort by.
    """
    return hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()


def some(names):
    """
    Name the first few of many.

    Parameters
    ----------
    names : sequence of str
        Names for a message.

    Returns
    -------
    text : str
        Up to five of them, and how many more there are.
    """
    shown = ", ".join(repr(name) for name in names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
