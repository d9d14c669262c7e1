# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Observations of MAST by what they are, where they look, and their names."""

from difflib import get_close_matches

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.table import Table
from astropy.time import Time

from paperclip.exceptions import (
    InvalidQueryError,
    MaxResultsWarning,
    NoResultsWarning,
    RemoteServiceWarning,
)
from paperclip.footprints import Footprints, sky_area
from paperclip.utils.warn import warn_user

from ._fields import column_values, proposal_key
from ._rows import OBSERVATION_COLUMNS, finish, limit_of, rights_of

__all__ = ["query_criteria", "query_object", "query_region"]

_LIMIT = 10_000
_CANDIDATES = 200_000  # rows near a region that are compared with it
_OPTIONS = ("limit", "data_rights", "count_only")
_POSITION = ("s_ra", "s_dec")
_SMALLEST = 1 / 3600  # degrees; MAST's search wants some radius
_ELSEWHERE = {
    "coordinates": "query_region",
    "region": "query_region",
    "radius": "query_region",
    "objectname": "query_object",
    "object_name": "query_object",
}


def query_criteria(
    client, *, limit=_LIMIT, count_only=False, data_rights="PUBLIC", **criteria
):
    """
    Find observations by the values of their columns.

    Parameters
    ----------
    client : `~paperclip.mast.MastClient`
        Who asks.
    limit : int or None, optional
        Largest number of rows, None for all.
    count_only : bool, optional
        Return how many there are and nothing else.
    data_rights : str, sequence of str or None, optional
        Values of ``dataRights`` to take; None for all. Files that are not
        public need the login of their owners.
    **criteria : object
        Column of MAST's observations to the value or the values wanted, for
        columns of real numbers to (min, max) with None for an open end. One
        text may hold ``*`` for any characters. `~astropy.time.Time` and
        quantities are converted.

    Returns
    -------
    table : `~astropy.table.Table` or int
        One row per observation, with MAST's names of columns; their number
        with ``count_only``. ``meta`` holds ``query``, ``n_avail`` (rows there are),
        ``server`` and ``time``.

    Raises
    ------
    InvalidQueryError
        If there is no criterion, no such column, or a value does not fit it.
    RemoteServiceError
        If MAST does not answer.

    Warns
    -----
    MaxResultsWarning
        If there are more than ``limit``.
    NoResultsWarning
        If there is none; the table is empty then.

    Notes
    -----
    The columns are described at
    https://mast.stsci.edu/api/v0/_c_a_o_mfields.html.
    """
    limit = limit_of("limit", limit)
    if not criteria:
        msg = (
            "criteria must not be empty, that is the whole archive; give at least one "
            "column, for example proposal_id=15513"
        )
        raise InvalidQueryError(msg)
    filters = _filters(criteria, data_rights)
    if count_only:
        return client.count(filters)
    table = client.observations(filters, limit=limit)
    total = max(table.meta.get("rows_available", 0), len(table))
    query = _shown(criteria)
    table = finish(table, OBSERVATION_COLUMNS, query=query, n_avail=total)
    _tell(table, total, limit, f"observations with {query}", data_rights)
    return table


def query_region(
    client, region, radius=None, *, limit=_LIMIT, data_rights="PUBLIC", **criteria
):
    """
    Find observations whose footprints overlap a part of the sky.

    Parameters
    ----------
    client : `~paperclip.mast.MastClient`
        Who asks.
    region : region, `~astropy.coordinates.SkyCoord`, str or sequence
        As `~paperclip.footprints.sky_area` takes it.
    radius : angle, str or float, optional
        For positions; a number is in degrees.
    limit : int or None, optional
        Largest number of rows, None for all; the nearest ones are kept.
    data_rights : str, sequence of str or None, optional
        As for `query_criteria`.
    **criteria : object
        Further conditions, as for `query_criteria`.

    Returns
    -------
    table : `~astropy.table.Table`
        As of `query_criteria`, nearest first, with the ``distance`` of each position
        from the centre of the region. ``meta`` also holds ``centre`` and ``radius`` of
        the circle that MAST was asked for, in degrees.

    Raises
    ------
    InvalidQueryError
        If there is no such region, or a criterion is wrong.
    RemoteServiceError
        If MAST does not answer.

    Warns
    -----
    MaxResultsWarning
        If there are more than ``limit``, or too many around the region to look at
        all of them.
    NoResultsWarning
        If there is none; the table is empty then.
    RemoteServiceWarning
        If footprints of the archive are damaged; those observations are judged
        by their position.

    Notes
    -----
    MAST is asked for a circle around the region; which of its observations
    overlap the region itself is decided here, exactly and on the sphere.
    """
    limit = limit_of("limit", limit)
    area = sky_area(region, radius)
    filters = _filters(criteria, data_rights) if criteria or data_rights else {}
    centre, size = area.bounding_circle
    size = Angle(min(180.0, max(size.deg, _SMALLEST)), unit="deg")
    table = client.observations(filters, position=(centre, size), limit=_CANDIDATES)
    candidates = table.meta.get("rows_available", 0)
    if candidates > len(table):
        msg = (
            f"{candidates} observations are near the region and {len(table)} of them "
            "were looked at; ask for a smaller region, or add criteria"
        )
        warn_user(msg, MaxResultsWarning)
    table = _overlapping(table, area, centre)
    total = len(table)
    where = f"{centre.ra.deg:.6f} {centre.dec.deg:+.6f}"
    table = finish(
        table[:limit],
        OBSERVATION_COLUMNS,
        query=_shown({"region": _title(region, radius), **criteria}),
        n_avail=total,
        centre=where,
        radius=float(size.deg),
    )
    what = f"observations in {_title(region, radius)}"
    _tell(table, total, limit, what, data_rights)
    return table


