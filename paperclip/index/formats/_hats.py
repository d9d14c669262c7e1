# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Indexes as HATS catalogues, the partitioned format that LSDB reads.

HATS is described in the IVOA Note "HATS: A Standard for the Hierarchical Adaptive
Tiling Scheme in the Virtual Observatory".
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from paperclip.exceptions import InvalidRowsError
from paperclip.index._reading import reading
from paperclip.index._selecting import iter_rows, rows_at, selected
from paperclip.index.formats._places import new_folder
from paperclip.index.formats._schema import outer_schema, stored_names
from paperclip.utils.checks import whole_number
from paperclip.utils.optional import import_optional

__all__ = ["export_hats", "import_hats", "lazy_catalog"]

_SPATIAL = "_healpix_29"
_FINEST = 10  # HEALPix order of the smallest partition, as LSDB has it
_SKYMAP = 8  # HEALPix order of the map of counts
_FILE = 1 << 27  # bytes of a file, about
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
    names = stored_names(snapshot, columns, vectors=vectors)
    names += [n for n in ("s_ra", "s_dec") if n not in names]
    size = _rows_per_file(snapshot, rows_per_file)
    chosen, _ = selected(snapshot, **conditions)
    addresses, cells = _cells(snapshot, chosen)
    pixels = _partition(cells, size)
    folder = Path(folder).expanduser().absolute()
    with new_folder(folder, overwrite=overwrite, mark="hats.properties") as part:
        _write_files(snapshot, part, names, addresses, cells, pixels)
        n_rows = hats.io.write_parquet_metadata(part)
        healpix = [hats.pixel_math.HealpixPixel(k, p) for k, p, _, _ in pixels]
        info = hats.catalog.PartitionInfo(healpix)
        info.write_to_file(part / "partition_info.csv")
        _write_skymap(part, cells)
        properties = {
            "catalog_name": name or folder.name,
            "catalog_type": "object",
            "total_rows": int(n_rows),
            "ra_column": "s_ra",
            "dec_column": "s_dec",
            "healpix_column": _SPATIAL,
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


def _rows_per_file(snapshot, wanted):
    if wanted is not None:
        return whole_number("rows_per_file", wanted, 1, 2**31)
    row = 2 * snapshot.header.dimension + 20 * len(snapshot.specs)
    return max(1000, _FILE // row)


def _cells(snapshot, addresses):
    """Return the addresses and HEALPix cells of rows, by cell."""
    from hats.pixel_math.spatial_index import compute_spatial_index

    place, cells = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    without, start = 0, 0
    if addresses is None:
        addresses = snapshot.addresses()
    for rows in iter_rows(snapshot, ["s_ra", "s_dec"], addresses=addresses, size=65536):
        ra = rows["s_ra"].to_numpy(zero_copy_only=False)
        dec = rows["s_dec"].to_numpy(zero_copy_only=False)
        known = ~(np.isnan(ra) | np.isnan(dec))
        without += int((~known).sum())
        cells.append(compute_spatial_index(ra[known], dec[known]).astype(np.int64))
        place.append(addresses[start : start + len(rows)][known])
        start += len(rows)
    if without or not start:
        what = f"{without} rows have no position" if start else "there are no rows"
        msg = (
            f"{what}, which a HATS catalogue cannot hold; leave such rows out with "
            "where='s_ra IS NOT NULL AND s_dec IS NOT NULL'"
        )
        raise InvalidRowsError(msg)
    place, cells = np.concatenate(place), np.concatenate(cells)
    order = np.argsort(cells, kind="stable")
    return place[order], cells[order]


def _partition(cells, size):
    """Return (order, pixel, first row, last row) of cells of at most ``size`` rows."""
    found = []
    waiting = [(0, pixel) for pixel in range(11, -1, -1)]
    while waiting:
        order, pixel = waiting.pop()
        shift = 2 * (29 - order)
        limits = np.array([pixel, pixel + 1], dtype=np.int64) << shift
        start, stop = np.searchsorted(cells, limits).tolist()
        if stop - start > size and order < _FINEST:
            waiting += [(order + 1, 4 * pixel + i) for i in (3, 2, 1, 0)]
        elif stop > start:
            found.append((order, pixel, start, stop))
    return found


def _write_files(snapshot, folder, names, addresses, cells, pixels):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from hats.io.paths import new_pixel_catalog_file
    from hats.pixel_math import HealpixPixel

    schema = outer_schema(snapshot, names)
    whole = schema.insert(0, pa.field(_SPATIAL, pa.int64()))
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
    from paperclip.index.formats._load import Plan, load_index

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


class _Loader:
    """Read the rows of one partition of an index, also in another process."""

    def __init__(self, uri, version, names, places):
        self._uri = uri
        self._version = version
        self._names = names
        self._places = places

    def __dask_tokenize__(self):
        return (self._uri, self._version, tuple(self._names), len(self._places))

    def __call__(self, pixel):
        import lance
        import pyarrow as pa

        addresses, cells = self._places[pixel.order, pixel.pixel]
        with reading(self._uri):
            dataset = lance.dataset(self._uri, version=self._version)
        found = SimpleNamespace(dataset=dataset, uri=self._uri, schema=dataset.schema)
        rows = rows_at(found, addresses, self._names)
        return _frame(rows.add_column(0, _SPATIAL, pa.array(cells)))


def _frame(rows):
    import nested_pandas
    import pandas as pd

    frame = rows.to_pandas(types_mapper=pd.ArrowDtype)
    frame.index = pd.Index(frame.pop(_SPATIAL).astype("int64"), name=_SPATIAL)
    return nested_pandas.NestedFrame(frame)


def lazy_catalog(
    index, *, columns=None, vectors=True, rows_per_file=None, **conditions
):
    """
    Show an index to LSDB without writing anything.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        An index; the catalogue stays at its version.
    columns : sequence of str, optional
        Columns of the catalogue; all when not given.
    vectors : bool, optional
        Show the vectors as well.
    rows_per_file : int, optional
        Most rows of one partition.
    **conditions
        ``where``, ``region`` and the other conditions of
        `paperclip.index.Index.search`.

    Returns
    -------
    catalog : ``lsdb.Catalog``
        Rows are read when LSDB computes, by its workers.

    Raises
    ------
    InvalidRowsError
        If rows have no position, or there are no rows.
    MissingDependencyError
        If the extra ``hats`` is not installed.
    """
    lsdb = import_optional("lsdb", extra="hats", purpose="a catalogue of LSDB")
    import hats
    import pyarrow as pa
    from lsdb.operations.lsdb_ops import FromHealpixMap

    snapshot = index._snapshot
    names = stored_names(snapshot, columns, vectors=vectors)
    names += [n for n in ("s_ra", "s_dec") if n not in names]
    size = _rows_per_file(snapshot, rows_per_file)
    chosen, _ = selected(snapshot, **conditions)
    addresses, cells = _cells(snapshot, chosen)
    places, pixels = {}, []
    for order, pixel, start, stop in _partition(cells, size):
        places[order, pixel] = addresses[start:stop], cells[start:stop]
        pixels.append(hats.pixel_math.HealpixPixel(order, pixel))
    schema = outer_schema(snapshot, names)
    empty = schema.insert(0, pa.field(_SPATIAL, pa.int64())).empty_table()
    facts = {
        "catalog_name": Path(index.uri).name,
        "catalog_type": "object",
        "total_rows": len(addresses),
        "ra_column": "s_ra",
        "dec_column": "s_dec",
        "healpix_column": _SPATIAL,
        "healpix_order": 29,
    }
    structure = hats.catalog.Catalog(
        hats.catalog.TableProperties(**facts), pixels, schema=empty.schema
    )
    loader = _Loader(index.uri, index.version, names, places)
    return lsdb.Catalog(FromHealpixMap(loader, pixels, meta=_frame(empty)), structure)
