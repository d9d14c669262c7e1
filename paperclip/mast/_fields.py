# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Columns of a table of programmes, and how their values are cleaned."""

import html
import re
from types import MappingProxyType

import numpy as np
from astropy.table import MaskedColumn, Table

from paperclip.results import COLUMNS, ColumnSpec, describe_columns

__all__ = [
    "LONGEST",
    "PROPOSAL_COLUMNS",
    "clean_line",
    "clean_text",
    "column_values",
    "cycle_number",
    "is_number",
    "longest",
    "proposal_key",
    "proposal_table",
]

_SPECS = (
    COLUMNS["proposal_id"],
    ColumnSpec("mission", "str", None, "Mission of the programme", "instr.obsty"),
    ColumnSpec("cycle", "int64", None, "Cycle of the call for proposals"),
    ColumnSpec("type", "str", None, "Kind of the programme, such as GO"),
    ColumnSpec("category", "str", None, "Scientific category", "meta.code.class"),
    ColumnSpec("title", "str", None, "Title of the programme", "meta.title"),
    ColumnSpec("pi", "str", None, "Principal investigator", "meta.id.PI"),
    ColumnSpec("abstract", "str", None, "Abstract of the proposal", "meta.abstract"),
    ColumnSpec("source", "str", None, "Where the text is from", "meta.ref"),
    ColumnSpec("retrieved", "str", None, "When it was retrieved (UTC)", "time"),
    ColumnSpec("status", "str", None, "'ok', or why something is missing", "meta.note"),
)

#: Columns of a table of programmes, in order.
PROPOSAL_COLUMNS = MappingProxyType({spec.name: spec for spec in _SPECS})

#: Most characters of a value; what is longer is not such a value. It bounds
#: the memory of a column, which is as wide as its longest value.
LONGEST = MappingProxyType({"abstract": 12_000, "title": 1000})
_LONGEST_OTHER = 300

# only with a semicolon: "S/N &lt 5" and "R&D" stay as they are
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff]")
_BREAK = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")
_NUMBER = re.compile(r"0*([0-9]{1,6})")
_DIGITS = re.compile(r"[1-9][0-9]{0,5}")
_CYCLE = re.compile(r"(?:cycle)?\s*0*([0-9]{1,3})(?:\.0*)?(?![0-9.])", re.IGNORECASE)


def clean_line(text):
    """Return a text as one line: entities resolved, blanks made single."""
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    return " ".join(_CONTROL.sub("", text).split())


def clean_text(text):
    """Return a text with one line for each paragraph, a blank line between."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    parts = [clean_line(part) for part in _BREAK.split(text)]
    return "\n\n".join(part for part in parts if part)


def longest(name):
    """Return how many characters a value of a column may have."""
    return LONGEST.get(name, _LONGEST_OTHER)


def proposal_key(value):
    """
    Return the number of a programme as MAST writes it.

    Parameters
    ----------
    value : str or int
        Such as 2739, ``"02739"``; leading zeros do not count.

    Returns
    -------
    key : str or None
        Digits; other text as it is, without blanks around it; None when
        there is none.
    """
    if value is None or np.ma.is_masked(value):
        return None
    if isinstance(value, (float, np.floating)):
        value = int(value) if float(value).is_integer() else value
    text = str(value).strip()
    match = _NUMBER.fullmatch(text)
    return str(int(match[1])) if match else (text or None)


def is_number(key):
    """Return whether a key is the number of a programme of HST or JWST."""
    return key is not None and _DIGITS.fullmatch(key) is not None


def cycle_number(value):
    """
    Return the number of a cycle from texts like 25, "25", "Cycle 4" and "7N".

    Parameters
    ----------
    value : object
        What a source says.

    Returns
    -------
    cycle : int or None
        None when there is no number at the start.
    """
    if value is None or np.ma.is_masked(value) or isinstance(value, (bool, np.bool_)):
        return None
    match = _CYCLE.match(str(value).strip())
    return int(match[1]) if match else None


def column_values(table, name):
    """Return the values of a column as a list, None where there is none."""
    if name not in table.colnames:
        return [None] * len(table)
    column = table[name]
    mask = np.broadcast_to(getattr(column, "mask", False), len(column))
    # FITS hands out bytes
    return [
        None
        if masked
        else value.decode("utf-8", "replace")
        if isinstance(value, bytes)
        else value
        for value, masked in zip(np.ma.getdata(column), mask, strict=True)
    ]


def proposal_table(records, *, extra=()):
    """
    Build the table of some programmes.

    Parameters
    ----------
    records : sequence of dict
        Values by column; what is missing or None is masked.
    extra : sequence of `~paperclip.results.ColumnSpec`, optional
        Further columns.

    Returns
    -------
    table : `~astropy.table.Table`
        With masked columns, in the order of ``PROPOSAL_COLUMNS``.
    """
    specs = {**PROPOSAL_COLUMNS, **{spec.name: spec for spec in extra}}
    columns = []
    for name, spec in specs.items():
        values = [record.get(name) for record in records]
        mask = [value is None for value in values]
        blank = "" if spec.dtype == "str" else 0
        filled = [blank if value is None else value for value in values]
        dtype = spec.numpy_dtype if not filled or spec.dtype != "str" else None
        columns.append(MaskedColumn(filled, name=name, mask=mask, dtype=dtype))
    return describe_columns(Table(columns), specs=specs)
