# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Methods that list and download the files of observations."""

from astropy.table import Row, Table

from ._client import ClientHolder, signed

__all__ = ["FileMethods"]


class FileMethods(ClientHolder):
    """The part of `ArchiveMethods` that deals with pictures and products."""

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
        return signed(get_product_list(self._client(cache), observations, **options))

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
        return signed(table)

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
        return signed(
            download_products(client, products, folder, recipe=recipe, **options)
        )
