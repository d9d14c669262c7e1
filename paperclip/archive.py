# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What the user-facing class asks the archive; the work is done in `paperclip.mast`."""

from datetime import UTC, datetime
from functools import lru_cache

from astropy.table import Row, Table

from paperclip import __version__

__all__ = ["ArchiveMethods"]


@lru_cache(maxsize=8)
def _shared_client(server, offline, cache):
    """Keep connections and the list of columns between calls."""
    from paperclip.mast import MastClient

    return MastClient(server=server, offline=offline, cache=cache)


class ArchiveMethods:
    """
    Observations, proposals, previews and products of MAST.

    The methods take what the others return: a table of `query_criteria`, or of
    ``query_text``, can be handed to `get_product_list`, `get_previews`,
    `get_proposals` and `download_products`.
    """

    _offline = None

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
        return found if count_only else _signed(found)

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
        return _signed(query_region(self._client(cache), region, radius, **options))

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
        return _signed(query_object(self._client(cache), name, radius, **options))

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
        return _signed(get_proposals(self._client(), ids, **options))

    def get_product_list(
        self,
        observations,
        *,
        recipe=None,
        limit=None,
        data_rights="PUBLIC",
        cache=False,
    ):
        """
        Return the files that MAST has of observations.

        Parameters
        ----------
        observations : `~astropy.table.Table`, `~astropy.table.Row`, str or sequence
            Rows with ``obsid`` or ``obs_id``, as of `query_criteria` and
            ``query_text``, or such identifiers.
        recipe : `~paperclip.mast.PreviewRecipe` or str, optional
            Only what the recipe takes; ``"SCIENCE"`` for FITS files.
        limit : int, optional
            Largest number of rows.
        data_rights : str, sequence of str or None, optional
            Leave out what is marked otherwise; None for everything.
        cache : bool, optional
            As for `query_criteria`.

        Returns
        -------
        table : `~astropy.table.Table`
            One row for each ``dataURI``. ``meta`` holds ``n_obs`` (observations) and
            ``n_avail`` (rows there are).

        Raises
        ------
        InvalidQueryError
            If an argument is wrong.
        RemoteServiceError
            If MAST does not answer.

        Warns
        -----
        FailedRowsWarning
            If MAST does not know some of the observations.
        MaxResultsWarning
            If there are more than ``limit``.
        NoResultsWarning
            If there is none; the table is empty then.
        """
        from paperclip.mast import get_product_list

        options = {"recipe": recipe, "limit": limit, "data_rights": data_rights}
        return _signed(get_product_list(self._client(cache), observations, **options))

    def get_previews(
        self,
        observations,
        folder=None,
        *,
        max_per_proposal=None,
        recipe=None,
        size=512,
        seed=0,
        data_rights="PUBLIC",
        workers=None,
        cloud=False,
        progress=None,
    ):
        """
        Download preview pictures of observations.

        Parameters
        ----------
        observations : `~astropy.table.Table`, `~astropy.table.Row`, str or sequence
            As for `get_product_list`.
        folder : path-like, optional
            Where the pictures go, with their manifest; a folder in the cache of
            this package by default. Pictures that are there are not fetched.
        max_per_proposal : int, optional
            Most pictures of one proposal, spread over its targets; all by
            default.
        recipe : `~paperclip.mast.PreviewRecipe` or str, optional
            Which previews to take; by default those of `paperclip.mast.recipe_for`
            the mission.
        size : int, optional
            Longest side of the stored pictures, in pixels.
        seed : int, optional
            Of the choice where there are more than ``max_per_proposal``.
        data_rights : str, sequence of str or None, optional
            Leave out what is marked otherwise; None for everything.
        workers : int, optional
            Files fetched at a time, ``paperclip.conf.workers`` by default.
        cloud : bool, optional
            Read from the public copy in the cloud what is there.
        progress : callable, optional
            Called as ``progress(finished, wanted)`` after each picture.

        Returns
        -------
        table : `~astropy.table.Table`
            The observations with ``path``, ``status`` and ``message`` of their
            pictures. Failed ones stay as rows.

        Raises
        ------
        InvalidQueryError
            If an argument is wrong.
        DataSetWriteError
            If the folder cannot be written; what is complete stays.
        RemoteServiceError
            If MAST does not answer.

        Warns
        -----
        FailedRowsWarning
            If some pictures could not be had.
        """
        from paperclip.imaging import read_preview
        from paperclip.mast import get_previews

        table = get_previews(
            self._client(),
            observations,
            folder,
            max_per_proposal=max_per_proposal,
            recipe=recipe,
            size=size,
            seed=seed,
            data_rights=data_rights,
            workers=workers,
            cloud=cloud,
            progress=progress,
            check=read_preview,
        )
        return _signed(table)

    def download_products(
        self,
        products,
        folder,
        *,
        recipe="SCIENCE",
        workers=None,
        cloud=False,
        progress=None,
    ):
        """
        Download science files.

        Parameters
        ----------
        products : `~astropy.table.Table`, `~astropy.table.Row`, str or sequence
            Rows of `get_product_list`; or observations, whose products are
            asked for.
        folder : path-like
            Where the files go. Complete ones that are there are not fetched.
        recipe : `~paperclip.mast.PreviewRecipe` or str, optional
            Which products of observations are wanted; FITS files by default.
        workers : int, optional
            Files fetched at a time, ``paperclip.conf.workers`` by default.
        cloud : bool, optional
            Read from the public copy in the cloud what is there.
        progress : callable, optional
            Called as ``progress(finished, wanted)`` after each file.

        Returns
        -------
        table : `~astropy.table.Table`
            The products with ``path``, ``status`` and ``message``. Failed ones
            stay as rows.

        Raises
        ------
        InvalidQueryError
            If an argument is wrong.
        DataSetWriteError
            If the folder cannot be written; what is complete stays.
        RemoteServiceError
            If MAST does not answer.

        Warns
        -----
        FailedRowsWarning
            If some files could not be had.
        """
        from paperclip.mast import download_products

        products = Table(products) if isinstance(products, Row) else products
        options = {"workers": workers, "cloud": cloud, "progress": progress}
        client = self._client()
        return _signed(
            download_products(client, products, folder, recipe=recipe, **options)
        )

    # -- helpers --------------------------------------------------------------
    def _client(self, cache=False):
        from paperclip import conf

        return _shared_client(conf.mast_server, self._offline, bool(cache))


def _signed(table):
    """Add the version of this package and the time, where they are missing."""
    table.meta.setdefault("version", f"paperclip {__version__}")
    if not table.meta.get("time"):
        table.meta["time"] = datetime.now(tz=UTC).isoformat(timespec="seconds")
    return table
