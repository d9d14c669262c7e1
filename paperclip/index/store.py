# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Create and open an index."""

from paperclip.exceptions import InvalidQueryError
from paperclip.index._columns import ColumnMethods
from paperclip.index._exporting import FormatMethods
from paperclip.index._files import Place
from paperclip.index._opening import create_table, open_snapshot
from paperclip.index._searching import SearchMethods
from paperclip.index._streaming import StreamMethods
from paperclip.index._upkeep import UpkeepMethods
from paperclip.index._versions import VersionMethods
from paperclip.index._writing import WriteMethods
from paperclip.index.ann import AnnMethods
from paperclip.index.schema import Header, arrow_schema, row_specs
from paperclip.utils.checks import whole_number

__all__ = ["Index"]

_CACHE_LIMIT = 512 * 1024**2


class Index(
    SearchMethods,
    AnnMethods,
    StreamMethods,
    FormatMethods,
    WriteMethods,
    VersionMethods,
    UpkeepMethods,
    ColumnMethods,
):
    """
    Observations and their vectors in one table on disk.

    Make one with `Index.create` or `Index.open`. An object stays at the
    version that it opened. Methods that change something look at the newest
    version first, and move the object to the version that they commit;
    `refresh` moves it to the newest one.

    Parameters
    ----------
    snapshot : object
        The opened version; internal.
    place : object
        Where it is; internal.
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

    def __init__(self, snapshot, place, *, cache_limit):
        self._snapshot = snapshot
        self._place = place
        self._path = place.path  # None in an object store
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
        storage_options=None,
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
            disk for readers and `restore`, until `compact` removes versions
            of that age.
        model : str, optional
            Name of the model, for the record.
        cache_limit : int, optional
            See `open`.
        storage_options : mapping of str to str, optional
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
        place = Place.of(uri, storage_options)
        if not isinstance(fingerprint, str) or not fingerprint.strip():
            msg = f"fingerprint must be a text that is not blank, got {fingerprint!r}"
            raise InvalidQueryError(msg)
        dimension = whole_number("dimension", dimension, 1, 65536)
        specs = row_specs(extra_columns)
        header = Header.new(fingerprint=fingerprint, dimension=dimension, model=model)
        schema = arrow_schema(specs, header)
        create_table(place, schema, overwrite=overwrite)
        return cls.open(uri, cache_limit=cache_limit, storage_options=storage_options)

    @classmethod
    def open(cls, uri, *, version=None, cache_limit=_CACHE_LIMIT, storage_options=None):
        """
        Open an index.

        Parameters
        ----------
        uri : str or path-like
            Directory, ``file://`` URI, or object-store URI.
        version : int or str, optional
            Number or tag of a version, see `versions`; the newest one when
            not given.
        cache_limit : int, optional
            Largest size in bytes of the rows kept in memory, and of the
            vectors where they cannot be mapped from local files, as those in
            an object store. What is larger is read in batches for every
            search, with the same results.
        storage_options : mapping of str to str, optional
            Options of an object store [1]_, for example ``aws_endpoint``,
            ``aws_access_key_id``, ``aws_secret_access_key``, ``aws_region``;
            by default those of the environment (``AWS_ENDPOINT`` and so on).

        Returns
        -------
        index : `Index`
            Nothing but the manifest and the size of the files is read.

        Raises
        ------
        IndexNotFoundError
            If there is nothing at that place.
        InvalidQueryError
            If there is no such version.
        DamagedIndexError
            If files are missing or have been altered, or it is no index.
        RemoteServiceError
            If an object store does not answer, or refuses.

        Warns
        -----
        IndexRecoveredWarning
            If the newest version was lost, and the one before it is opened.

        References
        ----------
        .. [1] https://lance.org/guide/object_store/
        """
        place = Place.of(uri, storage_options)
        if version is not None and not isinstance(version, str):
            version = whole_number("version", version, 1, 2**63 - 1)
        cache_limit = whole_number("cache_limit", cache_limit, 0, 2**62)
        snapshot = open_snapshot(place, cache_limit, version=version)
        return cls(snapshot, place, cache_limit=cache_limit)

    def refresh(self):
        """
        Move to the newest version.

        Returns
        -------
        version : int
            The version this object is at now.
        """
        newest = open_snapshot(self._place, self._cache_limit)
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
