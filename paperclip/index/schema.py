# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What an index holds: its columns and the facts stored beside them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches

import numpy as np
import pyarrow as pa

import paperclip
from paperclip.exceptions import DamagedIndexError, InvalidQueryError
from paperclip.results import COLUMNS, ColumnSpec

__all__ = [
    "INTERNAL",
    "KEY",
    "RESULT_COLUMNS",
    "ROW_COLUMNS",
    "VECTOR",
    "Header",
    "arrow_schema",
    "header_from_schema",
    "nearest",
    "row_specs",
    "specs_from_schema",
]

KEY = "obs_id"
VECTOR = "vector"
#: Columns that a result adds to the rows of an index.
RESULT_COLUMNS = ("rank", "similarity", "similarity_percentile")
#: Columns that every index has, by their MAST CAOM names.
ROW_COLUMNS = tuple(name for name in COLUMNS if name not in RESULT_COLUMNS)
#: Columns that make a search for an area fast; no answer shows them. ``hpx29`` is
#: the nested HEALPix cell of order 29 of the centre of a circle around the footprint,
#: ``cx``, ``cy`` and ``cz`` its unit vector (ICRS), ``sky_radius`` the radius of the
#: circle in degrees. All are null where there is no position.
INTERNAL = ("hpx29", "cx", "cy", "cz", "sky_radius")

FORMAT = 2
_PREFIX = b"paperclip:"
_SKY_TYPES = (pa.int64(), pa.float64(), pa.float64(), pa.float64(), pa.float32())
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Header:
    """
    The facts about an index that travel in the metadata of its table.

    Parameters
    ----------
    fingerprint : str
        Identifies the model and the preprocessing that made the vectors.
    dimension : int
        Length of a vector.
    model : str
        Name of that model; may be empty.
    package_version : str
        Version of this package that created the index.
    created : str
        Creation time, ISO 8601, UTC.
    """

    fingerprint: str
    dimension: int
    model: str = ""
    package_version: str = ""
    created: str = ""

    @classmethod
    def new(cls, *, fingerprint, dimension, model):
        """
        Return a header stamped with this package's version and the time.

        Parameters
        ----------
        fingerprint : str
            Of the model that makes the vectors.
        dimension : int
            Length of the vectors.
        model : str
            What the model is called.

        Returns
        -------
        header : Header
            The header of a new index.
        """
        created = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(fingerprint, dimension, model, paperclip.__version__, created)


def nearest(name, names, *, then=""):
    """
    Return a hint that names the known name closest to an unknown one.

    Parameters
    ----------
    name : str
        What was asked for.
    names : iterable of str
        What there is.
    then : str, optional
        A sentence to follow.

    Returns
    -------
    hint : str
        ``"; did you mean 'x'?"``, or the whole list when nothing is close.
    """
    names = list(names)
    lower = {known.lower(): known for known in names}
    close = get_close_matches(str(name).lower(), lower, n=1)
    if close:
        return f"; did you mean {lower[close[0]]!r}?{then and f' {then}'}"
    return f"; choose from {', '.join(names)}{then and f'. {then}'}"


def row_specs(extra_columns=None):
    """
    Return the definitions of the columns of an index.

    Parameters
    ----------
    extra_columns : mapping of str to dtype or `ColumnSpec`, or iterable of \
`ColumnSpec`, optional
        Columns beside `ROW_COLUMNS`.

    Returns
    -------
    specs : dict of str to `ColumnSpec`
        In the order of the columns.

    Raises
    ------
    InvalidQueryError
        If a name is taken, reserved or not an identifier, or a type is not
        one that an index can hold.
    """
    specs = {name: COLUMNS[name] for name in ROW_COLUMNS}
    taken = {name.lower() for name in (*COLUMNS, *INTERNAL, VECTOR)}
    for spec in _extra_specs(extra_columns):
        if not _NAME.match(spec.name):
            msg = (
                f"extra_columns has the name {spec.name!r}; a name starts with a "
                "letter and holds letters, digits and underscores only"
            )
            raise InvalidQueryError(msg)
        if spec.name.lower() in taken:
            msg = (
                f"extra_columns has the name {spec.name!r}, which is taken "
                "(upper and lower case count as the same); choose another"
            )
            raise InvalidQueryError(msg)
        taken.add(spec.name.lower())
        specs[spec.name] = spec
    return specs


def _extra_specs(extra_columns):
    items = extra_columns or ()
    if hasattr(items, "items"):
        items = items.items()
    specs = []
    for item in items:
        if isinstance(item, ColumnSpec):
            specs.append(item)
            continue
        try:
            name, value = item
            if isinstance(value, ColumnSpec):
                value = value.dtype if value.name != name else value
            specs.append(
                value if isinstance(value, ColumnSpec) else ColumnSpec(name, value)
            )
        except (TypeError, ValueError) as exc:
            msg = (
                "extra_columns must map names to types such as str or float, or "
                f"list ColumnSpec objects; got {item!r}: {exc}"
            )
            raise InvalidQueryError(msg) from exc
    return specs


