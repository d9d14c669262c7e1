# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Indexes as Parquet files, which astropy and pandas read."""

from pathlib import Path

from paperclip.exceptions import InvalidRowsError
from paperclip.index._selecting import iter_rows
from paperclip.index.formats._places import new_file
from paperclip.index.formats._schema import chosen_rows, outer_schema, stored_names

__all__ = ["export_parquet", "import_parquet"]

_GROUP = 1 << 27  # bytes of a row group, about
_READ = 8192  # rows read at a time


def export_parquet(
    index, path, *, columns=None, vectors=True, overwrite=False, **conditions
):
    """
    Write an index as a Parquet file.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        What to write.
    path : path-like
        Name of the file.
    columns : sequence of str, optional
        Columns to write; all when not given.
    vectors : bool, optional
        Write the vectors as well.
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
    InvalidQueryError
        If an argument is wrong.
    ExportError
        If there is a file already, or it cannot be written.

    Notes
    -----
    Rows are written in row groups, a batch at a time. Missing values are
    null. Units, descriptions and UCDs are metadata of the fields, and once
    more as astropy writes them, so that ``Table.read`` gives the units and
    masks; for these masks there is a column ``NAME.mask`` beside each column
    that has missing values, as in the files of astropy. astropy reads
    integers among which some are missing as floating-point numbers.
    """
    snapshot = index._snapshot
    names = stored_names(snapshot, columns, vectors=vectors)
    addresses, _ = chosen_rows(snapshot, conditions)
    with new_file(path, overwrite=overwrite) as part:
        batches = iter_rows(snapshot, names, addresses=addresses)
        schema = outer_schema(snapshot, names)
        write_parquet(part, batches, schema, *_survey(snapshot, names))
    return Path(path).expanduser().absolute()


def _survey(snapshot, names):
    """Return what has missing values, and how long texts are, in the index."""
    names = [name for name in names if name in snapshot.specs]
    gaps, longest = set(), {}
    for rows in iter_rows(snapshot, names, size=65536):
        gaps |= {name for name in names if rows[name].null_count}
        longest = longest_texts(rows, longest)
    return [name for name in names if name in gaps], longest


