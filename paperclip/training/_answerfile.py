# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Files of abstracts, and files of answers with the journal beside them."""

from pathlib import Path

from astropy.table import Table

from paperclip.exceptions import DataSetError, InvalidQueryError
from paperclip.mast._journal import Journal, write_error
from paperclip.training._answers import clean_words
from paperclip.training._cells import read_csv
from paperclip.utils.files import atomic_path

__all__ = ["Output", "texts_file"]

_FORMATS = {
    ".ecsv": "ascii.ecsv",
    ".fits": "fits",
    ".vot": "votable",
    ".xml": "votable",
    ".csv": "ascii.csv",
}


class Output:
    """
    A file of answers, with the journal beside it.

    Parameters
    ----------
    path : path-like or None
        Where the table goes, if anywhere.
    resume : bool
        Whether answers of earlier runs count.

    Raises
    ------
    InvalidQueryError
        If the name does not end in a known format, or the file is there and
        was not made by an earlier run.
    """

    def __init__(self, path, resume):
        self.path = None if path is None else Path(path).expanduser()
        self.journal = None
        if self.path is None:
            return
        if self.path.suffix.lower() not in _FORMATS:
            msg = f"output must end in {', '.join(_FORMATS)}, got {str(path)!r}"
            raise InvalidQueryError(msg)
        place = self.path.with_name(f"{self.path.name}.journal")
        if self.path.exists() and not place.exists() and resume:
            msg = (
                f"output {str(path)!r} exists and has no journal {place.name!r} to go "
                "on from; give another name, or resume=False to replace it"
            )
            raise InvalidQueryError(msg)
        if not self.path.parent.is_dir():
            msg = f"output: there is no folder {str(self.path.parent)!r}"
            raise InvalidQueryError(msg)
        self.journal = Journal(place)
        if not resume:
            self.journal.clear()

    def write(self, table):
        """
        Write the table; the journal stays, so that rows can be added later.

        Parameters
        ----------
        table : `~astropy.table.Table`
            All rows.

        Raises
        ------
        DataSetWriteError
            If the disk is full or cannot be written.
        """
        if self.path is None:
            return
        kind = _FORMATS[self.path.suffix.lower()]
        table = table.copy(copy_data=False)
        if kind != "ascii.ecsv":  # the others hold no nested values
            table.meta = {}
        try:
            with atomic_path(self.path) as part:
                table.write(part, format=kind)
        except OSError as exc:
            raise write_error(self.path, exc) from exc


def texts_file(path):
    """
    Read abstracts from a data set, a table or a text file.

    Parameters
    ----------
    path : path-like
        Folder of a data set, whose proposals are taken; a table (``.ecsv``,
        ``.csv``, ``.fits``, ``.vot``, ``.xml``, ``.parquet``); or a text file
        (``.txt``) with one abstract per line.

    Returns
    -------
    source : `~astropy.table.Table` or list of str
        What `read_texts` takes.

    Raises
    ------
    DataSetError
        If it cannot be read.
    """
    from paperclip.training.dataset import DataSet

    path = Path(path).expanduser()
    if path.is_dir():
        return DataSet.open(path).proposals
    kinds = _FORMATS | {".parquet": "parquet"}
    suffix = path.suffix.lower()
    if suffix != ".txt" and suffix not in kinds:
        msg = f"{str(path)!r} must be a data set or end in .txt, {', '.join(kinds)}"
        raise DataSetError(msg)
    try:
        if suffix == ".txt":
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            return [line for line in lines if line.strip()]
        if suffix == ".csv":
            return read_csv(path, converters={"proposal_id": str})
        return Table.read(path, format=kinds[suffix])
    except FileNotFoundError as exc:
        msg = f"there is no file {str(path)!r}"
        raise DataSetError(msg) from exc
    except (OSError, ValueError, TypeError, KeyError) as exc:
        reason = clean_words(str(exc))[:200] or type(exc).__name__
        msg = f"{str(path)!r} cannot be read as a table: {reason}"
        raise DataSetError(msg) from exc