def arrow_schema(specs, header):
    """
    Return the Arrow schema of an index.

    Parameters
    ----------
    specs : mapping of str to `ColumnSpec`
        The columns of a row.
    header : `Header`
        Facts to store beside the columns.

    Returns
    -------
    schema : `pyarrow.Schema`
        The columns, those of `INTERNAL`, then ``vector`` as
        ``fixed_size_list<float16>``.
    """
    fields = []
    for spec in specs.values():
        meta = {
            "unit": "" if spec.unit is None else spec.unit.to_string(),
            "description": spec.description,
            "ucd": spec.ucd,
        }
        fields.append(
            pa.field(
                spec.name,
                _arrow_type(spec),
                nullable=spec.name != KEY,
                metadata={k: v for k, v in meta.items() if v},
            )
        )
    fields += map(pa.field, INTERNAL, _SKY_TYPES)
    vector = pa.list_(pa.float16(), header.dimension)
    fields.append(pa.field(VECTOR, vector, nullable=False))
    facts = {
        "format": FORMAT,
        "fingerprint": header.fingerprint,
        "dimension": header.dimension,
        "model": header.model,
        "package_version": header.package_version,
        "created": header.created,
    }
    metadata = {_PREFIX + k.encode(): str(v).encode() for k, v in facts.items()}
    return pa.schema(fields, metadata=metadata)


def _arrow_type(spec):
    if spec.dtype == "str":
        return pa.string()
    return pa.from_numpy_dtype(np.dtype(spec.dtype))


def header_from_schema(schema, uri):
    """
    Read the facts that `arrow_schema` stored.

    Parameters
    ----------
    schema : `pyarrow.Schema`
        Schema of a stored table.
    uri : str
        Where it is, for the error message.

    Returns
    -------
    header : `Header`
        What the table says about itself.

    Raises
    ------
    DamagedIndexError
        If the metadata are missing or contradict the columns.
    """
    stored = schema.metadata or {}
    facts = {
        key.removeprefix(_PREFIX).decode(): value.decode("utf-8", "replace")
        for key, value in stored.items()
        if key.startswith(_PREFIX)
    }
    missing = [k for k in ("format", "fingerprint", "dimension") if not facts.get(k)]
    if missing or VECTOR not in schema.names or KEY not in schema.names:
        what = f"metadata {missing}" if missing else f"column {VECTOR!r} or {KEY!r}"
        msg = (
            f"{uri} is a Lance table without the {what} of a paperclip index; "
            "build one with 'paperclip index build', or with Index.create and append"
        )
        raise DamagedIndexError(msg)
    if facts["format"] != str(FORMAT):
        msg = (
            f"{uri} has index format {facts['format']}, this version of paperclip "
            f"reads {FORMAT}; upgrade paperclip or build the index again"
        )
        raise DamagedIndexError(msg)
    lost = [name for name in INTERNAL if name not in schema.names]
    if lost:
        msg = f"{uri} lacks the columns {lost} of an index; build the index again"
        raise DamagedIndexError(msg)
    kind = schema.field(VECTOR).type
    size = kind.list_size if pa.types.is_fixed_size_list(kind) else -1
    if facts["dimension"] != str(size) or kind.value_type != pa.float16():
        msg = (
            f"{uri} says dimension {facts['dimension']} but stores vectors as "
            f"{kind}; rebuild the index"
        )
        raise DamagedIndexError(msg)
    return Header(
        facts["fingerprint"],
        size,
        facts.get("model", ""),
        facts.get("package_version", ""),
        facts.get("created", ""),
    )


def specs_from_schema(schema):
    """
    Return the column definitions of a stored table.

    Parameters
    ----------
    schema : `pyarrow.Schema`
        Schema of a stored table.

    Returns
    -------
    specs : dict of str to `ColumnSpec`
        Without the vector and the columns of `INTERNAL`; the definitions of
        this package come first.
    """
    specs = {}
    for field in schema:
        if field.name == VECTOR or field.name in INTERNAL:
            continue
        if field.name in COLUMNS:
            specs[field.name] = COLUMNS[field.name]
            continue
        meta = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
        dtype = (
            "str" if pa.types.is_string(field.type) else field.type.to_pandas_dtype()
        )
        specs[field.name] = ColumnSpec(
            field.name,
            dtype,
            meta.get("unit"),
            meta.get("description", ""),
            meta.get("ucd", ""),
        )
    return specs
