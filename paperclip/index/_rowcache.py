# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Rows in memory, and the quick choice of a few of them."""

from astropy.table import MaskedColumn, Table

__all__ = ["ArrowRows", "TableRows"]


class ArrowRows:
    """
    All rows in Arrow, from which a few are turned into a table.

    Parameters
    ----------
    rows : `pyarrow.Table`
        The rows.
    to_table : callable
        Turns such rows and the names of columns into a table.
    """

    def __init__(self, rows, to_table):
        self._rows = rows
        self._to_table = to_table

    def take(self, positions, names):
        """Return the rows at some positions."""
        wanted = [name for name in names if name in self._rows.column_names]
        if not wanted:
            wanted = self._rows.column_names[:1]
        return self._to_table(self._rows.select(wanted).take(positions), names)


class TableRows:
    """
    All rows as table columns, from which a few are picked quickly.

    Slicing one ready table is several times faster than building one. A
    column that has missing values is sliced from its masked or from its
    plain form, whichever the picked rows need.

    Parameters
    ----------
    table : `~astropy.table.Table`
        All rows with all columns of a result.
    """

    def __init__(self, table):
        self._plain = {}
        self._masked = {}
        for column in table.columns.values():
            if isinstance(column, MaskedColumn):
                self._masked[column.name] = column
                column = table.Column(column.data.data, copy=False, **_info(column))
            self._plain[column.name] = column
        self._tables = {}

    def take(self, positions, names):
        """Return the rows at some positions."""
        flags = tuple(
            name in self._masked and bool(self._masked[name].mask[positions].any())
            for name in names
        )
        table = self._tables.get((names, flags))
        if table is None:
            if len(self._tables) > 32:
                self._tables.clear()
            columns = [
                self._masked[name] if masked else self._plain[name]
                for name, masked in zip(names, flags, strict=True)
            ]
            table = self._tables[names, flags] = Table(columns, copy=False)
        return table[positions]


def _info(column):
    return {
        "name": column.name,
        "unit": column.unit,
        "description": column.description,
        "meta": column.meta,
    }
