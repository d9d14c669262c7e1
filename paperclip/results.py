# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The columns of every result: names, types, units, descriptions, UCDs."""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from astropy import units as u
from astropy.table import Column, Table

__all__ = ["COLUMNS", "ColumnSpec", "describe_columns", "empty_table"]


@dataclass(frozen=True)
class ColumnSpec:
    """
    The definition of one column.

    Parameters
    ----------
    name : str
        Name of the column.
    dtype : str or dtype-like
        ``str``, ``bool``, or a signed integer or floating-point type; kept as
        its NumPy name (``"str"``, ``"float64"``).
    unit : `~astropy.units.UnitBase`, str or `None`, optional
        Physical unit of the values.
    description : str, optional
        One line that a user reads.
    ucd : str, optional
        Unified Content Descriptor of the IVOA (UCD1+).

    Raises
    ------
    ValueError
        If the type is not one that an index and a table can both hold.
    """

    name: str
    dtype: str = "str"
    unit: u.UnitBase | None = None
    description: str = ""
    ucd: str = ""

    def __post_init__(self):
        dtype = np.dtype(self.dtype)
        if dtype.kind not in "Ubif" or dtype.name in {"float16", "longdouble"}:
            msg = (
                f"column {self.name!r} has dtype {self.dtype!r}; it must be str, "
                "bool, int8 to int64, float32 or float64"
            )
            raise ValueError(msg)
        object.__setattr__(self, "dtype", "str" if dtype.kind == "U" else dtype.name)
        unit = None if self.unit is None else u.Unit(self.unit)
        object.__setattr__(self, "unit", unit)

    @property
    def numpy_dtype(self):
        """The `~numpy.dtype` of an empty column (text has length one)."""
        return np.dtype("U1" if self.dtype == "str" else self.dtype)


_SPECS = (
    ColumnSpec(
        "rank", "int64", None, "Place in the result, 1 is the best", "stat.rank"
    ),
    ColumnSpec(
        "similarity",
        "float32",
        u.dimensionless_unscaled,
        "Cosine similarity of query and row, -1 to 1",
        "stat.correlation",
    ),
    ColumnSpec(
        "similarity_percentile",
        "float64",
        # not u.percent: VOTable 1.4 has no such unit and reads it back as unknown
        u.dimensionless_unscaled,
        "Percentage of the index that is not more similar, 0 to 100",
        "stat.percentile",
    ),
    ColumnSpec("obs_id", "str", None, "Observation identifier", "meta.id;meta.main"),
    ColumnSpec("obs_collection", "str", None, "Mission or collection", "meta.id"),
    ColumnSpec("instrument_name", "str", None, "Instrument", "meta.id;instr"),
    ColumnSpec("filters", "str", None, "Filters", "meta.id;instr.filter"),
    ColumnSpec("target_name", "str", None, "Target, as proposed", "meta.id;src"),
    ColumnSpec(
        "target_classification", "str", None, "Class of the target", "src.class"
    ),
    ColumnSpec("s_ra", "float64", u.deg, "Right ascension (ICRS)", "pos.eq.ra"),
    ColumnSpec("s_dec", "float64", u.deg, "Declination (ICRS)", "pos.eq.dec"),
    ColumnSpec(
        "s_region",
        "str",
        None,
        "Footprint on the sky (STC-S, ICRS)",
        "pos.outline;obs.field",
    ),
    ColumnSpec(
        "t_min",
        "float64",
        u.d,
        "Start of the exposure (MJD)",
        "time.start;obs.exposure",
    ),
    ColumnSpec(
        "t_max", "float64", u.d, "End of the exposure (MJD)", "time.end;obs.exposure"
    ),
    ColumnSpec("proposal_id", "str", None, "Programme", "meta.id;obs.proposal"),
    ColumnSpec(
        "proposal_pi", "str", None, "Principal investigator", "meta.id.PI;obs.proposal"
    ),
    ColumnSpec("obs_title", "str", None, "Title of the observation", "meta.title;obs"),
    ColumnSpec("dataURI", "str", None, "Data product in the archive", "meta.ref.uri"),
    ColumnSpec("jpegURL", "str", None, "Preview picture", "meta.ref.url;meta.preview"),
)

#: Every column this package defines, by name, in the order of a result.
COLUMNS = MappingProxyType({spec.name: spec for spec in _SPECS})


def describe_columns(table, *, specs=None):
    """
    Attach units, descriptions and UCDs to the columns of a table.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Changed in place. Columns without a definition are left alone, and
        so is a unit or a description that a column already has.
    specs : mapping of str to `ColumnSpec`, optional
        Definitions to use, `COLUMNS` when not given.

    Returns
    -------
    table : `~astropy.table.Table`
        The same object.
    """
    specs = COLUMNS if specs is None else specs
    for name in table.colnames:
        if (spec := specs.get(name)) is None:
            continue
        info = table[name].info
        if info.unit is None and spec.unit is not None:
            info.unit = spec.unit
        if not info.description and spec.description:
            info.description = spec.description
        if spec.ucd:
            info.meta = {**(info.meta or {}), "ucd": spec.ucd}
    return table


def empty_table(names=None, *, specs=None):
    """
    Return a table without rows that has its columns, units and descriptions.

    Parameters
    ----------
    names : sequence of str, optional
        Columns wanted, in order; all of ``specs`` when not given.
    specs : mapping of str to `ColumnSpec`, optional
        Definitions to use, `COLUMNS` when not given.

    Returns
    -------
    table : `~astropy.table.Table`, length 0
        Text columns have length one, so that every format can write them.

    Raises
    ------
    KeyError
        If a name has no definition.
    """
    specs = COLUMNS if specs is None else specs
    names = list(specs) if names is None else list(names)
    columns = [Column(name=name, dtype=specs[name].numpy_dtype) for name in names]
    return describe_columns(Table(columns), specs=specs)
