# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read a stored table, with our own errors."""

import re
from contextlib import contextmanager

import pyarrow as pa

from paperclip.exceptions import (
    DamagedIndexError,
    InvalidQueryError,
    PaperclipError,
)

__all__ = [
    "ADDRESS",
    "STORE_ERRORS",
    "address_condition",
    "damaged",
    "first_line",
    "from_store",
    "not_unit",
    "reading",
    "rows_missing",
    "scan",
]

ADDRESS = "_rowaddr"
STORE_ERRORS = (OSError, ValueError, RuntimeError, pa.ArrowException)


@contextmanager
def reading(uri):
    """
    Turn the errors of a store that cannot be read into our own.

    Parameters
    ----------
    uri : str
        The index, for the message.

    Raises
    ------
    DamagedIndexError
        In place of the error of Lance or Arrow.
    """
    try:
        yield
    except BaseException as exc:
        if isinstance(exc, PaperclipError) or not from_store(exc):
            raise
        raise damaged(uri, first_line(exc)) from exc


def from_store(exc):
    """Tell whether an error comes from Lance or Arrow."""
    # a panic of Lance's Rust code derives from BaseException and has no name
    # that could be imported
    return isinstance(exc, STORE_ERRORS) or type(exc).__name__ == "PanicException"


def damaged(uri, reason):
    """Return the error of an index that cannot be read."""
    return DamagedIndexError(
        f"{uri} is damaged or cannot be read; restore it from a copy or build the "
        f"index again. The store says: {reason}"
    )


def rows_missing(uri):
    """Return the error of an index that lacks rows which it names."""
    return damaged(uri, "rows are missing")


def not_unit(uri):
    """Return the error of vectors that no index of this package would hold."""
    return DamagedIndexError(
        f"{uri} is damaged: it holds vectors that are not of unit length; restore "
        "it from a copy or build the index again"
    )


def first_line(exc):
    """Return the part of a message of Lance that says something to users."""
    text = (str(exc).splitlines() or [type(exc).__name__])[0]
    return re.sub(r",? /\S+\.rs:\d+:\d+", "", text)[:300]


def address_condition(addresses):
    """Return the condition in SQL that picks rows by address."""
    return f"{ADDRESS} IN ({','.join(map(str, addresses.tolist()))})"


def scan(dataset, uri, columns, *, where=None, **options):
    """
    Yield record batches with the row addresses, in row order.

    Parameters
    ----------
    dataset : `lance.LanceDataset`
        The version to read.
    uri : str
        Where it is, for messages.
    columns : list of str
        Columns beside the address.
    where : str, optional
        Condition in SQL.
    **options
        Further arguments of ``dataset.scanner``.

    Yields
    ------
    batch : `pyarrow.RecordBatch`
        The columns and `ADDRESS`.

    Raises
    ------
    InvalidQueryError
        If the condition fails on a value, for example divides by zero.
    DamagedIndexError
        If the files cannot be read.
    """
    if where is not None:
        options |= {"filter": where, "prefilter": True}
    scanner = dataset.scanner(
        columns=columns, with_row_address=True, scan_in_order=True, **options
    )
    try:
        yield from scanner.to_batches()
    except BaseException as exc:
        if not from_store(exc):
            raise
        if where is not None and "applying filter" in str(exc):
            msg = f"where={where!r} cannot be computed: {first_line(exc)}"
            raise InvalidQueryError(msg) from exc
        raise damaged(uri, first_line(exc)) from exc
