# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Answers of any length to a text, page by page."""

import warnings
from datetime import UTC, datetime

import numpy as np

from paperclip import __version__
from paperclip.answers import check_same_model, result_columns
from paperclip.exceptions import NoResultsWarning
from paperclip.queries import check_query_text
from paperclip.results import COLUMNS, describe_columns

__all__ = ["StreamingMethods"]

_PERCENTILE = {"similarity_percentile": COLUMNS["similarity_percentile"]}
_ROUNDING = 1e-6  # a float32 sum rounds differently with its order


class StreamingMethods:
    """The part of `paperclip.PaperclipClass` that answers in pages."""

    def iter_query_text(
        self,
        text,
        *,
        page=1000,
        limit=None,
        min_similarity=None,
        columns=None,
        **conditions,
    ):
        """
        Find observations as `query_text` does, and yield them page by page.

        For answers that are too long for one table: all observations above a
        similarity, or all there are, in bounded memory.

        Parameters
        ----------
        text : str
            What to look for, in English: a few words to a paragraph.
        page : int, optional
            Rows of a page; the last one may have fewer.
        limit : int, optional
            Largest number of rows in all; no limit when not given.
        min_similarity : float, optional
            Rows less similar than this are left out (-1 to 1).
        columns : sequence of str, optional
            Columns of the pages; all by default.
        **conditions
            ``where``, ``region`` and the other conditions of `query_text`.

        Yields
        ------
        table : `~astropy.table.Table`
            As of `query_text`, with the same values; ``rank`` goes on from
            page to page. ``meta`` also holds ``page`` (from 1) and
            ``n_stream`` (rows of all pages together). There is at least one
            page, which is empty if nothing was found.

        Raises
        ------
        InvalidQueryError
            If an argument is wrong; said by the call, before the first page.
        ModelMismatchError
            If the index was built with another model.

        Warns
        -----
        NoResultsWarning
            If there is nothing to yield.

        See Also
        --------
        query_text : The first rows as one table.
        paperclip.index.formats.write_pages : Write the pages to one file.

        Notes
        -----
        All pages are of the version of the index at which the stream began.

        Examples
        --------
        >>> from paperclip import Paperclip
        >>> pages = Paperclip.iter_query_text("spiral galaxy", page=5, limit=12)
        >>> [len(table) for table in pages]
        [5, 5, 2]
        """
        text = check_query_text(text)
        index, encoder = self.index, self.encoder
        check_same_model(index, encoder.fingerprint)
        names = result_columns(columns, index.colnames)
        wanted = [name for name in names if name != "similarity_percentile"]
        wanted += [n for n in ("similarity", "rank") if n not in wanted]
        vector = encoder.encode_texts([text])[0]
        size, version = len(index), index.version
        pages = index.iter_search(
            vector,
            page=page,
            limit=limit,
            min_similarity=min_similarity,
            columns=wanted,
            **conditions,
        )
        above = None
        if "similarity_percentile" in names:
            above = self._above(index, vector, conditions)
        facts = {
            "query": text,
            "index": str(index.uri),
            "indexver": version,
            "n_index": size,
            "model": encoder.fingerprint,
            "modname": str(encoder.name),
            "version": f"paperclip {__version__}",
            "time": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        }
        return _finished(pages, names, above, facts)

    def _above(self, index, vector, conditions):
        """Return what counts the rows of the index that are more similar."""
        if all(value is None for value in conditions.values()):
            return _Leaders()
        everything = np.sort(index.similarities(vector))
        return lambda table: (
            len(everything)
            - np.searchsorted(
                everything, np.asarray(table["similarity"], dtype=float) + _ROUNDING
            )
        )


class _Leaders:
    """Count the rows before those of equal similarity, from page to page."""

    def __init__(self):
        self._last = None
        self._first = 0

    def __call__(self, table):
        similarity = np.asarray(table["similarity"])
        rank = np.asarray(table["rank"]) - 1
        new = np.ones(len(table), dtype=bool)
        new[1:] = similarity[1:] != similarity[:-1]
        if len(table) and self._last is not None:
            new[0] = similarity[0] != self._last
        first = np.maximum.accumulate(np.where(new, rank, self._first))
        if len(table):
            self._last, self._first = similarity[-1], int(first[-1])
        return first


def _finished(pages, names, above, facts):
    """Add what is known of the stream as a whole to each page."""
    size = max(facts["n_index"], 1)
    for table in pages:
        if above is not None:
            percentile = 100.0 * (size - above(table)) / size
            table.add_column(percentile, name="similarity_percentile")
            describe_columns(table, specs=_PERCENTILE)
        done = table[names]
        done.meta = {**facts, **table.meta}
        if not len(table):
            msg = f"nothing in the index {facts['index']!r} fulfils what was asked for"
            warnings.warn(msg, NoResultsWarning, stacklevel=2)
        yield done
