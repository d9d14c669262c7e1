# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""An index seen as a table of IVOA ObsCore."""

import mimetypes
import re
import warnings
from urllib.parse import quote

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, Table

from paperclip.exceptions import FailedRowsWarning, InvalidQueryError
from paperclip.index.formats._tables import rows_of, write_table

__all__ = ["export_obscore", "obscore"]

_IVOID = re.compile(r"ivo://[A-Za-z0-9][\w\-.~*'()]{2,}(/[^\s?#]*)?\Z")
_SPATIAL = "obscore:Char.SpatialAxis."
_TIME = "obscore:Char.TimeAxis."
_SPECTRAL = "obscore:Char.SpectralAxis."
_CENTRE = f"{_SPATIAL}Coverage.Location.Coord.Position2D.Value2."

# name: (type, unit, UCD, utype, description), as in ObsCore 1.1, Tables 6 and 7
_COLUMNS = {
    "dataproduct_type": (
        "str", None, "meta.code.class", "obscore:ObsDataset.dataProductType",
        "Kind of data product",
    ),
    "calib_level": (
        "int32", None, "meta.code;obs.calib", "obscore:ObsDataset.calibLevel",
        "Calibration level, 0 to 4",
    ),
    "obs_collection": (
        "str", None, "meta.id", "obscore:DataID.collection", "Data collection",
    ),
    "obs_id": (
        "str", None, "meta.id", "obscore:DataID.observationID", "Observation",
    ),
    "obs_publisher_did": (
        "str", None, "meta.ref.ivoid", "obscore:Curation.publisherDID",
        "Identifier of the data set given by the publisher",
    ),
    "access_url": (
        "str", None, "meta.ref.url", "obscore:Access.reference",
        "Where the data can be fetched",
    ),
    "access_format": (
        "str", None, "meta.code.mime", "obscore:Access.format", "MIME type",
    ),
    "access_estsize": (
        "int64", u.kbyte, "phys.size;meta.file", "obscore:Access.size",
        "Size of the data, about",
    ),
    "target_name": ("str", None, "meta.id;src", "obscore:Target.name", "Target"),
    "s_ra": (
        "float64", u.deg, "pos.eq.ra", f"{_CENTRE}C1", "Right ascension (ICRS)",
    ),
    "s_dec": ("float64", u.deg, "pos.eq.dec", f"{_CENTRE}C2", "Declination (ICRS)"),
    "s_fov": (
        "float64", u.deg, "phys.angSize;instr.fov",
        f"{_SPATIAL}Coverage.Bounds.Extent.diameter",
        "Diameter of a circle around the footprint",
    ),
    "s_region": (
        "str", None, "pos.outline;obs.field", f"{_SPATIAL}Coverage.Support.Area",
        "Footprint (STC-S)",
    ),
    "s_resolution": (
        "float64", u.arcsec, "pos.angResolution",
        f"{_SPATIAL}Resolution.Refval.value", "Spatial resolution",
    ),
    "t_min": (
        "float64", u.d, "time.start;obs.exposure",
        f"{_TIME}Coverage.Bounds.Limits.StartTime", "Start of the exposure (MJD)",
    ),
    "t_max": (
        "float64", u.d, "time.end;obs.exposure",
        f"{_TIME}Coverage.Bounds.Limits.StopTime", "End of the exposure (MJD)",
    ),
    "t_exptime": (
        "float64", u.s, "time.duration;obs.exposure",
        f"{_TIME}Coverage.Support.Extent", "Exposure time",
    ),
    "t_resolution": (
        "float64", u.s, "time.resolution", f"{_TIME}Resolution.Refval.value",
        "Resolution in time",
    ),
    "em_min": (
        "float64", u.m, "em.wl;stat.min",
        f"{_SPECTRAL}Coverage.Bounds.Limits.LoLimit", "Shortest wavelength",
    ),
    "em_max": (
        "float64", u.m, "em.wl;stat.max",
        f"{_SPECTRAL}Coverage.Bounds.Limits.HiLimit", "Longest wavelength",
    ),
    "em_res_power": (
        "float64", None, "spect.resolution",
        f"{_SPECTRAL}Resolution.ResolPower.refVal", "Spectral resolving power",
    ),
    "o_ucd": (
        "str", None, "meta.ucd", "obscore:Char.ObservableAxis.ucd",
        "UCD of the observable",
    ),
    "pol_states": (
        "str", None, "meta.code;phys.polarization",
        "obscore:Char.PolarizationAxis.stateList", "Polarization states",
    ),
    "facility_name": (
        "str", None, "meta.id;instr.tel", "obscore:Provenance.ObsConfig.Facility.name",
        "Observatory",
    ),
    "instrument_name": (
        "str", None, "meta.id;instr", "obscore:Provenance.ObsConfig.Instrument.name",
        "Instrument",
    ),
}  # fmt: skip
_MISSIONS = ("HST", "JWST", "HLA", "TESS", "KEPLER", "K2", "GALEX", "SWIFT", "ROMAN")
_FITS = (".fits", ".fits.gz", ".fit")


