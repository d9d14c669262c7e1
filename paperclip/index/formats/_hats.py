# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Indexes as HATS catalogues, the partitioned format that LSDB reads.

HATS is described in the IVOA Note "HATS: A Standard for the Hierarchical Adaptive
Tiling Scheme in the Virtual Observatory".
"""

from pathlib import Path

import numpy as np

from paperclip.exceptions import InvalidRowsError
from paperclip.index._selecting import rows_at
from paperclip.index.formats._partitions import SPATIAL, layout_of
from paperclip.index.formats._places import new_folder
from paperclip.index.formats._schema import outer_schema
from paperclip.utils.optional import import_optional

__all__ = ["export_hats", "import_hats"]

_SKYMAP = 8  # HEALPix order of the map of counts
_READ = 8192  # rows read at a time


def _hats(purpose):
    return import_optional("hats", extra="hats", purpose=purpose)


def export_hats(
    index,
    folder,
    *,
    columns=None,
    vectors=True,
    rows_per_file=None,
    name=None,
    overwrite=False,
    **conditions,
):
    """
    Write an index as a HATS catalogue.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        What to write.
    folder : path-like
        New folder.
    columns : sequence of str, optional
        Columns to write; all when not given. Positions are always written.
    vectors : bool, optional
        Write the vectors as well.
    rows_per_file : int, optional
        Most rows of one file; about 128 MB when not given.
    name : str, optional
        Name of the catalogue; that of the folder when not given.
    overwrite : bool, optional
        Replace a catalogue that is there.
    **conditions
        ``where``, ``region`` and the other conditions of
        `paperclip.index.Index.search`.

    Returns
    -------
    folder : `~pathlib.Path`
        The catalogue.

    Raises
    ------
    InvalidRowsError
        If rows have no position, or there are no rows: such a catalogue
        cannot hold them.
    InvalidQueryError
        If an argument is wrong.
    ExportError
        If there is a folder already, or it cannot be written.
    MissingDependencyError
        If the extra ``hats`` is not installed.

    Notes
    -----
    Rows are placed by ``s_ra`` and ``s_dec``. Positions (24 bytes a row) are
    held in memory, and one file at a time.
    """
    hats = _hats("writing a HATS catalogue")
    snapshot = index._snapshot
    layout = layout_of(
        snapshot,
        columns=columns,
        vectors=vectors,
        rows_per_file=rows_per_file,
        conditions=conditions,
    )
    pixels = layout.pixels
    folder = Path(folder).expanduser().absolute()
    with new_folder(folder, overwrite=overwrite, mark="hats.properties") as part:
        _write_files(snapshot, part, layout)
        n_rows = hats.io.write_parquet_metadata(part)
        healpix = [hats.pixel_math.HealpixPixel(k, p) for k, p, _, _ in pixels]
        info = hats.catalog.PartitionInfo(healpix)
        info.write_to_file(part / "partition_info.csv")
        _write_skymap(part, layout.cells)
        properties = {
            "catalog_name": name or folder.name,
            "catalog_type": "object",
            "total_rows": int(n_rows),
            "ra_column": "s_ra",
            "dec_column": "s_dec",
            "healpix_column": SPATIAL,
            "healpix_order": 29,
            "hats_max_rows": max(stop - start for *_, start, stop in pixels),
            "hats_order": max(order for order, *_ in pixels),
            "moc_sky_fraction": float(f"{info.calculate_fractional_coverage():.5g}"),
            "skymap_order": _SKYMAP,
            "paperclip_fingerprint": index.fingerprint,
        }
        _properties(part, properties).to_properties_file(part)
    return folder


def _properties(path, facts):
    from hats.catalog import TableProperties

    import paperclip

    builder = f"paperclip {paperclip.__version__}"
    made = TableProperties.new_provenance_dict(path, builder=builder)
    return TableProperties(**{**made, **facts})


def _write_files(snapshot, folder, layout):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from hats.io.paths import new_pixel_catalog_file
    from hats.pixel_math import HealpixPixel

    names, addresses, cells, pixels = layout
    schema = outer_schema(snapshot, names)
    whole = schema.insert(0, pa.field(SPATIAL, pa.int64()))
    for order, pixel, start, stop in pixels:
        path = new_pixel_catalog_file(
            folder, HealpixPixel(order, pixel), create_dirs=True
        )
        with pq.ParquetWriter(str(path), whole, compression="zstd") as writer:
            for first in range(start, stop, _READ):
                last = min(first + _READ, stop)
                rows = rows_at(snapshot, addresses[first:last], names)
                arrays = [pa.array(cells[first:last]), *rows.columns]
                writer.write_table(pa.Table.from_arrays(arrays, schema=whole))


def _write_skymap(folder, cells):
    from hats.io import file_io, paths
    from hats.io.skymap import write_skymap

    counts = np.bincount(cells >> (2 * (29 - _SKYMAP)), minlength=12 * 4**_SKYMAP)
    file_io.write_fits_image(counts, paths.get_point_map_file_pointer(folder))
    write_skymap(counts, folder, orders=None)


def import_hats(
    folder,
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
    Make an index of a HATS catalogue.

    Parameters
    ----------
    folder : path-like
        A catalogue of `export_hats`, of LSDB, or any other one with a column
        of vectors.
    uri : str or path-like
        Place of the new index; nothing must be there.
    fingerprint : str, optional
        Fingerprint of the model that made the vectors, where the catalogue
        does not say it.
    model : str, optional
        Name of that model.
    vector : str, optional
        Column of the vectors: lists of numbers of one length.
    rename : mapping of str to str, optional
        Names in the index by names in the catalogue. Its columns of position
        become ``s_ra`` and ``s_dec`` by themselves.
    columns : sequence of str, optional
        Columns of the catalogue to keep; all when not given. Columns that no
        index has become extra columns.
    storage_options : dict, optional
        For an object store.

    Returns
    -------
    index : `~paperclip.index.Index`
        The new index, with rows in the order of the sky.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong, or the fingerprint is not known.
    InvalidRowsError
        If the folder is no catalogue, lacks ``obs_id`` or vectors, or holds
        what an index cannot hold.
    ModelMismatchError
        If another model made the vectors than the one given.
    IndexExistsError
        If there is something at the place already.
    MissingDependencyError
        If the extra ``hats`` is not installed.
    """
    _hats("reading a HATS catalogue")
    from paperclip.index.formats._load import load_index
    from paperclip.index.formats._plan import Plan

    folder = Path(folder).expanduser()
    catalog = _open(folder)
    schema, info = catalog.schema, catalog.catalog_info
    files = _files(catalog)
    if files and files[0].is_file():
        schema = _with_facts(schema, files[0], info)
    rename = dict(rename or {})
    for old, new in ((info.ra_column, "s_ra"), (info.dec_column, "s_dec")):
        if old != new and new not in schema.names and old not in rename:
            rename[old] = new
    plan = Plan(
        schema,
        str(folder),
        fingerprint=fingerprint,
        model=model,
        vector=vector,
        rename=rename,
        columns=columns,
    )
    return load_index(_batches(files), uri, plan, storage_options=storage_options)


