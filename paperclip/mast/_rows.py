# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Columns of observations and products, and what both tables have in common."""

from types import MappingProxyType

import numpy as np
from astropy import units as u

from paperclip.exceptions import InvalidQueryError
from paperclip.results import COLUMNS, ColumnSpec, describe_columns

__all__ = [
    "OBSERVATION_COLUMNS",
    "PRODUCT_COLUMNS",
    "as_text",
    "finish",
    "limit_of",
    "rights_of",
]

_EXTRA = (
    ColumnSpec("obsid", "str", None, "Number of the observation in MAST", "meta.id"),
    ColumnSpec("distance", "float64", u.arcsec, "Distance from the centre asked for"),
    ColumnSpec("t_exptime", "float64", u.s, "Exposure time", "time.duration;obs"),
    ColumnSpec("em_min", "float64", u.nm, "Shortest wavelength", "em.wl;stat.min"),
    ColumnSpec("em_max", "float64", u.nm, "Longest wavelength", "em.wl;stat.max"),
    ColumnSpec("calib_level", "int64", None, "Level of calibration, 0 to 4"),
    ColumnSpec("dataproduct_type", "str", None, "Kind of data, such as image"),
    ColumnSpec("dataRights", "str", None, "PUBLIC, EXCLUSIVE_ACCESS or RESTRICTED"),
    ColumnSpec(
        "t_obs_release", "float64", u.d, "Date of release (MJD)", "time.release"
    ),
    ColumnSpec("wavelength_region", "str", None, "Part of the spectrum", "em"),
    ColumnSpec("provenance_name", "str", None, "Pipeline or project of the data"),
    ColumnSpec("project", "str", None, "Project that processed the data"),
    ColumnSpec("intentType", "str", None, "science or calibration"),
    ColumnSpec("proposal_type", "str", None, "Kind of the programme, such as GO"),
    ColumnSpec("dataURL", "str", None, "Main product", "meta.ref.url"),
)
_RIGHTS = ("PUBLIC", "EXCLUSIVE_ACCESS", "RESTRICTED")
_COMPUTED = ("rank", "similarity", "similarity_percentile")

#: Columns of observations, in the order of a result; MAST's others follow.
OBSERVATION_COLUMNS = MappingProxyType(
    {n: s for n, s in COLUMNS.items() if n not in (*_COMPUTED, "dataURI")}
    | {spec.name: spec for spec in _EXTRA}
)

_PRODUCT = (
    ColumnSpec("obsID", "str", None, "Number of the observation in MAST", "meta.id"),
    ColumnSpec("parent_obsid", "str", None, "Observation that was asked for"),
    COLUMNS["obs_collection"],
    COLUMNS["obs_id"],
    ColumnSpec("productType", "str", None, "SCIENCE, PREVIEW, AUXILIARY and others"),
    ColumnSpec("productFilename", "str", None, "Name of the file", "meta.file"),
    ColumnSpec("size", "int64", u.byte, "Size of the file", "phys.size;meta.file"),
    COLUMNS["dataURI"],
    ColumnSpec("description", "str", None, "What the file is", "meta.note"),
    ColumnSpec("productSubGroupDescription", "str", None, "Kind of file, such as DRZ"),
    COLUMNS["proposal_id"],
    COLUMNS["filters"],
    ColumnSpec("dataRights", "str", None, "PUBLIC, EXCLUSIVE_ACCESS or RESTRICTED"),
    ColumnSpec("calib_level", "int64", None, "Level of calibration, 0 to 4"),
)

#: Columns of products, in the order of a result; MAST's others follow.
PRODUCT_COLUMNS = MappingProxyType({spec.name: spec for spec in _PRODUCT})

# of no use to anybody, or not a value of the archive
_DROPPED = ("_selected_", "objID1")


def finish(table, specs, **about):
    """
    Put columns in order and say what they are and where they are from.

    Parameters
    ----------
    table : `~astropy.table.Table`
        As the client gave it.
    specs : mapping of str to `~paperclip.results.ColumnSpec`
        Columns to begin with.
    **about : object
        Further items of ``meta``, at most eight characters each.

    Returns
    -------
    table : `~astropy.table.Table`
        ``meta`` holds ``server``, ``time`` of the answer and what was given.
    """
    first = [name for name in specs if name in table.colnames]
    rest = [n for n in table.colnames if n not in specs and n not in _DROPPED]
    meta = table.meta
    table = table[first + rest]
    for name in table.colnames:
        column = table[name]
        if column.dtype.kind == "U" and column.dtype.itemsize == 0:
            table[name] = column.astype("U1")  # FITS has no text of length zero
    table.meta = {
        **about,
        "server": meta.get("server", ""),
        "time": meta.get("retrieved", ""),
    }
    return describe_columns(table, specs=specs)


def limit_of(name, value):
    """
    Check a limit.

    Parameters
    ----------
    name : str
        Of the argument.
    value : int or None
        None for no limit.

    Returns
    -------
    limit : int or None
        The same.
    """
    from paperclip.utils.checks import whole_number

    return None if value is None else whole_number(name, value)


def rights_of(value):
    """
    Check what may be done with data.

    Parameters
    ----------
    value : str, sequence of str or None
        As users write it.

    Returns
    -------
    rights : list of str or None
        As MAST writes it; None for everything.

    Raises
    ------
    InvalidQueryError
        If MAST has no such ``dataRights``.
    """
    if value is None:
        return None
    try:
        given = [value] if isinstance(value, str) else list(value)
    except TypeError:
        given = []
    rights = [item.strip().upper() for item in given if isinstance(item, str)]
    if not rights or len(rights) < len(given) or set(rights) - set(_RIGHTS):
        msg = (
            f"data_rights must be one or several of {list(_RIGHTS)}, or None for all, "
            f"got {value!r:.80}"
        )
        raise InvalidQueryError(msg)
    return list(dict.fromkeys(rights))


def as_text(value):
    """Return a value of a column as text, None where it is missing or blank."""
    if value is None or np.ma.is_masked(value):
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return str(value).strip() or None