def obscore(index, *, publisher=None, **conditions):
    """
    Return rows of an index with the mandatory columns of ObsCore.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        The index.
    publisher : str, optional
        IVOA identifier of the collection, ``"ivo://authority/name"``, for
        ``obs_publisher_did``, which is masked otherwise.
    **conditions
        ``where``, ``region`` and the other conditions of
        `paperclip.index.Index.search`.

    Returns
    -------
    table : `~astropy.table.Table`
        The 25 columns with units; UCDs and utypes are in the ``meta`` of the
        columns. What is not known is masked.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong.

    Warns
    -----
    FailedRowsWarning
        If footprints cannot be read; their ``s_fov`` is masked.

    Notes
    -----
    Columns are those of "IVOA Observation Data Model Core Components and its
    Implementation in the Table Access Protocol" (ObsCore) 1.1. Columns of the
    same names that an index has beside those of every index, as ``em_min``,
    ``em_max``, ``t_exptime``, ``calib_level`` and ``dataproduct_type`` of
    MAST, are used with their units. ``dataproduct_type`` is "image"
    otherwise, ``s_fov`` comes from the footprint, and ``access_url`` from
    ``dataURI``. Nothing is derived from the names of filters, because the
    limits of ``em_min`` and ``em_max`` are not part of them.
    """
    if publisher is not None and not (
        isinstance(publisher, str) and _IVOID.match(publisher)
    ):
        msg = f"publisher must look like 'ivo://authority/name', got {publisher!r}"
        raise InvalidQueryError(msg)
    rows = rows_of(index, **conditions)
    known = {
        "dataproduct_type": ["image"] * len(rows),
        "facility_name": _facilities(rows),
        **_access(rows),
        "s_fov": _fields(rows["s_region"]),
    }
    if publisher is not None:
        ids = rows["obs_id"].tolist()
        known["obs_publisher_did"] = [f"{publisher}?{quote(i, safe='')}" for i in ids]
    table = Table()
    for name, (dtype, unit, ucd, utype, description) in _COLUMNS.items():
        values = _stored(rows, name, unit)
        if values is None or values.mask.all():
            values = known.get(name, values)
        column = _column(values, dtype, len(rows))
        column.unit, column.description = unit, description
        column.meta.update(ucd=ucd, utype=utype)
        table[name] = column
    table.meta.update(rows.meta)
    return table


def export_obscore(index, path, *, publisher=None, overwrite=False, **conditions):
    """
    Write the ObsCore view of an index.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        The index.
    path : path-like
        Name of the file: FITS, ECSV or CSV by its end, VOTable otherwise.
    publisher : str, optional
        See `obscore`.
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
    end = str(path).lower().rpartition(".")[2]
    kind = end if end in ("fits", "ecsv", "csv") else "votable"
    table = obscore(index, publisher=publisher, **conditions)
    return write_table(table, path, kind, overwrite=overwrite)


def _stored(rows, name, unit):
    if name not in rows.colnames:
        return None
    column = MaskedColumn(rows[name])
    if unit is not None and column.unit not in (None, unit):
        factor = column.unit.to(unit)
        column = MaskedColumn(column * factor)
    return column


def _column(values, dtype, size):
    if values is None:
        values = [None] * size
    data = values.filled() if hasattr(values, "filled") else values
    mask = np.array(getattr(values, "mask", np.zeros(size, bool))) & np.ones(size, bool)
    mask |= np.array([v is None for v in data], dtype=bool)
    filler = "" if dtype == "str" else 0
    data = [
        filler if hidden else value for value, hidden in zip(data, mask, strict=True)
    ]
    kind = "U1" if dtype == "str" and not any(data) else dtype
    return MaskedColumn(np.array(data, dtype=kind), mask=mask)


def _facilities(rows):
    names = rows["obs_collection"].tolist()  # None where masked
    return [name if str(name).upper() in _MISSIONS else None for name in names]


def _access(rows):
    links, kinds = [], []
    for uri in rows["dataURI"].tolist():
        text = uri or ""
        scheme = text.split(":", 1)[0].lower()
        if scheme in ("http", "https", "ftp", "s3", "file"):
            links.append(text)
        elif scheme == "mast":
            links.append(f"{_download()}?uri={quote(text, safe=':/')}")
        else:
            links.append(None)
        path = text.lower().split("?")[0]
        known = "application/fits" if path.endswith(_FITS) else None
        kinds.append(known or mimetypes.guess_type(path)[0])
    return {"access_url": links, "access_format": kinds}


def _download():
    from paperclip import conf

    return f"{conf.mast_server.rstrip('/')}/api/v0.1/Download/file"


def _fields(regions):
    """Return the diameters of the footprints in degrees, None if not known."""
    from paperclip.footprints import Footprints

    shapes = Footprints(regions)
    missing = np.ma.getmaskarray(np.ma.asarray(regions))
    bad = [row for row in shapes.problems if not missing[row]]
    if bad:
        msg = f"{len(bad)} footprints cannot be read: {shapes.problems[bad[0]]}"
        warnings.warn(msg, FailedRowsWarning, stacklevel=3)
    first = np.full(len(shapes), -1)
    several = np.bincount(shapes.owner, minlength=len(shapes)) > 1
    first[shapes.owner[::-1]] = np.arange(len(shapes.owner))[::-1]
    sizes = []
    for row, place in enumerate(first.tolist()):
        if place < 0 or row in shapes.problems:
            sizes.append(None)
        elif several[row]:
            sizes.append(_span(shapes, np.flatnonzero(shapes.owner == row)))
        else:
            sizes.append(float(np.degrees(2 * shapes.radius[place])))
    return sizes


def _span(shapes, places):
    """Return the diameter of a circle around several shapes, in degrees."""
    middle = shapes.centre[places].sum(axis=0)
    size = np.linalg.norm(middle)
    if size < 1e-9:
        return 360.0
    apart = np.linalg.norm(shapes.centre[places] - middle / size, axis=1)
    reach = 2 * np.arcsin(np.minimum(1, apart / 2)) + shapes.radius[places]
    return float(min(360.0, np.degrees(2 * reach.max())))
