# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Create, open, fill and search an index."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.table import Table

from paperclip.exceptions import (
    InvalidQueryError,
    InvalidRowsError,
    ModelMismatchError,
)
from paperclip.index._checks import column_names, unit_query
from paperclip.index._commit import (
    commit_delete,
    commit_rows,
    create_table,
    open_snapshot,
)
from paperclip.index._files import local_path, writer_lock
from paperclip.index._rows import column_from_arrow, rows_to_arrow
from paperclip.index._snapshot import Snapshot
from paperclip.index.schema import KEY, Header, arrow_schema, row_specs
from paperclip.results import COLUMNS, ColumnSpec
from paperclip.utils.checks import whole_number

__all__ = ["Index"]

_CACHE_LIMIT = 512 * 1024**2


class Index:
    """
    Observations and their vectors in one table on disk.

    Make one with `Index.create` or `Index.open`. An object stays at the
    version that it opened; `append` and `delete` move it to the version that
    they commit, and `refresh` to the newest one.

    Parameters
    ----------
    snapshot : object
        The opened version; internal.
    path : `~pathlib.Path` or `None`
        Directory of a local index; internal.
    cache_limit : int
        See `Index.open`; internal.

    Notes
    -----
    The store is a Lance table [1]_: every change is one atomic commit, and
    readers need no lock. Lance keeps threads, so an index must not be used
    in a forked child process; start workers with ``spawn`` and open it there.

    References
    ----------
    .. [1] https://lance.org/format/table/
    """

    def __init__(self, snapshot, path, *, cache_limit):
        self._snapshot = snapshot
        self._path = path
        self._cache_limit = cache_limit

    @classmethod
    def create(
        cls,
        uri,
        *,
        fingerprint,
        dimension,
        extra_columns=None,
        overwrite=False,
        model="",
        cache_limit=_CACHE_LIMIT,
    ):
        """
        Create an index without rows.

        Parameters
        ----------
        uri : str or path-like
            New or empty directory, ``file://`` URI, or object-store URI.
        fingerprint : str
            Identifies the model and preprocessing of the vectors to come.
        dimension : int
            Length of a vector, 1 to 65536.
        extra_columns : mapping of str to dtype, or iterable of \
`~paperclip.results.ColumnSpec`, optional
            Columns beside the MAST ones, for example ``{"redshift": float}``.
        overwrite : bool, optional
            Replace the rows of an index that is there. The old rows stay on
            disk for readers that have them open.
        model : str, optional
            Name of the model, for the record.
        cache_limit : int, optional
            See `open`.

        Returns
        -------
        index : `Index`
            The new index.

        Raises
        ------
        InvalidQueryError
            If an argument has no meaning.
        IndexExistsError
            If something is there already.
        IndexWriteError
            If the place cannot be written.
        """
        text, path = local_path(uri)
        if not isinstance(fingerprint, str) or not fingerprint.strip():
            msg = f"fingerprint must be a text that is not blank, got {fingerprint!r}"
            raise InvalidQueryError(msg)
        dimension = whole_number("dimension", dimension, 1, 65536)
        specs = row_specs(extra_columns)
        header = Header.new(fingerprint=fingerprint, dimension=dimension, model=model)
        schema = arrow_schema(specs, header)
        create_table(text, path, schema, overwrite=overwrite)
        return cls.open(uri, cache_limit=cache_limit)

    @classmethod
    def open(cls, uri, *, cache_limit=_CACHE_LIMIT):
        """
        Open the newest version of an index.

        Parameters
        ----------
        uri : str or path-like
            Directory, ``file://`` URI, or object-store URI.
        cache_limit : int, optional
            Largest size in bytes of the vectors kept in memory as float32
            after the first search; a larger index is read in batches from
            disk for every search, with the same results.

        Returns
        -------
        index : `Index`
            Nothing but the manifest and the size of the files is read.

        Raises
        ------
        IndexNotFoundError
            If there is nothing at that place.
        DamagedIndexError
            If files are missing or have been altered, or it is no index.

        Warns
        -----
        IndexRecoveredWarning
            If the newest version was lost, and the one before it is opened.
        """
        text, path = local_path(uri)
        cache_limit = whole_number("cache_limit", cache_limit, 0, 2**62)
        snapshot = open_snapshot(text, path, cache_limit)
        return cls(snapshot, path, cache_limit=cache_limit)

    def refresh(self):
        """
        Move to the newest version.

        Returns
        -------
        version : int
            The version this object is at now.
        """
        newest = open_snapshot(self.uri, self._path, self._cache_limit)
        same = newest.header == self._snapshot.header
        if newest.dataset.version != self.version or not same:
            self._snapshot = newest
        return self.version

    @property
    def uri(self):
        """Where the index is (str)."""
        return self._snapshot.uri

    @property
    def version(self):
        """Number of the version this object is at (int)."""
        return self._snapshot.dataset.version

    @property
    def fingerprint(self):
        """The digest of model and preprocessing of the vectors (str)."""
        return self._snapshot.header.fingerprint

    @property
    def dimension(self):
        """Length of a vector (int)."""
        return self._snapshot.header.dimension

    @property
    def model(self):
        """Name of the model, if it was recorded (str)."""
        return self._snapshot.header.model

    @property
    def colnames(self):
        """The names of the columns of a row (list of str)."""
        return list(self._snapshot.specs)

    def __len__(self):
        return self._snapshot.n_rows

    def __repr__(self):
        return (
            f"<Index {self.uri!r} version {self.version}: {len(self)} rows, "
            f"dimension {self.dimension}, fingerprint {self.fingerprint[:12]!r}>"
        )

    def append(self, table, vectors, *, fingerprint=None):
        """
        Add rows; either all of them are added or none.

        Parameters
        ----------
        table : `~astropy.table.Table`, length n
            Rows with a unique ``obs_id`` and any other columns of the index.
            Masked, blank and NaN values are missing ones.
        vectors : array_like, shape (n, d)
            One vector per row; each is scaled to unit length and stored as
            float16.
        fingerprint : str, optional
            Fingerprint of the model that made ``vectors``, to be compared.

        Raises
        ------
        ModelMismatchError
            If the fingerprints differ.
        InvalidRowsError
            If rows or vectors do not fit, or an ``obs_id`` is there already.
        IndexWriteError
            If the index cannot be written.
        """
        expected = self.fingerprint if fingerprint is None else fingerprint
        self._check_fingerprint(expected)
        rows = rows_to_arrow(table, vectors, self._snapshot.schema)
        if not len(rows):
            return
        with writer_lock(self._path):
            self.refresh()
            self._check_fingerprint(expected)  # it may have been overwritten
            schema = self._snapshot.schema
            if not schema.equals(rows.schema, check_metadata=True):
                rows = rows_to_arrow(table, vectors, schema)
            self._check_new(rows[KEY])
            dataset = commit_rows(self.uri, self._path, rows, self.version)
            self._snapshot = Snapshot(dataset, self.uri, cache_limit=self._cache_limit)

    def delete(self, ids):
        """
        Remove rows.

        Parameters
        ----------
        ids : str or sequence of str
            Values of ``obs_id``; those that are not there are ignored.

        Returns
        -------
        n_deleted : int
            Number of rows removed.

        Raises
        ------
        InvalidQueryError
            If ``ids`` holds anything but text.
        IndexWriteError
            If the index cannot be written.
        """
        ids = [ids] if isinstance(ids, str) else list(ids)
        wrong = [item for item in ids if not isinstance(item, str)]
        if wrong:
            msg = f"ids must hold {KEY} values as text, got {wrong[0]!r}"
            raise InvalidQueryError(msg)
        with writer_lock(self._path):
            self.refresh()
            wanted = pa.array(ids, pa.string())
            keys = self._snapshot.read([KEY])[KEY]
            found = keys.filter(pc.is_in(keys, value_set=wanted)).to_pylist()
            if not found:
                return 0
            quoted = ",".join("'" + item.replace("'", "''") + "'" for item in found)
            dataset = commit_delete(self.uri, self._path, f"{KEY} IN ({quoted})")
            self._snapshot = Snapshot(dataset, self.uri, cache_limit=self._cache_limit)
        return len(found)

    def _check_fingerprint(self, fingerprint):
        if fingerprint is not None and fingerprint != self.fingerprint:
            msg = (
                f"the index {self.uri} was built with the model {self.fingerprint!r}"
                f"{f' ({self.model})' if self.model else ''}, but these vectors come "
                f"from {fingerprint!r}; load that model, or rebuild the index with "
                "the new one"
            )
            raise ModelMismatchError(msg)

    def _check_new(self, keys):
        present = self._snapshot.read([KEY])[KEY]
        both = keys.filter(pc.is_in(keys, value_set=present.combine_chunks()))
        if len(both):
            msg = (
                f"{len(both)} rows are in the index already, among them {KEY} "
                f"{both[0].as_py()!r}; delete them first or leave them out"
            )
            raise InvalidRowsError(msg)

    def _query(self, vector, fingerprint):
        self._check_fingerprint(fingerprint)
        return unit_query(vector, self.dimension)

    def search(
        self,
        vector,
        *,
        limit=10,
        where=None,
        columns=None,
        exact=True,
        fingerprint=None,
    ):
        """
        Find the rows whose vectors point most nearly the same way.

        Parameters
        ----------
        vector : array_like, shape (d,)
            Query; it is scaled to unit length.
        limit : int, optional
            Largest number of rows.
        where : str, optional
            Condition in SQL on the columns of the rows, for example
            ``"instrument_name = 'NIRCAM' AND t_min > 60000"``. It is applied
            before the search, so ``limit`` rows come back if so many match.
        columns : sequence of str, optional
            Columns of the result, in order; by default ``rank``,
            ``similarity`` and all columns of the rows.
        exact : bool, optional
            False allows an approximate index to be used where there is one.
        fingerprint : str, optional
            Fingerprint of the model that made ``vector``, to be compared.

        Returns
        -------
        table : `~astropy.table.Table`
            Best first, equal similarities in row order. ``similarity`` is
            the cosine (float32, -1 to 1), ``rank`` counts from 1. Columns
            that have missing values are masked. No match gives no rows.

        Raises
        ------
        ModelMismatchError
            If the fingerprints differ.
        InvalidQueryError
            If the vector does not fit, ``limit`` is not positive, or
            ``where`` or ``columns`` cannot be understood.
        DamagedIndexError
            If the files cannot be read.
        """
        snapshot = self._snapshot
        query = self._query(vector, fingerprint)
        limit = whole_number("limit", limit, 1, 2**62)
        if where is not None and (not isinstance(where, str) or not where.strip()):
            msg = f"where must be a condition in SQL or None, got {where!r}"
            raise InvalidQueryError(msg)
        names = column_names(columns, snapshot.result_specs)
        if not isinstance(exact, (bool, np.bool_)):
            msg = f"exact must be True or False, got {exact!r}"
            raise InvalidQueryError(msg)
        return snapshot.search(query, limit=limit, where=where, names=names)

    def similarities(self, vector, *, fingerprint=None):
        """
        Return the similarity of every row, for percentiles and histograms.

        Parameters
        ----------
        vector : array_like, shape (d,)
            Query; it is scaled to unit length.
        fingerprint : str, optional
            Fingerprint of the model that made ``vector``, to be compared.

        Returns
        -------
        similarity : `~numpy.ndarray`, shape (n,), dtype float32
            Cosines in row order. They may differ from those of `search` by
            the rounding of a float32 sum (less than 1e-6 as a rule).
        """
        return self._snapshot.similarities(self._query(vector, fingerprint))

    def vectors(self):
        """
        Return all vectors.

        Returns
        -------
        vectors : `~numpy.ndarray`, shape (n, d), dtype float32
            In row order; read-only, copy it to change it.
        """
        return self._snapshot.matrix()

    def to_table(self, columns=None):
        """
        Return all rows.

        Parameters
        ----------
        columns : sequence of str, optional
            Columns wanted, all when not given.

        Returns
        -------
        table : `~astropy.table.Table`, length n
            In row order, without the vectors.
        """
        names = column_names(columns, self._snapshot.specs)
        return self._snapshot.to_table(names)

    def info(self):
        """
        Summarise the index.

        Returns
        -------
        table : `~astropy.table.Table`
            Number of rows (``n_rows``) per ``obs_collection`` and
            ``instrument_name``, most first. ``meta`` holds ``uri``, ``rows``,
            ``version``, ``dimension``, ``fingerprint``, ``model``,
            ``created``, ``package_version`` and ``size`` (bytes on disk, all
            versions; of an object store only the data files of this one).
        """
        names = ["obs_collection", "instrument_name"]
        groups = (
            self._snapshot.read(names).group_by(names).aggregate([([], "count_all")])
        )
        groups = groups.rename_columns([*names, "n_rows"])
        order = [("n_rows", "descending"), *((name, "ascending") for name in names)]
        groups = groups.sort_by(order)
        specs = {**COLUMNS, "n_rows": ColumnSpec("n_rows", "int64", None, "Rows")}
        table = Table(
            [column_from_arrow(groups[n], specs[n]) for n in groups.column_names]
        )
        header = self._snapshot.header
        table.meta.update(
            uri=self.uri,
            rows=len(self),
            version=self.version,
            dimension=self.dimension,
            fingerprint=self.fingerprint,
            model=self.model,
            created=header.created,
            package_version=header.package_version,
            size=self._size(),
        )
        return table

    def _size(self):
        if self._path is not None:
            files = (p for p in self._path.rglob("*") if p.is_file())
            return sum(p.stat().st_size for p in files)
        parts = self._snapshot.dataset.get_fragments()
        return sum(f.file_size_bytes or 0 for p in parts for f in p.metadata.files)
