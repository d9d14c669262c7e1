# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The terms that `describe` may answer with: the packaged list, or one's own."""

import csv
import functools
import hashlib
import io
import json
import unicodedata
from collections import namedtuple
from pathlib import Path

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from paperclip.exceptions import VocabularyError

__all__ = ["load_vocabulary", "vocabulary_fingerprint"]

_DEFAULT = Path(__file__).parent / "data" / "vocabulary.ecsv"
_SUFFIXES = (".ecsv", ".csv", ".txt")
_MAX_TERMS = 100_000
_MAX_LENGTH = 1000
_MAX_BYTES = 64 * 2**20
# kind and source of terms that come without one
_KIND = "unspecified"
_SOURCE = "user"

_DESCRIPTIONS = {
    "term": "Phrase that an image is compared with",
    "kind": "What sort of phrase it is",
    "source": "Where the phrase comes from",
    "uat_id": "Number of the nearest Unified Astronomy Thesaurus concept",
}

# where: how messages call the entry; uat_id: an int or None
_Entry = namedtuple("_Entry", "where term kind source uat_id")


def load_vocabulary(vocabulary=None):
    """
    Return a checked list of terms.

    Parameters
    ----------
    vocabulary : str, path-like, sequence of str or `~astropy.table.Table`, optional
        The terms, as one of

        - `None`: the list that comes with the package, whose kinds are
          ``"object or phenomenon"`` and ``"science use"``;
        - a list, tuple, one-dimensional array or `~astropy.table.Column` of
          str;
        - a table with a column ``term`` and, if wanted, ``kind``, ``source``
          and ``uat_id``;
        - the path of an ECSV or CSV file with such columns, or of a text file
          (``.txt``, UTF-8) with one term per line, where blank lines and
          lines that begin with ``#`` do not count.

    Returns
    -------
    table : `~astropy.table.Table`
        One row per term, in the order given, with the columns ``term``,
        ``kind``, ``source`` (str) and ``uat_id`` (int, masked where there is
        none). White space inside terms is reduced to single blanks. A kind
        that is not given is ``"unspecified"``, a source ``"user"`` or the
        name of the file. The table is a copy: changing it changes nothing
        else.

    Raises
    ------
    VocabularyError
        If there are no terms, more than 100,000 of them, or one is blank,
        repeated (case and white space do not count), not a str, longer than
        1000 characters or holds control characters; also if a file is
        missing or cannot be read.

    Notes
    -----
    Concept numbers refer to the Unified Astronomy Thesaurus [1]_; the concept
    of a row is at ``http://astrothesaurus.org/uat/<uat_id>``.

    References
    ----------
    .. [1] Frey, K. & Accomazzi, A. 2018, ApJS, 236, 24

    Examples
    --------
    >>> from paperclip.vocabulary import load_vocabulary
    >>> str(load_vocabulary()["term"][0])
    'face-on spiral galaxy'
    >>> str(load_vocabulary(["barred galaxy", "ring galaxy"])["source"][0])
    'user'
    """
    if vocabulary is None:
        return _packaged().copy()
    return _make_table(_entries(vocabulary))


