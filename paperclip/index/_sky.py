# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Where rows are on the sky: the internal columns, and a coarse test on them."""

import numpy as np
import pyarrow as pa

from paperclip.footprints import Footprints
from paperclip.footprints.cells import SKY, cells_of, cone_ranges, merged
from paperclip.footprints.sphere import chord

__all__ = ["AREA_COLUMNS", "coarse_condition", "sky_columns", "sorted_by_circles"]

#: What `sorted_by_circles` reads of a row.
AREA_COLUMNS = ("cx", "cy", "cz", "sky_radius")

_RANGES = 64
_CHORDS = 8  # circles that are compared one by one
_WIDE = 1.0  # degrees; few footprints are larger
_LARGE = 0.02  # of the sky; more is not looked up by cells
_SLACK = 1e-9  # radians, for rounding
_ARC = 0.017453293  # radians of a degree, rounded up
_BLOCK = 16384  # footprints read at a time


def sky_columns(columns):
    """
    Return the internal columns of rows.

    Parameters
    ----------
    columns : `pyarrow.Table`
        With ``s_region``, ``s_ra`` and ``s_dec``, as `columns_to_arrow` makes it.

    Returns
    -------
    arrays : dict of str to `pyarrow.Array`
        By the names of `~paperclip.index.schema.INTERNAL`; null where a row has
        neither a footprint that can be read nor a position.
    """
    found = [
        _circles(columns.slice(start, _BLOCK).combine_chunks())
        for start in range(0, len(columns), _BLOCK)
    ]
    if not found:
        found = [(np.empty((0, 3)), np.empty(0))]
    centre, radius = (np.concatenate(part) for part in zip(*found, strict=True))
    missing = np.isnan(radius)
    # a 32-bit number below the true one would lose rows at the edge
    single = radius.astype(np.float32)
    single = np.where(single < radius, np.nextafter(single, np.float32(np.inf)), single)
    values = (cells_of(centre), *centre.T, single)
    names = ("hpx29", "cx", "cy", "cz", "sky_radius")
    return {n: pa.array(v, mask=missing) for n, v in zip(names, values, strict=True)}


def _circles(columns):
    """Return unit vectors and radii (deg) of circles around footprints."""
    lon, lat = (columns[name].to_numpy() for name in ("s_ra", "s_dec"))
    lon, lat = np.radians(lon), np.radians(lat)
    size = np.cos(lat)
    centre = np.stack([size * np.cos(lon), size * np.sin(lon), np.sin(lat)], axis=-1)
    radius = np.where(np.isfinite(centre).all(axis=-1), 0.0, np.nan)
    text = columns["s_region"]
    if text.null_count < len(text):
        shapes = Footprints(text.to_pylist())
        rows, middle, reach = shapes.row_circles()
        centre[rows] = middle
        radius[rows] = np.minimum(180.0, np.degrees(reach) * (1 + 1e-12) + 1e-9)
    centre[np.isnan(radius)] = 1.0
    return centre, radius


def coarse_condition(area):
    """
    Return a condition in SQL that holds for all rows that meet an area.

    Parameters
    ----------
    area : `~paperclip.footprints.SkyArea`
        The part of the sky.

    Returns
    -------
    predicate : str
        Straight distances between unit vectors, and at most `_RANGES` ranges of
        cells, which an index on ``hpx29`` finds without reading the rows. It
        holds for some rows that do not meet the area as well.

    Notes
    -----
    A chord of the sum of two angles is at most the sum of the chord of one and
    the arc of the other, so no row needs a sine. Ranges are widened for rows up
    to `_WIDE` degrees; of those with larger footprints the chord alone decides.
    """
    caps = [(part.centre, part.radius) for part in area.parts]
    if len(caps) > _CHORDS:
        caps = [area.cap]
    if any(radius >= np.pi for _, radius in caps):
        chords = "hpx29 IS NOT NULL"
    else:
        chords = f"({' OR '.join(_chord_condition(*cap) for cap in caps)})"
    start, stop = merged(*_ranges(area), most=_RANGES)
    if (stop - start).sum() > SKY * _LARGE:
        return chords  # an index would only return most of the rows
    cells = " OR ".join(
        f"(hpx29 >= {a} AND hpx29 < {b})"
        for a, b in zip(start.tolist(), stop.tolist(), strict=True)
    )
    return f"({chords} AND ({cells} OR sky_radius > {_WIDE}))"


def _chord_condition(centre, radius):
    square = " + ".join(
        f"(c{axis} - ({value!r})) * (c{axis} - ({value!r}))"
        for axis, value in zip("xyz", map(float, centre), strict=True)
    )
    reach = f"({float(chord(radius)) + _SLACK!r} + {_ARC} * sky_radius)"
    return f"({square} <= {reach} * {reach})"


def _ranges(area):
    """Return ranges of cells that hold all centres within reach of an area."""
    widen = np.radians(_WIDE) + _SLACK
    found = []
    for part in area.parts:
        if hasattr(part, "ranges"):
            found.append(part.ranges(widen))
        else:
            found.append(cone_ranges(part.centre, part.radius + widen))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def sorted_by_circles(area, rows):
    """
    Say which rows meet an area as far as circles around them tell.

    Parameters
    ----------
    area : `~paperclip.footprints.SkyArea`
        The part of the sky.
    rows : `pyarrow.RecordBatch`
        With the columns `AREA_COLUMNS`, nowhere null.

    Returns
    -------
    sure, unsure : `~numpy.ndarray` of bool, shape (n,)
        Rows that meet it, and those whose footprints must be looked at.
    """
    centre = np.stack([rows[name].to_numpy() for name in AREA_COLUMNS[:3]], axis=-1)
    radius = np.radians(rows["sky_radius"].to_numpy().astype(float))
    meets, inside = area.sort_circles(centre, radius)
    sure = inside | (meets & (radius == 0))
    return sure, meets & ~sure
