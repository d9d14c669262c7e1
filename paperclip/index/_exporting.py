# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The methods of an index that hand it to other programs."""

__all__ = ["FormatMethods"]


class FormatMethods:
    """The part of `paperclip.index.Index` that writes formats of astronomy."""

    def export(self, path, format=None, *, overwrite=False, **options):  # noqa: A002
        """
        Write the rows in a format of astronomy.

        Parameters
        ----------
        path : path-like
            File or folder to write.
        format : str, optional
            ``"hats"``, ``"parquet"``, ``"votable"``, ``"fits"``, ``"ecsv"``,
            ``"csv"``, ``"moc"`` or ``"obscore"``; by default what the end of
            the name of ``path`` says.
        overwrite : bool, optional
            Replace what is there.
        **options
            Options of the functions of `paperclip.index.formats`, and the
            conditions of `search` that choose rows.

        Returns
        -------
        path : `~pathlib.Path`
            What was written.

        Raises
        ------
        InvalidQueryError
            If the format or an option is unknown.
        ExportError
            If ``path`` is there already, or cannot be written.
        MissingDependencyError
            If the format needs a package that is not installed.

        Warns
        -----
        NoResultsWarning
            If no row fulfils the conditions.
        """
        from paperclip.index.formats import export

        return export(self, path, format=format, overwrite=overwrite, **options)

    def coverage(self, *, order=10, **conditions):
        """
        Return the area on the sky that the rows cover.

        Parameters
        ----------
        order : int, optional
            HEALPix order of the smallest cells.
        **conditions
            ``where``, ``region`` and the other conditions of `search`.

        Returns
        -------
        moc : ``mocpy.MOC``
            See `paperclip.index.formats.coverage`.
        """
        from paperclip.index.formats import coverage

        return coverage(self, order=order, **conditions)

    def obscore(self, *, publisher=None, **conditions):
        """
        Return the rows with the columns of IVOA ObsCore.

        Parameters
        ----------
        publisher : str, optional
            IVOA identifier of the collection, ``"ivo://authority/name"``.
        **conditions
            ``where``, ``region`` and the other conditions of `search`.

        Returns
        -------
        table : `~astropy.table.Table`
            See `paperclip.index.formats.obscore`.
        """
        from paperclip.index.formats import obscore

        return obscore(self, publisher=publisher, **conditions)
