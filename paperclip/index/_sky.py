# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Where rows are on the sky: the internal columns, and a coarse test on them."""

import numpy as np
import pyarrow as pa

from paperclip.footprints import Footprints

__all__ = ["sky_columns"]

_ORDER = 29  # the finest cells of HEALPix, 0.4 mas
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


def cells_of(vectors):
    """
    Return the HEALPix cells that hold directions.

    Parameters
    ----------
    vectors : `~numpy.ndarray`, shape (n, 3)
        Unit vectors.

    Returns
    -------
    cells : `~numpy.ndarray`, shape (n,), dtype int64
        Of order 29, nested.
    """
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import lonlat_to_healpix

    x, y, z = vectors.T
    lon = Longitude(np.arctan2(y, x), unit="rad")
    lat = Latitude(np.arctan2(z, np.hypot(x, y)), unit="rad")
    return lonlat_to_healpix(lon, lat, _ORDER).astype(np.int64)