def query_object(
    client, name, radius="3 arcmin", *, limit=_LIMIT, data_rights="PUBLIC", **criteria
):
    """
    Find observations whose footprints overlap a circle around an object.

    Parameters
    ----------
    client : `~paperclip.mast.MastClient`
        Who asks.
    name : str
        Name that the resolver of MAST knows.
    radius : angle, str or float, optional
        A number is in degrees; 0 for footprints that hold the position.
    limit : int or None, optional
        As for `query_region`.
    data_rights : str, sequence of str or None, optional
        As for `query_criteria`.
    **criteria : object
        Further conditions, as for `query_criteria`.

    Returns
    -------
    table : `~astropy.table.Table`
        As of `query_region`; ``meta`` also holds ``object``.

    Raises
    ------
    NameResolutionError
        If nobody knows the object.
    InvalidQueryError
        If another argument is wrong.
    RemoteServiceError
        If MAST does not answer.
    """
    limit = limit_of("limit", limit)
    sky_area("0 0", radius)  # before a question goes out
    _filters(criteria, data_rights)
    position = client.resolve(name)
    table = query_region(
        client, position, radius, limit=limit, data_rights=data_rights, **criteria
    )
    table.meta = {"object": str(name).strip(), **table.meta}
    return table


# -- helpers ------------------------------------------------------------------
def _filters(criteria, data_rights):
    """Return criteria as the client takes them."""
    filters = {}
    for name, value in criteria.items():
        if (other := _ELSEWHERE.get(name.lower())) is not None:
            msg = f"{name!r} is no column of observations; use {other} for that"
            raise InvalidQueryError(msg)
        near = get_close_matches(name, _OPTIONS, 1, 0.8)
        if near and name.lower() != "datarights":
            msg = f"there is no option {name!r}; did you mean {near[0]!r}?"
            raise InvalidQueryError(msg)
        filters[name] = _plain(name, value)
    rights = {name.lower() for name in filters} & {"datarights"}
    if (allowed := rights_of(data_rights)) is not None and not rights:
        filters["dataRights"] = allowed
    return filters


def _plain(name, value):
    """Turn times, quantities, columns and padded numbers into plain values."""
    if isinstance(value, Time):
        return _listed(value.mjd)
    if isinstance(value, u.Quantity):
        unit = getattr(OBSERVATION_COLUMNS.get(name), "unit", None)
        try:
            return _listed(value.to_value(unit or u.one))
        except u.UnitsError as exc:
            msg = f"{name} must be in a unit like {unit or 'none'}, got {value}"
            raise InvalidQueryError(msg) from exc
    if isinstance(value, np.ndarray):  # columns of tables as well
        value = [item for item in value.tolist() if item is not None]
        return [_plain(name, item) for item in value]
    if isinstance(value, (list, tuple, set)):
        return [_plain(name, item) for item in value]
    if name.lower() == "proposal_id" and not isinstance(value, (bool, np.bool_)):
        return proposal_key(value)
    return value


def _listed(values):
    return np.asarray(values).tolist()


def _overlapping(table, area, centre):
    """Keep the rows that overlap an area, nearest first, with their distance."""
    if not len(table):
        return table
    ra, dec = (np.ma.filled(table[name].astype(float), np.nan) for name in _POSITION)
    footprints = Footprints(column_values(table, "s_region"))
    hits = area.intersects(footprints)
    without = np.array(sorted(footprints.problems), dtype=int)
    hits[without] |= area.contains(ra[without], dec[without])
    damaged = {r: why for r, why in footprints.problems.items() if why != "no s_region"}
    if damaged:
        row, why = next(iter(damaged.items()))
        msg = (
            f"{len(damaged)} footprints of {len(table)} are damaged, their rows are "
            f"judged by position; the first, obsid {table['obsid'][row]}: {why}"
        )
        warn_user(msg, RemoteServiceWarning)
    rows = np.flatnonzero(hits)
    known = np.isfinite(ra) & np.isfinite(dec)
    positions = SkyCoord(np.where(known, ra, 0), np.where(known, dec, 0), unit="deg")
    distance = np.where(known, centre.separation(positions).arcsec, np.inf)[rows]
    order = np.argsort(distance, kind="stable")
    meta, table = table.meta, table[rows[order]]
    table["distance"] = np.ma.masked_invalid(distance[order])
    table.meta = meta
    return table


def _tell(table, total, limit, what, rights):
    """Warn of nothing, and of more than the limit lets through."""
    if not len(table):
        told = rights is None or "dataRights=" in what
        public = "" if told else f" and dataRights={rights!r}"
        msg = f"MAST has no {what}{public}"
        warn_user(msg, NoResultsWarning)
    elif limit is not None and total > limit:
        msg = (
            f"there are {total} {what}, limit={limit} lets the first {len(table)} "
            "through; raise limit, or set limit=None for all"
        )
        warn_user(msg, MaxResultsWarning)


def _shown(criteria):
    return ", ".join(f"{name}={str(value)[:100]}" for name, value in criteria.items())


def _title(region, radius):
    """Return a short name of a region, on one line."""
    if isinstance(region, SkyCoord) and region.isscalar:
        place = region.icrs
        text = f"{place.ra.deg:.6f} {place.dec.deg:+.6f}"
    elif isinstance(region, (list, tuple, Table)) and len(region) != 2:
        text = f"{len(region)} regions"
    else:
        text = " ".join(str(region).split())[:100]
    return text if radius is None else f"{text} within {radius}"
