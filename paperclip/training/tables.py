# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pairs from a table of one's own, and back to files."""

import hashlib
import io
import warnings
from collections import Counter
from pathlib import Path

from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning

from paperclip.exceptions import DataSetError, InvalidQueryError
from paperclip.utils.files import atomic_path

from ._cells import read_csv
from .loader import read_picture
from .pairs import PairList

__all__ = ["read_pairs", "write_pairs"]

_FORMATS = {
    ".csv": "ascii.csv",
    ".ecsv": "ascii.ecsv",
    ".parquet": "parquet",
    ".vot": "votable",
}
SOURCES = ("abstract", "summary", "title", "caption", "description", "label")
"""Columns that are read as texts."""
_GROUPS = ("group", "proposal_id", "programme", "object_name", "target_name")
_SPLITS = ("train", "validation", "test")
_SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}
_FEW = 6  # groups that are dealt out in turn


def read_pairs(source, split=None):
    """
    Read pairs from a data set or from a table of one's own.

    Parameters
    ----------
    source : path-like
        A folder made by `build_dataset`, or a table (``.csv``, ``.ecsv``,
        ``.parquet``, ``.vot``) with one row for each picture: ``path``,
        relative to the table; texts in any of the columns ``abstract``,
        ``summary``, ``title``, ``caption``, ``description`` and ``label``; a
        column that says what belongs together, the first there is of
        ``group``, ``proposal_id``, ``programme``, ``object_name`` and
        ``target_name``; and, if wanted, ``key`` and ``split``.
    split : str, optional
        "train", "validation" or "test"; all pairs if not given. Without a
        column ``split``, whole groups are dealt out, 70, 15 and 15 % of the
        pairs, in an order that depends on the names of the groups alone.

    Returns
    -------
    pairs : `PairList`
        In the order of the source.

    Raises
    ------
    InvalidQueryError
        If the file is no table or lacks a column; the message names it.
    DataSetError
        If there is no data set, or the split has no pairs.

    Warns
    -----
    FailedRowsWarning
        If rows have no picture or no text; they are left out.
    """
    source = Path(source).expanduser()
    if source.is_dir():
        return _from_folder(source, split)
    table = _read_table(source)
    names = {name.lower(): name for name in table.colnames}
    texts = [name for name in SOURCES if name in names]
    groups = [name for name in _GROUPS if name in names]
    for wanted, found, hint in (
        ("path", [n for n in ("path",) if n in names], "the file of the picture"),
        (f"one of {', '.join(SOURCES)}", texts, "what is said of the picture"),
        (f"one of {', '.join(_GROUPS)}", groups, "what belongs together"),
    ):
        if not found:
            msg = (
                f"{source}: a table of pairs must have a column {wanted} ({hint}), "
                f"got {', '.join(table.colnames)}"
            )
            raise InvalidQueryError(msg)
    pairs = PairList.from_table(
        table,
        path=names["path"],
        texts={name: names[name] for name in texts},
        group=names[groups[0]],
        key=names.get("key"),
        folder=source.parent,
    )
    if split is None:
        return pairs
    if split not in _SPLITS:
        msg = f"split must be one of {list(_SPLITS)}, got {split!r}"
        raise InvalidQueryError(msg)
    if "split" in names:
        parts = [str(pair.meta.get(names["split"], "")).strip() for pair in pairs]
    else:
        parts = _dealt(pairs.groups)
    chosen = pairs.select([part == split for part in parts])
    if not chosen:
        known = ", ".join(sorted({part for part in parts if part})) or "none"
        msg = f"{source} has no pairs of the split {split!r}, but of: {known}"
        raise DataSetError(msg)
    return chosen


def write_pairs(pairs, folder):
    """
    Write pictures and a table that `read_pairs` reads.

    Parameters
    ----------
    pairs : `PairList`
        With pictures in memory or as files.
    folder : path-like
        New or empty.

    Returns
    -------
    table : `~pathlib.Path`
        ``pairs.csv`` in the folder; pictures are beside it as PNG.

    Raises
    ------
    DataSetError
        If the folder is not empty.
    ImageConversionError
        If a picture cannot be read.

    Notes
    -----
    Only the first text of each source is written.
    """
    from PIL import Image

    folder = Path(folder).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder} must be a new or an empty folder"
        raise DataSetError(msg)
    (folder / "pictures").mkdir(parents=True)
    sources = [name for name in SOURCES if name in pairs.sources()]
    rows = {name: [] for name in ("key", "path", "group", "split", *sources)}
    for number, (pair, part) in enumerate(
        zip(pairs, _dealt(pairs.groups), strict=True)
    ):
        name = f"pictures/{number:06d}.png"
        Image.fromarray(read_picture(pair)).save(folder / name)
        rows["key"].append(pair.key)
        rows["path"].append(name)
        rows["group"].append(pair.group)
        rows["split"].append(part)
        for source in sources:
            rows[source].append(pair.texts.get(source, ("",))[0])
    content = io.StringIO()
    Table(rows).write(content, format="ascii.csv")
    with atomic_path(folder / "pairs.csv") as part:
        part.write_text(content.getvalue(), encoding="utf-8")
    return folder / "pairs.csv"


def _from_folder(folder, split):
    from .dataset import DataSet

    if split is not None:
        return PairList.from_dataset(folder, split)
    data = DataSet.open(folder)
    parts = [PairList.from_dataset(data, name) for name in data.splits]
    return PairList(pair for part in parts for pair in part)


def _read_table(source):
    kind = _FORMATS.get(source.suffix.lower())
    if kind is None:
        msg = (
            f"{source} must be a data set or a table ({', '.join(_FORMATS)}); make a "
            "data set with 'paperclip dataset build'"
        )
        raise InvalidQueryError(msg)
    if not source.is_file():
        msg = f"{source}: there is no such data set or table"
        raise InvalidQueryError(msg)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            if kind == "ascii.csv":
                # a column of numbers such as 0012 must stay what it is
                return read_csv(source, converters={"*": str})
            return Table.read(source, format=kind)
    except (OSError, ValueError, TypeError, LookupError) as exc:
        msg = f"{source} cannot be read as a table: {exc}"
        raise InvalidQueryError(msg) from exc


def _dealt(groups):
    """Give each pair a split; whole groups, in the order of hashed names."""
    counts = Counter(groups)
    order = sorted(counts, key=lambda g: hashlib.sha256(g.encode()).digest())
    part, done = {}, 0
    for place, group in enumerate(order):
        share, left = done / len(groups), len(order) - place
        if len(order) < _FEW:
            name = _SPLITS[place % 3]
        elif left > 4 and (place < 2 or share < _SHARES["train"]):
            name = "train"
        elif left > 2 and share < 1 - _SHARES["test"]:
            name = "validation"
        else:
            name = "test"
        part[group] = name
        done += counts[group]
    return [part[group] for group in groups]
