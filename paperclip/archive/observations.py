# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Methods that find observations and the proposals behind them."""

from ._client import ClientHolder, signed

__all__ = ["ObservationMethods"]


class ObservationMethods(ClientHolder):
    """The part of `ArchiveMethods` that asks what was observed, and why."""

    def query_criteria(
        self,
        *,
        limit=10_000,
        count_only=False,
        data_rights="PUBLIC",
        cache=False,
        **criteria,
    ):
        """
        Find observations in MAST by the values of their columns.

        Parameters
        ----------
        limit : int or None, optional
            Largest number of rows, None for all.
        count_only : bool, optional
            Return how many there are and nothing else.
        data_rights : str, sequence of str or None, optional
            Values of ``dataRights`` to take; None for all. Files that are not
            public need the login of their owners.
        cache : bool, optional
            Keep the answer on disk, and use one that is at most 30 days old.
        **criteria : object
            Column of MAST to the value or the values wanted, such as
            ``proposal_id=15513, instrument_name="ACS/WFC"``; for columns of
            real numbers (min, max) with None for an open end. One text may
            hold ``*`` for any characters.

        Returns
        -------
        table : `~astropy.table.Table` or int
            One row per observation, with MAST's names of columns; their
            number with ``count_only``. ``meta`` holds ``query``, ``n_avail`` (rows
            there are), ``server``, ``time`` and ``version`` of this package.

        Raises
        ------
        InvalidQueryError
            If there is no criterion, no such column, or a value does not fit.
        RemoteServiceError
            If MAST does not answer.
        OfflineError
            If downloads are switched off and the answer is not on disk.

        Warns
        -----
        MaxResultsWarning
            If there are more than ``limit``.
        NoResultsWarning
            If there is none; the table is empty then.

        See Also
        --------
        query_region : Find observations by where they look.
        """
        from paperclip.mast import query_criteria

        options = {"limit": limit, "count_only": count_only, "data_rights": data_rights}
        found = query_criteria(self._client(cache), **options, **criteria)
        return found if count_only else signed(found)

    def query_region(
        self,
        region,
        radius=None,
        *,
        limit=10_000,
        data_rights="PUBLIC",
        cache=False,
        **criteria,
    ):
        """
        Find observations in MAST whose footprints overlap a part of the sky.

        Parameters
        ----------
        region : region, `~astropy.coordinates.SkyCoord`, str or sequence
            A sky region of the package *regions* in any frame, a position, a
            ``mocpy.MOC``, or several; see `~paperclip.footprints.sky_area`.
        radius : angle, str or float, optional
            For positions, such as ``"2 arcmin"``; a number is in degrees.
        limit : int or None, optional
            Largest number of rows, None for all; the nearest ones are kept.
        data_rights : str, sequence of str or None, optional
            As for `query_criteria`.
        cache : bool, optional
            As for `query_criteria`.
        **criteria : object
            Further conditions, as for `query_criteria`.

        Returns
        -------
        table : `~astropy.table.Table`
            As of `query_criteria`, nearest first, with ``distance`` from the
            centre of the region.

        Raises
        ------
        InvalidQueryError
            If there is no such region, or a criterion is wrong.
        RemoteServiceError
            If MAST does not answer.

        Warns
        -----
        MaxResultsWarning
            If there are more than ``limit``.
        NoResultsWarning
            If there is none; the table is empty then.
        """
        from paperclip.mast import query_region

        options = {"limit": limit, "data_rights": data_rights, **criteria}
        return signed(query_region(self._client(cache), region, radius, **options))

    def query_object(
        self,
        name,
        radius="3 arcmin",
        *,
        limit=10_000,
        data_rights="PUBLIC",
        cache=False,
        **criteria,
    ):
        """
        Find observations in MAST around an object.

        Parameters
        ----------
        name : str
            Name that the resolver of MAST knows, such as ``"M 31"``.
        radius : angle, str or float, optional
            A number is in degrees; 0 for footprints that hold the position.
        limit : int or None, optional
            Largest number of rows, None for all; the nearest ones are kept.
        data_rights : str, sequence of str or None, optional
            As for `query_criteria`.
        cache : bool, optional
            As for `query_criteria`; the position is looked up every time.
        **criteria : object
            Further conditions, as for `query_criteria`.

        Returns
        -------
        table : `~astropy.table.Table`
            As of `query_region`.

        Raises
        ------
        NameResolutionError
            If nobody knows the object.
        InvalidQueryError
            If another argument is wrong.
        RemoteServiceError
            If MAST does not answer.
        """
        from paperclip.mast import query_object

        options = {"limit": limit, "data_rights": data_rights, **criteria}
        return signed(query_object(self._client(cache), name, radius, **options))

    def get_proposals(self, ids, *, mission=None, catalogue=None, workers=None):
        """
        Return title, abstract and more of the proposals of observations.

        Parameters
        ----------
        ids : str, int, sequence, `~astropy.table.Table` or `~astropy.table.Row`
            Numbers of proposals, or rows with ``proposal_id``.
        mission : str, optional
            ``"HST"`` or ``"JWST"``, for numbers that come without one.
        catalogue : `~astropy.table.Table` or path-like, optional
            Proposals to look in first; see `paperclip.mast.get_proposals`.
        workers : int, optional
            Files fetched at a time, ``paperclip.conf.workers`` by default.

        Returns
        -------
        table : `~astropy.table.Table`
            One row per proposal in the order given: ``proposal_id``, ``mission``,
            ``cycle``, ``type``, ``category``, ``title``, ``pi``, ``abstract``,
            ``source``, ``retrieved`` and ``status``.

        Raises
        ------
        InvalidQueryError
            If ``ids`` holds no numbers, or an argument is of no use.
        OfflineError
            If downloads are switched off and nothing asked for is on disk.

        Warns
        -----
        FailedRowsWarning
            If proposals have no abstract; their ``status`` says why.
        NoResultsWarning
            If ``ids`` is empty.
        """
        from paperclip.mast import get_proposals

        options = {"mission": mission, "catalogue": catalogue, "workers": workers}
        return signed(get_proposals(self._client(), ids, **options))