def _open(folder):
    import hats

    if not folder.is_dir():
        msg = f"there is no HATS catalogue at {folder}"
        raise InvalidRowsError(msg)
    try:
        catalog = hats.read_hats(folder)
        catalog = getattr(catalog, "main_catalog", catalog)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        msg = f"{folder} is no HATS catalogue that can be read: {exc}"
        raise InvalidRowsError(msg) from exc
    if catalog.schema is None or not hasattr(catalog, "get_healpix_pixels"):
        msg = f"{folder} is no HATS catalogue of objects; give the folder of one"
        raise InvalidRowsError(msg)
    return catalog


def _files(catalog):
    from hats.io.paths import pixel_catalog_file

    suffix = catalog.catalog_info.npix_suffix
    base = catalog.catalog_base_dir
    pixels = catalog.get_healpix_pixels()
    return [
        Path(str(pixel_catalog_file(base, pixel, npix_suffix=suffix)))
        for pixel in pixels
    ]


def _with_facts(schema, file, info):
    """Add what the first file and the properties know of the vectors."""
    import pyarrow.parquet as pq

    stored = pq.read_schema(file).metadata or {}
    facts = {k: v for k, v in stored.items() if k.startswith(b"paperclip:")}
    known = (info.model_extra or {}).get("paperclip_fingerprint")
    if known:
        facts.setdefault(b"paperclip:fingerprint", str(known).encode())
    return schema.with_metadata({**(schema.metadata or {}), **facts})


def _batches(files):
    import pyarrow as pa
    import pyarrow.dataset

    for file in files:
        # a partition may be a file or a folder of files
        data = pa.dataset.dataset(file, format="parquet", partitioning=None)
        for batch in data.to_batches(
            batch_size=_READ, batch_readahead=1, fragment_readahead=1
        ):
            yield pa.Table.from_batches([batch])
