# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""An index as a catalogue of LSDB, without a copy."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

from paperclip.index._reading import reading
from paperclip.index._selecting import rows_at
from paperclip.index.formats._partitions import SPATIAL, layout_of
from paperclip.index.formats._schema import outer_schema
from paperclip.utils.optional import import_optional

__all__ = ["lazy_catalog"]


class _Loader:
    """Read the rows of one partition of an index, also in another process."""

    def __init__(self, index, layout):
        self._uri = index.uri
        self._version = index.version
        self._options = index._place.options
        self._names = layout.names
        self._places = {
            (order, pixel): (layout.addresses[start:stop], layout.cells[start:stop])
            for order, pixel, start, stop in layout.pixels
        }

    def __dask_tokenize__(self):
        # two loaders of one name would be one task in a graph that has both
        rows = hashlib.sha256()
        for place, (addresses, _) in self._places.items():
            rows.update(f"{place} {len(addresses)} ".encode())
            rows.update(addresses.tobytes())
        return (self._uri, self._version, tuple(self._names), rows.hexdigest())

    def __call__(self, pixel):
        import lance
        import pyarrow as pa

        addresses, cells = self._places[pixel.order, pixel.pixel]
        with reading(self._uri):
            dataset = lance.dataset(
                self._uri, version=self._version, storage_options=self._options
            )
        found = SimpleNamespace(dataset=dataset, uri=self._uri, schema=dataset.schema)
        rows = rows_at(found, addresses, self._names)
        return _frame(rows.add_column(0, SPATIAL, pa.array(cells)))


def _frame(rows):
    import nested_pandas
    import pandas as pd

    frame = rows.to_pandas(types_mapper=pd.ArrowDtype)
    frame.index = pd.Index(frame.pop(SPATIAL).astype("int64"), name=SPATIAL)
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
        Rows are read when LSDB computes, by its workers, who get the
        ``storage_options`` of the index.

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
    layout = layout_of(
        snapshot,
        columns=columns,
        vectors=vectors,
        rows_per_file=rows_per_file,
        conditions=conditions,
    )
    pixels = [hats.pixel_math.HealpixPixel(*place[:2]) for place in layout.pixels]
    schema = outer_schema(snapshot, layout.names)
    empty = schema.insert(0, pa.field(SPATIAL, pa.int64())).empty_table()
    facts = {
        "catalog_name": Path(index.uri).name,
        "catalog_type": "object",
        "total_rows": len(layout.addresses),
        "ra_column": "s_ra",
        "dec_column": "s_dec",
        "healpix_column": SPATIAL,
        "healpix_order": 29,
    }
    structure = hats.catalog.Catalog(
        hats.catalog.TableProperties(**facts), pixels, schema=empty.schema
    )
    loader = _Loader(index, layout)
    return lsdb.Catalog(FromHealpixMap(loader, pixels, meta=_frame(empty)), structure)
