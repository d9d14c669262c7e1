# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""How the rows of an index are cut into the partitions of a HATS catalogue."""

from typing import NamedTuple

import numpy as np

from paperclip.exceptions import InvalidRowsError
from paperclip.index._selecting import iter_rows, selected
from paperclip.index.formats._schema import stored_names
from paperclip.utils.checks import whole_number

__all__ = ["SPATIAL", "Layout", "layout_of"]

SPATIAL = "_healpix_29"
"""Column with the HEALPix cell of a row."""

_FINEST = 10  # HEALPix order of the smallest partition, as LSDB has it
_FILE = 1 << 27  # bytes of a file, about


class Layout(NamedTuple):
    """
    Which rows stand where in a catalogue.

    Parameters
    ----------
    names : list of str
        Stored columns, those of the position among them.
    addresses : `~numpy.ndarray` of uint64, shape (n,)
        Rows in the order of the sky.
    cells : `~numpy.ndarray` of int64, shape (n,)
        Their HEALPix cells of order 29.
    pixels : list of tuple
        Of each partition: order, pixel, first row, last row + 1.
    """

    names: list
    addresses: np.ndarray
    cells: np.ndarray
    pixels: list


def layout_of(snapshot, *, columns, vectors, rows_per_file, conditions):
    """
    Place rows of an index on the sky.

    Parameters
    ----------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        Version of an index.
    columns : sequence of str or `None`
        Columns asked for.
    vectors : bool
        Whether the vectors are.
    rows_per_file : int or `None`
        Most rows of a partition.
    conditions : dict
        Which rows.

    Returns
    -------
    layout : `Layout`
        Rows and partitions.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong.
    InvalidRowsError
        If rows have no position, or there are none.
    """
    names = stored_names(snapshot, columns, vectors=vectors)
    names += [n for n in ("s_ra", "s_dec") if n not in names]
    size = _rows_per_file(snapshot, rows_per_file)
    chosen, _ = selected(snapshot, **conditions)
    addresses, cells = _cells(snapshot, chosen)
    return Layout(names, addresses, cells, _partition(cells, size))


def _rows_per_file(snapshot, wanted):
    if wanted is not None:
        return whole_number("rows_per_file", wanted, 1, 2**31)
    row = 2 * snapshot.header.dimension + 20 * len(snapshot.specs)
    return max(1000, _FILE // row)


def _cells(snapshot, addresses):
    """Return the addresses and HEALPix cells of rows, by cell."""
    from hats.pixel_math.spatial_index import compute_spatial_index

    place, cells = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    without, start = 0, 0
    if addresses is None:
        addresses = snapshot.addresses()
    for rows in iter_rows(snapshot, ["s_ra", "s_dec"], addresses=addresses, size=65536):
        ra = rows["s_ra"].to_numpy(zero_copy_only=False)
        dec = rows["s_dec"].to_numpy(zero_copy_only=False)
        known = ~(np.isnan(ra) | np.isnan(dec))
        without += int((~known).sum())
        cells.append(compute_spatial_index(ra[known], dec[known]).astype(np.int64))
        place.append(addresses[start : start + len(rows)][known])
        start += len(rows)
    if not start:
        msg = (
            "there are no rows, and a HATS catalogue needs one at least; look after "
            "the conditions, or write Parquet"
        )
        raise InvalidRowsError(msg)
    if without:
        msg = (
            f"{without} rows have no position, which a HATS catalogue cannot hold; "
            "leave such rows out with where='s_ra IS NOT NULL AND s_dec IS NOT NULL'"
        )
        raise InvalidRowsError(msg)
    place, cells = np.concatenate(place), np.concatenate(cells)
    order = np.argsort(cells, kind="stable")
    return place[order], cells[order]


def _partition(cells, size):
    """Return (order, pixel, first row, last row) of cells of at most ``size`` rows."""
    found = []
    waiting = [(0, pixel) for pixel in range(11, -1, -1)]
    while waiting:
        order, pixel = waiting.pop()
        shift = 2 * (29 - order)
        limits = np.array([pixel, pixel + 1], dtype=np.int64) << shift
        start, stop = np.searchsorted(cells, limits).tolist()
        if stop - start > size and order < _FINEST:
            waiting += [(order + 1, 4 * pixel + i) for i in (3, 2, 1, 0)]
        elif stop > start:
            found.append((order, pixel, start, stop))
    return found
