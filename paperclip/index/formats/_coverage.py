# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The area on the sky that an index covers."""

import warnings
from pathlib import Path

import numpy as np

from paperclip.exceptions import (
    ExportError,
    FailedRowsWarning,
    FootprintError,
    InvalidQueryError,
)
from paperclip.footprints import Circle, parse_s_region
from paperclip.index._selecting import iter_rows, selected
from paperclip.index.formats._places import new_file
from paperclip.utils.checks import whole_number
from paperclip.utils.optional import import_optional

__all__ = ["coverage", "export_moc", "read_coverage"]

_ROWS = 4096  # whose areas are joined at a time


def _mocpy():
    return import_optional("mocpy", extra="moc", purpose="the coverage of an index")


def coverage(index, *, order=10, **conditions):
    """
    Return the area on the sky that rows of an index cover.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        The index.
    order : int, optional
        HEALPix order of the smallest cells, 0 to 29; 10 is 3.4 arcmin.
    **conditions
        ``where``, ``region`` and the other conditions of
        `paperclip.index.Index.search`.

    Returns
    -------
    moc : ``mocpy.MOC``
        All cells that a footprint (circle or polygon) meets, those of the
        position where there is no footprint. Rows without either are left
        out.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong.
    MissingDependencyError
        If the extra ``moc`` is not installed.

    Warns
    -----
    FailedRowsWarning
        If footprints cannot be read; the positions are used then.

    Notes
    -----
    A multi-order coverage map is an IVOA Recommendation (MOC 2.0); it is
    made of cells, so it reaches somewhat beyond the footprints.
    """
    mocpy = _mocpy()
    order = whole_number("order", order, 0, 29)
    snapshot = index._snapshot
    addresses, _ = selected(snapshot, **conditions)
    whole, failed = mocpy.MOC.new_empty(order), []
    names = ["s_ra", "s_dec", "s_region"]
    for rows in iter_rows(snapshot, names, addresses=addresses, size=_ROWS):
        columns = (rows[name].to_pylist() for name in names)
        parts = _parts(columns, order, failed)
        if parts:
            whole = whole.union(*parts)
    if failed:
        msg = (
            f"{len(failed)} footprints cannot be read, the positions stand for them: "
            f"{failed[0]}"
        )
        warnings.warn(msg, FailedRowsWarning, stacklevel=2)
    return whole


def _parts(columns, order, failed):
    """Return the areas of the circles, polygons and positions of rows."""
    points, circles, polygons = [], [], []
    for ra, dec, text in zip(*columns, strict=True):
        try:
            shapes = parse_s_region(text)
        except FootprintError as exc:
            failed.append(str(exc))
            shapes = []
        for shape in shapes:
            if isinstance(shape, Circle):
                lonlat = (shape.ra, shape.dec)
                if shape.radius > 0:
                    circles.append((*lonlat, shape.radius))
                points.append(lonlat)
            elif len(shape.vertices) < 3:
                points.extend(shape.vertices)
            else:
                polygons.append(shape.vertices)
                points.extend(shape.vertices)
        if not shapes and ra is not None and dec is not None:
            points.append((ra, dec))
    return [
        *_of_points(points, order),
        *_of_circles(circles, order),
        *_of_polygons(polygons, order),
    ]


def _of_points(points, order):
    from astropy import units as u

    if points:
        lon, lat = np.array(points).T
        yield _mocpy().MOC.from_lonlat(lon * u.deg, lat * u.deg, max_norder=order)


def _of_circles(circles, order):
    from astropy import units as u

    if circles:
        lon, lat, radius = np.array(circles).T * u.deg
        yield _mocpy().MOC.from_cones(
            lon,
            lat,
            radius=radius,
            max_depth=order,
            union_strategy="large_cones",
            n_threads=1,
        )


def _of_polygons(polygons, order):
    alike = {}  # mocpy takes polygons with one number of vertices at a time
    for vertices in polygons:
        alike.setdefault(len(vertices), []).append(vertices)
    for group in alike.values():
        lonlat = np.array(group).transpose(0, 2, 1).reshape(2 * len(group), -1)
        lonlat = np.ascontiguousarray(lonlat)
        yield from _mocpy().MOC.from_polygons(lonlat, max_depth=order, n_threads=1)


def export_moc(index, path, *, order=10, overwrite=False, **conditions):
    """
    Write the area that rows of an index cover.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        The index.
    path : path-like
        Name of the file: JSON or ASCII (``.txt``) by its end, FITS otherwise.
    order : int, optional
        See `coverage`.
    overwrite : bool, optional
        Replace a file that is there.
    **conditions
        ``where``, ``region`` and the other conditions of
        `paperclip.index.Index.search`.

    Returns
    -------
    path : `~pathlib.Path`
        The file.

    Raises
    ------
    ExportError
        If there is a file already, or it cannot be written.
    """
    moc = coverage(index, order=order, **conditions)
    with new_file(path, overwrite=overwrite) as part:
        try:
            moc.save(part, _kind(path), overwrite=True)
        except (OSError, ValueError) as exc:
            msg = f"{path} cannot be written: {exc}"
            raise ExportError(msg) from exc
    return Path(path).expanduser().absolute()


def read_coverage(path):
    """
    Read an area that `export_moc` or another program wrote.

    Parameters
    ----------
    path : path-like
        FITS, JSON (``.json``) or ASCII (``.txt``) file of a space coverage.

    Returns
    -------
    moc : ``mocpy.MOC``
        The area, for example for ``region=`` of a search.

    Raises
    ------
    InvalidQueryError
        If the file is no such area.
    MissingDependencyError
        If the extra ``moc`` is not installed.
    """
    mocpy = _mocpy()
    path = Path(path).expanduser()
    try:
        return mocpy.MOC.load(path, _kind(path))
    except (OSError, ValueError) as exc:
        msg = f"{path} cannot be read as a coverage map (MOC): {exc}"
        raise InvalidQueryError(msg) from exc


def _kind(path):
    end = Path(path).suffix.lower()
    return {".json": "json", ".txt": "ascii"}.get(end, "fits")
