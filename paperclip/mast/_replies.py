# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From pages of rows in JSON to one table, without losing or doubling a row."""

import json
import math

import numpy as np
from astropy.table import MaskedColumn, Table

from paperclip.exceptions import InvalidQueryError

from ._transport import Trouble

__all__ = ["Columns", "Page", "read_page", "read_rows"]

_REALS = frozenset({"float", "double", "decimal", "real", "numeric"})
_WHOLES = frozenset({"int", "integer", "short", "long", "number", "unsignedbyte"})
_BOOLS = frozenset({"boolean", "binary"})
_LARGEST_PAGE = 500_000
_PASSES = 3


class Page:
    """
    A checked page of an answer.

    Parameters
    ----------
    reply : dict
        JSON of a Mashup service.
    number, size : int
        Page and rows per page that were asked for.

    Raises
    ------
    Trouble
        If it is not what such a service answers.
    """

    def __init__(self, reply, number, size):
        status = reply.get("status") if isinstance(reply, dict) else None
        if status != "COMPLETE":
            said = reply.get("msg") if isinstance(reply, dict) else None
            msg = f"the service reports {status or 'no status'}: {str(said)[:300]}"
            raise Trouble(msg, status=200, advice="Try again later")
        rows, fields = reply.get("data"), reply.get("fields")
        if rows == [] and fields is None:
            fields = []
        good = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
        good &= isinstance(fields, list) and all(
            isinstance(field, dict) and isinstance(field.get("name"), str)
            for field in fields
        )
        if not good:
            msg = "the answer holds no table of rows"
            raise Trouble(msg, status=200, advice="Try again later")
        self.rows = rows
        self.fields = {
            field["name"]: str(field.get("type", "string")).lower()
            for field in fields
            if field["name"] != "_selected_"
        }
        paging = reply.get("paging") or {}
        self.total = _count(paging, "rowsFiltered", len(rows))
        self.size = min(max(_count(paging, "pageSize", size), 1), size)
        self.pages = -(-self.total // self.size)
        before = (number - 1) * self.size
        self.expected = max(min(self.size, self.total - before), 0)


def _count(paging, name, default):
    """Return a number of the paging information, or what stands for it."""
    value = paging.get(name) if isinstance(paging, dict) else None
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if good else default


def _identity(row, names):
    """Return a number that two rows share only when they are the same."""
    try:
        return hash(tuple(map(row.get, names)))
    except TypeError:  # lists and objects have no hash
        return hash(json.dumps(row, sort_keys=True, default=str))


def read_page(ask, number, size, *, attempts, pause):
    """
    Ask for a page until all of its rows have come.

    Parameters
    ----------
    ask : callable
        Takes page and size, returns a `Page`.
    number, size : int
        Which page.
    attempts : int
        How often to ask at most.
    pause : callable
        Waits before attempt number 2, 3, ...

    Returns
    -------
    page : Page
        The last answer.
    rows : dict of int to dict
        Each different row once.
    doubled : int
        Rows that the archive itself holds twice.

    Raises
    ------
    Trouble
        If rows are missing to the end.
    """
    rows = {}
    for attempt in range(max(attempts, 2)):
        if attempt:
            pause(attempt)
        page = ask(number, size)
        known = len(rows)
        names = sorted(page.fields)
        new = {_identity(row, names): row for row in page.rows}
        rows |= new
        if len(rows) >= page.expected:
            return page, rows, 0
        whole = len(page.rows) >= page.expected
        if attempt and whole and len(new) == len(rows) == known:
            return page, rows, page.expected - len(rows)
    missing = page.expected - len(rows)
    msg = f"{missing} of {page.expected} rows of page {number} did not come"
    raise Trouble(msg, status=200, again=False, advice="Try again later")


def read_rows(ask, columns, *, size, need, attempts, pause):
    """
    Read all pages of an answer into columns.

    Pages of a server that orders its rows anew for each request overlap, and
    what one page repeats another lacks. So rows are counted by what they
    hold, and pages are asked for again until none is missing; the last time
    as one page, which cannot overlap.

    Parameters
    ----------
    ask : callable
        Takes page and size, returns a `Page`.
    columns : Columns
        Takes the rows.
    size : int
        Rows of a page.
    need : callable
        Takes the number of rows that there are, returns how many are wanted.
    attempts : int
        How often a page is asked for at most.
    pause : callable
        Waits before attempt number 2, 3, ...

    Returns
    -------
    total : int
        Rows that there are.

    Raises
    ------
    Trouble
        If rows are missing to the end.
    """
    seen, wanted = set(), 0
    for turn in range(_PASSES):
        if turn == _PASSES - 1:
            size = min(max(wanted, size), _LARGEST_PAGE)
        number, doubled = 1, 0
        while True:
            page, rows, extra = read_page(
                ask, number, size, attempts=attempts, pause=pause
            )
            wanted = need(page.total)
            # a page that is smaller than asked for sets the size of the next
            size = page.size
            doubled += extra
            fresh = [row for key, row in rows.items() if key not in seen]
            seen |= rows.keys()
            columns.add(page, fresh)
            complete = len(seen) + doubled >= wanted or columns.enough
            if complete or number >= page.pages:
                break
            number += 1
        if complete:
            return page.total
        if turn < _PASSES - 1:
            pause(turn + 1)
    missing = wanted - len(seen) - doubled
    msg = f"{missing} of {wanted} rows are missing: the pages of the answer overlap"
    raise Trouble(msg, status=200, again=False, advice="Try again later")


class Columns:
    """
    The rows so far, column by column, which takes a fraction of the memory.

    Parameters
    ----------
    key : str
        Column that tells rows apart; a value that was there is not taken
        again.
    keep : callable, optional
        Takes a `~astropy.table.Table` of a page and returns which rows to
        keep, as bool.
    limit : int, optional
        Most rows to take.
    """

    def __init__(self, key, *, keep=None, limit=None):
        self.key = key
        self.keep = keep
        self.limit = limit
        self.length = 0
        self._types = {}
        self._lists = {}
        self._keys = set()
        self._texts = {}  # one object for each text that comes often

    @property
    def enough(self):
        """Whether the limit is reached."""
        return self.limit is not None and self.length >= self.limit

    def add(self, page, rows):
        """
        Take rows of a page.

        Parameters
        ----------
        page : Page
            Where the names and types come from.
        rows : list of dict
            Different rows.
        """
        for name, kind in page.fields.items():
            if name not in self._types:
                self._types[name] = kind
                self._lists[name] = [None] * self.length
        known = self._keys
        fresh = [row for row in rows if _text(row.get(self.key)) not in known]
        if self.keep is not None and fresh:
            lists = {name: [row.get(name) for row in fresh] for name in page.fields}
            table = Table([_column(n, v, self._types[n]) for n, v in lists.items()])
            mask = np.ma.filled(self.keep(table), False).astype(bool)
            if mask.shape != (len(table),):
                msg = (
                    f"keep must return one bool for each of {len(table)} rows, got an "
                    f"array of shape {mask.shape}"
                )
                raise InvalidQueryError(msg)
            fresh = [row for row, good in zip(fresh, mask, strict=True) if good]
        for row in fresh:
            if self.enough:
                break
            value = _text(row.get(self.key))
            if value in self._keys:
                continue
            if value:  # a row without a key is not a repetition of another
                self._keys.add(value)
            for name, values in self._lists.items():
                values.append(self._shared(row.get(name)))
            self.length += 1

    def _shared(self, value):
        if isinstance(value, str) and len(self._texts) < 10_000:
            return self._texts.setdefault(value, value)
        return self._texts.get(value, value) if isinstance(value, str) else value

    def values(self, name):
        """
        Return the values of a column.

        Parameters
        ----------
        name : str
            Column.

        Returns
        -------
        values : list
            As they came; None for what is missing and for an unknown column.
        """
        return self._lists.get(name, [None] * self.length)

    def table(self, order):
        """
        Return everything as a table, and forget it.

        Parameters
        ----------
        order : sequence of int
            Which row comes when.

        Returns
        -------
        table : `~astropy.table.Table`
            Every column is masked where a value is missing.
        """
        table = Table()
        for name, kind in self._types.items():
            values = self._lists.pop(name)
            table[name] = _column(name, [values[i] for i in order], kind)
        return table


def _column(name, values, kind):
    """Return a masked column; a value that does not fit its type is missing."""
    if kind in _REALS:
        return _numbers(name, values, float, "f8", np.nan)
    if kind in _WHOLES:
        return _numbers(name, values, _whole, "i8", 0)
    if kind in _BOOLS:
        return _numbers(name, values, _truth, "?", False)
    texts = [_text(value) for value in values]
    mask = [not text for text in texts]
    return MaskedColumn(texts, name=name, mask=mask, dtype=str)


def _numbers(name, values, convert, dtype, empty):
    data = np.full(len(values), empty, dtype=dtype)
    mask = np.ones(len(values), dtype=bool)
    for place, value in enumerate(values):
        if value is None:
            continue
        try:
            number = convert(value)
        except (ValueError, TypeError, OverflowError, KeyError):
            continue
        if math.isfinite(number):
            data[place], mask[place] = number, False
    return MaskedColumn(data, name=name, mask=mask)


def _whole(value):
    number = int(value)
    if number != float(value) or abs(number) >= 2**63:
        raise ValueError
    return number


def _truth(value):
    if isinstance(value, str):
        return {"true": True, "false": False}[value.lower()]
    return bool(value)


def _text(value):
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