def longest_texts(rows, known):
    """
    Return the lengths of the longest texts.

    Parameters
    ----------
    rows : `pyarrow.Table`
        Rows.
    known : dict of str to int
        Lengths of earlier rows.

    Returns
    -------
    lengths : dict of str to int
        At least 1, by column.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [f.name for f in rows.schema if pa.types.is_string(f.type)]
    sizes = {n: pc.max(pc.utf8_length(rows[n])).as_py() or 1 for n in texts}
    return {name: max(size, known.get(name, 1)) for name, size in sizes.items()}


def write_parquet(path, batches, schema, gaps, longest, *, meta=None):
    """
    Write rows so that pandas and astropy read them.

    Parameters
    ----------
    path : `~pathlib.Path` or file object
        Name of the file, or where to write it.
    batches : iterable of `pyarrow.Table`
        With the columns of ``schema``.
    schema : `pyarrow.Schema`
        Columns and facts.
    gaps : list of str
        Columns that get a column of masks.
    longest : dict of str to int
        Characters of the longest text, by column.
    meta : dict, optional
        Facts for astropy, besides those of the index.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = schema
    for name in gaps:
        whole = whole.append(pa.field(f"{name}.mask", pa.bool_(), nullable=False))
    texts = [f.name for f in schema if pa.types.is_string(f.type)]  # also without rows
    header = {f"table::len::{name}": str(longest.get(name, 1)) for name in texts}
    header["table_meta_yaml"] = _yaml(schema, gaps, meta or {})
    whole = whole.with_metadata({**(schema.metadata or {}), **header})
    width = sum(
        2 * f.type.list_size if pa.types.is_fixed_size_list(f.type) else 30
        for f in schema
    )
    group = max(1024, min(1 << 20, _GROUP // width))
    waiting, n_waiting = [], 0
    with pq.ParquetWriter(path, whole, compression="zstd") as writer:

        def flush():
            rows = pa.concat_tables(waiting)
            waiting.clear()
            writer.write_table(rows, row_group_size=group)

        for rows in batches:
            arrays = [rows[name] for name in schema.names]
            arrays += [rows[name].is_null() for name in gaps]
            waiting.append(pa.Table.from_arrays(arrays, schema=whole))
            n_waiting += len(rows)
            if n_waiting >= group:
                flush()
                n_waiting = 0
        if waiting:
            flush()


def _yaml(schema, gaps, meta):
    """Return the header of astropy for a file of these columns."""
    import numpy as np
    import pyarrow as pa
    from astropy.table import Column, MaskedColumn, Table, serialize
    from astropy.table.meta import get_yaml_from_table
    from astropy.utils.data_info import serialize_context_as

    from paperclip.index.formats._schema import facts_of

    table = Table()
    for field in schema:
        facts = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
        options = {
            "name": field.name,
            "unit": facts.get("unit"),
            "description": facts.get("description"),
            "meta": {"ucd": facts["ucd"]} if "ucd" in facts else None,
        }
        if pa.types.is_fixed_size_list(field.type):
            data = np.zeros((1, field.type.list_size), np.float16)
        elif pa.types.is_string(field.type):
            data = np.array(["x"])
        else:
            data = np.zeros(1, field.type.to_pandas_dtype())
        if field.name in gaps:
            table[field.name] = MaskedColumn(data, mask=True, **options)
        else:
            table[field.name] = Column(data, **options)
    table.meta.update(facts_of(schema.metadata), **meta)
    with serialize_context_as("parquet"):
        encoded = serialize.represent_mixins_as_columns(table)
    return "\n".join(get_yaml_from_table(encoded))


def import_parquet(
    path,
    uri,
    *,
    fingerprint=None,
    model=None,
    vector="vector",
    rename=None,
    columns=None,
    storage_options=None,
):
    """
    Make an index of a Parquet file.

    Parameters
    ----------
    path : path-like
        A file of `export_parquet`, or any other one with a column of vectors.
    uri : str or path-like
        Place of the new index; nothing must be there.
    fingerprint : str, optional
        Fingerprint of the model that made the vectors, where the file does
        not say it.
    model : str, optional
        Name of that model.
    vector : str, optional
        Column of the vectors: lists of numbers of one length.
    rename : mapping of str to str, optional
        Names in the index by names in the file, for example
        ``{"source_id": "obs_id", "ra": "s_ra", "dec": "s_dec"}``.
    columns : sequence of str, optional
        Columns of the file to keep; all when not given. Columns that no
        index has become extra columns.
    storage_options : dict, optional
        For an object store.

    Returns
    -------
    index : `~paperclip.index.Index`
        The new index.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong, or the fingerprint is not known.
    InvalidRowsError
        If the file is no Parquet file, lacks ``obs_id`` or vectors, or holds
        what an index cannot hold.
    ModelMismatchError
        If another model made the vectors than the one given.
    IndexExistsError
        If there is something at the place already.

    Notes
    -----
    The index appears when all rows are written; nothing is left after an
    error. Vectors that are float16 and of unit length stay as they are, to
    the bit.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from paperclip.index.formats._load import file_batches, load_index
    from paperclip.index.formats._plan import Plan

    path = Path(path).expanduser()
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as exc:
        msg = f"{path} cannot be read as a Parquet file: {exc}"
        raise InvalidRowsError(msg) from exc
    plan = Plan(
        schema,
        str(path),
        fingerprint=fingerprint,
        model=model,
        vector=vector,
        rename=rename,
        columns=columns,
    )
    batches = file_batches(path, _READ)
    return load_index(batches, uri, plan, storage_options=storage_options)
