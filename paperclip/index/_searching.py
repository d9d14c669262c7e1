# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What an index answers: searches, vectors, rows and a summary."""

import numpy as np
from astropy.table import Table

from paperclip.exceptions import InvalidQueryError
from paperclip.index._checks import column_names, unit_query
from paperclip.index._rows import column_from_arrow
from paperclip.index.filters import row_filter
from paperclip.results import COLUMNS, ColumnSpec
from paperclip.utils.checks import whole_number

__all__ = ["SearchMethods"]


class SearchMethods:
    """The reading half of `paperclip.index.Index`, which inherits it."""

    def _query(self, vector, fingerprint):
        self._check_fingerprint(fingerprint)
        return unit_query(vector, self.dimension)

    def search(
        self,
        vector,
        *,
        limit=10,
        where=None,
        region=None,
        radius=None,
        instrument_name=None,
        filters=None,
        obs_collection=None,
        proposal_id=None,
        target_name=None,
        t_min=None,
        t_max=None,
        columns=None,
        exact=False,
        fingerprint=None,
    ):
        """
        Find the rows whose vectors point most nearly the same way.

        All conditions are applied before the search, so ``limit`` rows come
        back if so many fulfil them.

        Parameters
        ----------
        vector : array_like, shape (d,)
            Query; it is scaled to unit length.
        limit : int, optional
            Largest number of rows.
        where : str, optional
            Condition in SQL on the columns of the rows, for example
            ``"instrument_name = 'NIRCAM' AND t_min > 60000"``.
        region : region, `~astropy.coordinates.SkyCoord`, str or sequence, optional
            Part of the sky that the footprint must meet: anything that
            `~paperclip.footprints.sky_area` takes, in any frame. A row without a
            footprint counts as the point ``s_ra``, ``s_dec``; one without a
            position is nowhere.
        radius : `~astropy.coordinates.Angle`, quantity, str or float, optional
            Beside a position as ``region``; a number is in degrees.
        instrument_name, filters, obs_collection, proposal_id, target_name : \
str or sequence of str, optional
            Value of the column, or several of which one must match. Upper and
            lower case count as the same; ``*`` is any text, ``?`` any character.
        t_min, t_max : `~astropy.time.Time`, str or float, optional
            Interval that the exposure must overlap, ends included: a time, ISO
            text (UTC) or MJD.
        columns : sequence of str, optional
            Columns of the result, in order; by default ``rank``,
            ``similarity`` and all columns of the rows.
        exact : bool, optional
            True forbids an approximate answer where there is an index for one.
        fingerprint : str, optional
            Fingerprint of the model that made ``vector``, to be compared.

        Returns
        -------
        table : `~astropy.table.Table`
            Best first, equal similarities in row order. ``similarity`` is
            the cosine (float32, -1 to 1), ``rank`` counts from 1. Columns
            that have missing values are masked. No match gives no rows.
            ``meta`` holds ``search`` (``"exact"`` or ``"ann"``), ``recall``
            (expected share of the true best rows, 1 for exact) and
            ``n_match`` (rows that fulfil the conditions), and what was asked
            for: ``where``, ``region``, ``filter`` (values of columns),
            ``t_min``, ``t_max``.

        Raises
        ------
        ModelMismatchError
            If the fingerprints differ.
        InvalidQueryError
            If the vector does not fit, ``limit`` is not positive, or another
            argument cannot be understood.
        DamagedIndexError
            If the files cannot be read.
        """
        snapshot = self._snapshot
        query = self._query(vector, fingerprint)
        limit = whole_number("limit", limit, 1, 2**62)
        names = column_names(columns, snapshot.result_specs)
        if not isinstance(exact, (bool, np.bool_)):
            msg = f"exact must be True or False, got {exact!r}"
            raise InvalidQueryError(msg)
        chosen = row_filter(
            snapshot.specs,
            where=where,
            region=region,
            radius=radius,
            t_min=t_min,
            t_max=t_max,
            instrument_name=instrument_name,
            filters=filters,
            obs_collection=obs_collection,
            proposal_id=proposal_id,
            target_name=target_name,
        )
        if chosen is not None:
            chosen.check(snapshot.dataset)
        table, facts = snapshot.search(
            query, limit=limit, row_filter=chosen, names=names, exact=bool(exact)
        )
        table.meta.update(facts)
        if chosen is not None:
            table.meta.update(chosen.facts)
        return table

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
