# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Create, open, fill and search an index."""

import pyarrow as pa
import pyarrow.compute as pc

from paperclip.exceptions import (
    InvalidQueryError,
    InvalidRowsError,
    ModelMismatchError,
)
from paperclip.index._columns import ColumnMethods
from paperclip.index._commit import (
    commit_delete,
    commit_rows,
    create_table,
    open_snapshot,
)
from paperclip.index._exporting import FormatMethods
from paperclip.index._files import local_path, writer_lock
from paperclip.index._rows import rows_to_arrow
from paperclip.index._searching import SearchMethods
from paperclip.index._snapshot import Snapshot
from paperclip.index._streaming import StreamMethods
from paperclip.index._upkeep import UpkeepMethods
from paperclip.index._versions import VersionMethods
from paperclip.index.schema import KEY, Header, arrow_schema, row_specs
from paperclip.utils.checks import whole_number

__all__ = ["Index"]

_CACHE_LIMIT = 512 * 1024**2


class Index(
    SearchMethods,
    StreamMethods,
    FormatMethods,
    VersionMethods,
    UpkeepMethods,
    ColumnMethods,
):
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