def vocabulary_fingerprint(table):
    """
    Return a short name of the terms, in their order.

    Text vectors computed for one vocabulary serve another one with the same
    fingerprint (and the same model): kinds, sources and concept numbers do
    not enter.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Terms, from `load_vocabulary`; whatever that accepts is accepted too.

    Returns
    -------
    fingerprint : str
        The first 16 hexadecimal digits of a SHA-256.

    Raises
    ------
    VocabularyError
        If ``table`` is not a valid vocabulary.
    """
    terms = [str(term) for term in load_vocabulary(table)["term"]]
    text = json.dumps(terms, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


@functools.cache
def _packaged():
    return _make_table(_entries(_DEFAULT))


def _entries(vocabulary):
    """Turn every accepted form into a list of entries, not yet checked."""
    if isinstance(vocabulary, str):
        return _from_text(vocabulary)
    if isinstance(vocabulary, Path) or hasattr(vocabulary, "__fspath__"):
        return _from_path(Path(vocabulary))
    if isinstance(vocabulary, Table):
        return _from_table(vocabulary)
    if isinstance(vocabulary, np.ndarray | Column) and vocabulary.ndim == 1:
        vocabulary = vocabulary.tolist()
    if isinstance(vocabulary, list | tuple):
        return [
            _Entry(f"vocabulary[{i}]", term, None, None, None)
            for i, term in enumerate(vocabulary)
        ]
    hint = ""
    if isinstance(vocabulary, set | frozenset):
        hint = "; a set has no order, pass sorted(...)"
    msg = (
        "vocabulary must be None, a list of str, a Table with a column 'term' or "
        f"the path of a file, got {type(vocabulary).__name__}{hint}"
    )
    raise VocabularyError(msg)


def _from_text(text):
    """Tell the path of a file from a term that somebody forgot to put in a list."""
    if text.lower().endswith(_SUFFIXES):
        return _from_path(Path(text).expanduser())
    msg = (
        f"vocabulary is a single text, {_quote(text)}; did you mean "
        f"[{_quote(text)}]? The path of a file ends in {', '.join(_SUFFIXES)}"
    )
    raise VocabularyError(msg)


def _from_path(path):
    """Read a file of terms."""
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        msg = f"vocabulary file must end in {', '.join(_SUFFIXES)}, got {str(path)!r}"
        raise VocabularyError(msg)
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except FileNotFoundError as exc:
        msg = f"there is no vocabulary file {str(path)!r}"
        raise VocabularyError(msg) from exc
    except (OSError, ValueError) as exc:
        msg = f"vocabulary file {str(path)!r} cannot be read as UTF-8 text: {exc}"
        raise VocabularyError(msg) from exc
    if len(data) > _MAX_BYTES:
        msg = f"vocabulary file {str(path)!r} is larger than {_MAX_BYTES >> 20} MiB"
        raise VocabularyError(msg)
    if suffix == ".txt":
        return _from_lines(text, path.name)
    if suffix == ".csv":
        return _from_csv(text, path.name)
    return _from_ecsv(text, path.name)


def _from_lines(text, name):
    lines = enumerate(text.splitlines(), start=1)
    return [
        _Entry(f"line {number} of {name}", line, None, name, None)
        for number, line in lines
        if line.strip() and not line.lstrip().startswith("#")
    ]


def _from_csv(text, name):
    entries = []
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = [column.strip() for column in reader.fieldnames or []]
        _need_term(columns, f"vocabulary file {name!r}")
        reader.fieldnames = columns
        for row in reader:
            where = f"line {reader.line_num} of {name}"
            if None in row:
                msg = (
                    f"{where} has more fields than the header; put quotes around "
                    "a term that holds a comma"
                )
                raise VocabularyError(msg)
            source = row.get("source") or name
            entry = row["term"] or "", row.get("kind"), source, row.get("uat_id")
            entries.append(_Entry(where, *entry))
    except csv.Error as exc:
        msg = f"vocabulary file {name!r} is not valid CSV: {exc}"
        raise VocabularyError(msg) from exc
    return entries


def _from_ecsv(text, name):
    import yaml

    try:
        table = Table.read(text.splitlines(), format="ascii.ecsv")
    except (
        AttributeError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        yaml.YAMLError,
    ) as exc:
        msg = f"vocabulary file {name!r} is not valid ECSV: {exc}"
        raise VocabularyError(msg) from exc
    return _from_table(table, label=name, source=name)


def _from_table(table, *, label="vocabulary", source=None):
    _need_term(table.colnames, label)
    columns = {}
    for column in _DESCRIPTIONS:
        if column not in table.colnames:
            columns[column] = [None] * len(table)
            continue
        values = np.ma.asarray(table[column])
        if values.ndim != 1:
            msg = f"column {column!r} of {label} must hold one value per row"
            raise VocabularyError(msg)
        # FITS tables hold bytes; a masked element is a missing one
        columns[column] = [
            value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            for value in values.tolist()
        ]
    return [
        _Entry(
            f"row {i} of {label}",
            "" if term is None else term,
            columns["kind"][i],
            columns["source"][i] or source,
            columns["uat_id"][i],
        )
        for i, term in enumerate(columns["term"])
    ]


def _need_term(columns, label):
    if "term" not in columns:
        msg = f"{label} must have a column 'term', got {list(columns)}"
        raise VocabularyError(msg)


def _make_table(entries):
    """Check the entries and lay them out as a table."""
    if not entries:
        msg = "vocabulary is empty; pass at least one term, or None for the default"
        raise VocabularyError(msg)
    if len(entries) > _MAX_TERMS:
        msg = f"vocabulary holds {len(entries)} terms; at most {_MAX_TERMS} are allowed"
        raise VocabularyError(msg)
    seen = {}
    terms = []
    for entry in entries:
        term = _clean(entry.term, f"{entry.where}", "a term")
        if not term:
            msg = f"{entry.where} is blank; remove it"
            raise VocabularyError(msg)
        key = unicodedata.normalize("NFKC", term).casefold()
        if key in seen:
            msg = f"{entry.where} repeats {seen[key]}: {_quote(term)}; keep one"
            raise VocabularyError(msg)
        seen[key] = entry.where
        terms.append(term)
    ids = [_concept(entry.uat_id, entry.where) for entry in entries]
    missing = [number is None for number in ids]
    table = Table(
        {
            "term": terms,
            "kind": [_label(entry, "kind", _KIND) for entry in entries],
            "source": [_label(entry, "source", _SOURCE) for entry in entries],
            "uat_id": MaskedColumn(
                [number or 0 for number in ids], mask=missing, dtype=np.int64
            ),
        }
    )
    for name, description in _DESCRIPTIONS.items():
        table[name].description = description
    return table


def _label(entry, name, default):
    """Return the kind or the source of an entry."""
    value = getattr(entry, name)
    if value is None:
        return default
    return _clean(value, f"{name} of {entry.where}", f"a {name}") or default


def _clean(value, where, what):
    """Return ``value`` with single blanks, or say why it is no phrase."""
    if not isinstance(value, str):
        msg = f"{where} must be a str, got {type(value).__name__} {_quote(value)}"
        raise VocabularyError(msg)
    value = " ".join(value.split())
    if len(value) > _MAX_LENGTH:
        msg = (
            f"{where} has {len(value)} characters; {what} is at most "
            f"{_MAX_LENGTH} long: {_quote(value)}"
        )
        raise VocabularyError(msg)
    if not value.isprintable():
        msg = f"{where} holds characters that cannot be printed: {_quote(value)}"
        raise VocabularyError(msg)
    return value


def _concept(value, where):
    """Return a thesaurus number as an int, or None where there is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 16:
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 0 <= value < 2**31:
        msg = f"uat_id of {where} must be a whole number, got {_quote(value)}"
        raise VocabularyError(msg)
    return value


def _quote(value):
    """Return a short representation for messages."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]}...{text[-1]}"
