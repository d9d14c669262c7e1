# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What an evaluation found: figures, records, curves and differences."""

import numpy as np

from paperclip.exceptions import DataSetError, InvalidQueryError

from ._cells import some
from ._evalfiles import read_records, write_records
from ._tabulate import ALL, curve_of, difference, tabulate

__all__ = ["Evaluation"]


class Evaluation:
    """
    What `evaluate` found.

    Parameters
    ----------
    pictures, queries : `~astropy.table.Table`
        One row for each picture, and for each caption or class as a query.
    settings : dict
        What was measured, and how.
    metrics : `~astropy.table.Table`, optional
        The figures; made from the records if not given.

    Attributes
    ----------
    metrics : `~astropy.table.Table`
        ``name``, ``value``, ``low`` and ``high`` (95 % interval), ``chance``
        and ``n`` (pictures or queries), and ``subset`` if there are several.
        Masked where there is none.
    pictures, queries : `~astropy.table.Table`
        The records.
    settings : dict
        Model, caption sources, seed and so on.
    """

    def __init__(self, pictures, queries, settings, metrics=None):
        self.pictures, self.queries, self.settings = pictures, queries, settings
        self.metrics = metrics
        if metrics is None:
            self.metrics = tabulate(pictures, queries, settings)
            self.metrics.meta.update(
                model=settings["model"]["name"],
                fingerprint=settings["model"]["fingerprint"],
                texts=settings["texts"],
                n_pictures=settings["n_pictures"],
                n_proposals=settings["n_proposals"],
            )

    def __repr__(self):
        top = self.metrics[0]
        return (
            f"<Evaluation of {self.settings['model']['name']!r}: "
            f"{self.settings['n_pictures']} pictures of "
            f"{self.settings['n_proposals']} proposals, "
            f"{top['name']} {top['value']:.3f}>"
        )

    def __getitem__(self, name):
        """Return the value of a figure, of all pictures."""
        rows = self.metrics
        if "subset" in rows.colnames:
            rows = rows[rows["subset"] == ALL]
        found = rows["value"][rows["name"] == name]
        if not len(found):
            msg = f"there is no figure {name!r}; there are {sorted(rows['name'])}"
            raise InvalidQueryError(msg)
        return float(found[0])

    def curve(self, fractions=None, *, direction="image", subset=ALL):
        """
        Return retrieval accuracy against the retrieval fraction.

        Parameters
        ----------
        fractions : array-like, optional
            Parts of the candidates, from 0 to 1; 101 of them by default.
        direction : {"image", "text"}, optional
            "image" ranks captions for pictures, "text" pictures for captions.
        subset : str, optional
            Which pictures, if there are subsets.

        Returns
        -------
        curve : `~astropy.table.Table`
            ``fraction``, ``value``, ``low``, ``high`` and ``chance``.

        Raises
        ------
        InvalidQueryError
            If an argument is out of range.
        """
        if direction not in ("image", "text"):
            msg = f"direction must be 'image' or 'text', got {direction!r}"
            raise InvalidQueryError(msg)
        values = np.linspace(0, 1, 101) if fractions is None else fractions
        values = np.atleast_1d(np.asarray(values, dtype=np.float64))
        if values.ndim > 1 or not ((values >= 0) & (values <= 1)).all():
            msg = f"fractions must be numbers from 0 to 1, got {fractions!r}"
            raise InvalidQueryError(msg)
        rows = self._rows("pictures", subset)
        options = {"bootstrap": self.settings["bootstrap"]}
        return curve_of(rows, values, direction, seed=self.settings["seed"], **options)

    def _rows(self, name, subset):
        table = getattr(self, name)
        rows = table[table["subset"] == subset]
        if not len(rows):
            known = sorted(set(table["subset"]))
            msg = f"subset must be one of {known}, got {subset!r}"
            raise InvalidQueryError(msg)
        return rows

    def compare(self, other):
        """
        Return the differences to an evaluation of the same pictures.

        Parameters
        ----------
        other : Evaluation or path-like
            Another model, or other captions, on the same pairs.

        Returns
        -------
        table : `~astropy.table.Table`
            ``name``, ``value`` (this one), ``other``, ``difference`` (this
            minus the other), ``low`` and ``high``: 95 % of the differences in
            samples of proposals, the same ones for both.

        Raises
        ------
        InvalidQueryError
            If the pictures, their proposals or the settings differ.
        """
        if not isinstance(other, Evaluation):
            other = type(self).load(other)
        for name in ("ks", "fraction"):
            if self.settings[name] != other.settings[name]:
                msg = (
                    f"other must have the same {name}, {self.settings[name]}, got "
                    f"{other.settings[name]}; evaluate again"
                )
                raise InvalidQueryError(msg)
        mine, theirs = (
            {(row["key"], row["group"]) for row in e._rows("pictures", ALL)}
            for e in (self, other)
        )
        if mine != theirs:
            odd = some(sorted(str(key) for key, _ in mine ^ theirs))
            msg = (
                "other must be of the same pictures and proposals, "
                f"{len(mine ^ theirs)} entries are in one only: {odd}"
            )
            raise InvalidQueryError(msg)
        tables = ((e.pictures, e.queries) for e in (self, other))
        return difference(*tables, self.settings)

    def save(self, folder):
        """
        Write records from which everything can be drawn and compared again.

        Parameters
        ----------
        folder : path-like
            New, empty, or an earlier evaluation, which is replaced. It gets
            ``pictures.parquet``, ``queries.parquet``, ``metrics.ecsv`` and
            ``evaluation.json``.

        Raises
        ------
        DataSetError
            If the place holds something else.
        DataSetWriteError
            If it cannot be written.
        """
        tables = self.pictures, self.queries, self.metrics
        write_records(folder, *tables, self.settings)

    @classmethod
    def load(cls, folder):
        """
        Read an evaluation; neither model nor pictures are needed.

        Parameters
        ----------
        folder : path-like
            Written by `save`.

        Returns
        -------
        evaluation : Evaluation
            With its figures computed again from the records.

        Raises
        ------
        DataSetError
            If it is no evaluation or damaged.
        """
        pictures, queries, settings = read_records(folder)
        try:
            return cls(pictures, queries, settings)
        except (KeyError, TypeError, ValueError, IndexError) as exc:
            msg = f"{folder} holds records that do not fit: {exc}; evaluate again"
            raise DataSetError(msg) from exc
