# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The files of a data set beside its pictures: state, pairs, texts, splits."""

import json
import os
from types import MappingProxyType

import numpy as np
from astropy.table import Table

from paperclip.exceptions import DataSetError
from paperclip.mast._journal import write_error
from paperclip.mast._manifest import MANIFEST_COLUMNS
from paperclip.mast._tables import from_arrow, row_schema, to_arrow
from paperclip.mast.proposals import PROPOSAL_COLUMNS
from paperclip.results import ColumnSpec
from paperclip.utils.files import atomic_path

__all__ = [
    "LEFT_OUT",
    "PAIR_COLUMNS",
    "pairs_table",
    "read_parquet",
    "read_split",
    "read_state",
    "text_values",
    "texts_of",
    "write_parquet",
    "write_split",
    "write_state",
]

LEFT_OUT = "left out"
_STATE, _FORMAT, _VERSION = "dataset.json", "paperclip-dataset", 1
_OF_PAIR = (
    ColumnSpec("split", "str", None, "train, validation or test"),
    ColumnSpec("group", "str", None, "First proposal of those that belong together"),
)
#: The columns of the pairs, by name.
PAIR_COLUMNS = MappingProxyType(
    dict(MANIFEST_COLUMNS) | {spec.name: spec for spec in _OF_PAIR}
)


# ---- state


def write_state(folder, state):
    """
    Replace the file that says what a data set is and how far it is.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder of the data set.
    state : dict
        What JSON can hold.

    Raises
    ------
    DataSetWriteError
        If it cannot be written; the old one stays.
    """
    from paperclip import __version__

    state = {"format": _FORMAT, "version": _VERSION, "paperclip": __version__, **state}
    path = folder / _STATE
    try:
        with atomic_path(path) as part, part.open("w", encoding="utf-8") as stream:
            json.dump(state, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as exc:
        raise write_error(path, exc) from exc


def read_state(folder):
    """
    Read what a data set is and how far it is.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder of the data set.

    Returns
    -------
    state : dict or None
        None if there is no such file.

    Raises
    ------
    DataSetError
        If the file is damaged or of another version.
    """
    path = folder / _STATE
    try:
        state = json.loads(path.read_bytes())
        form, version = state.pop("format"), state.pop("version")
        state.pop("paperclip", None)
    except FileNotFoundError:
        return None
    except NotADirectoryError as exc:
        msg = f"{os.fspath(folder)!r} is no folder; choose another name"
        raise DataSetError(msg) from exc
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as exc:
        msg = f"'{path}' cannot be read as the state of a data set: {exc}"
        raise DataSetError(msg) from exc
    if (form, version) != (_FORMAT, _VERSION):
        msg = (
            f"'{path}' is of version {version!r}, this package reads {_VERSION}; use "
            "the version of paperclip that wrote it"
        )
        raise DataSetError(msg)
    return state


# ---- tables


def write_parquet(path, table, specs):
    """
    Write a table in one step.

    Parameters
    ----------
    path : `~pathlib.Path`
        Parquet file.
    table : `~astropy.table.Table`
        Rows.
    specs : mapping of str to ColumnSpec
        Columns to write.

    Raises
    ------
    DataSetWriteError
        If it cannot be written; an old file stays.
    """
    import pyarrow as pa
    from pyarrow import parquet

    arrow = to_arrow(table, list(specs.values()))
    try:
        with atomic_path(path) as part, part.open("wb") as stream:
            parquet.write_table(arrow, stream, compression="zstd")
    except pa.ArrowException as exc:
        raise write_error(path, OSError(str(exc))) from exc
    except OSError as exc:
        raise write_error(path, exc) from exc


def read_parquet(path, specs):
    """
    Read a table that `write_parquet` wrote.

    Parameters
    ----------
    path : `~pathlib.Path`
        Parquet file.
    specs : mapping of str to ColumnSpec
        Columns to read.

    Returns
    -------
    arrow : `pyarrow.Table`
        Its columns.

    Raises
    ------
    DataSetError
        If it is missing or damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    specs = list(specs.values())
    try:
        with path.open("rb") as stream:
            arrow = parquet.ParquetFile(stream).read()
        arrow = arrow.select([spec.name for spec in specs])
        return arrow.replace_schema_metadata(None).cast(row_schema(specs))
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as exc:
        msg = (
            f"'{path}' is missing or damaged ({exc}); run the same build again to make "
            "it anew"
        )
        raise DataSetError(msg) from exc


def write_split(folder, proposals):
    """
    Write who is in which split, as ECSV.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder of the data set.
    proposals : `~astropy.table.Table`
        Of a `~paperclip.training.Split`.

    Raises
    ------
    DataSetWriteError
        If it cannot be written; an old file stays.
    """
    path = folder / "split.ecsv"
    try:
        with atomic_path(path) as part:
            proposals.write(part, format="ascii.ecsv")
    except OSError as exc:
        raise write_error(path, exc) from exc


def read_split(folder):
    """
    Read who is in which split.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder of the data set.

    Returns
    -------
    proposals : `~astropy.table.Table` or None
        As it was written; None if there is none.

    Raises
    ------
    DataSetError
        If it is damaged.
    """
    path = folder / "split.ecsv"
    if not path.is_file():
        return None
    try:
        table = Table.read(path, format="ascii.ecsv")
        return table["proposal_id", "mission", "split", "group", "n_rows"]
    except (OSError, ValueError, LookupError) as exc:
        msg = f"'{path}' cannot be read: {exc}; restore it, it says who is in the test"
        raise DataSetError(msg) from exc


def texts_of(proposals):
    """
    Return what is known of proposals by mission and number.

    Parameters
    ----------
    proposals : `pyarrow.Table` or `~astropy.table.Table`
        Columns of `PROPOSAL_COLUMNS`.

    Returns
    -------
    known : dict of (str, str) to dict
        Values are None where missing.
    """
    if isinstance(proposals, Table):
        proposals = to_arrow(proposals, list(PROPOSAL_COLUMNS.values()))
    return {
        (row["mission"] or "", row["proposal_id"]): row for row in proposals.to_pylist()
    }


def pairs_table(folder, arrow):
    """
    Return pairs as a table of astropy, with absolute paths of what is there.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder of the data set.
    arrow : `pyarrow.Table`
        The pairs.

    Returns
    -------
    table : `~astropy.table.Table`
        ``path`` is masked where there is no picture.
    """
    import pyarrow as pa

    paths = [
        os.fspath(folder / path) if digest is not None else None
        for path, digest in zip(
            arrow["path"].to_pylist(), arrow["sha256"].to_pylist(), strict=True
        )
    ]
    place = arrow.column_names.index("path")
    arrow = arrow.set_column(place, "path", pa.array(paths, pa.large_string()))
    table = from_arrow(arrow, list(PAIR_COLUMNS.values()))
    table["path"].info.description = "The picture"
    table["status"].info.description = "done, failed or left out"
    table["message"].info.description = "Why a pair is left out or failed"
    return table


def text_values(table, name):
    """
    Return a column as an object array of str, blank where missing.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.
    name : str
        One of its columns.

    Returns
    -------
    values : `~numpy.ndarray` of object
        One for each row.
    """
    values = np.ma.filled(np.ma.asarray(table[name]).astype(object), "")
    return np.array([str(value) for value in values], dtype=object)
