# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Abstracts that go into prompts, and tables of what came back."""

import warnings
from dataclasses import dataclass

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from paperclip.exceptions import (
    FailedRowsWarning,
    InvalidQueryError,
    NoResultsWarning,
    TruncatedTextWarning,
)
from paperclip.mast._fields import column_values, proposal_key
from paperclip.mast._tables import text_column
from paperclip.results import COLUMNS, ColumnSpec, describe_columns
from paperclip.training._answers import clean_words
from paperclip.training._guided import utc_now
from paperclip.training.prompts import PROMPT_VERSION, prompt_fingerprint

__all__ = [
    "MAX_TEXT",
    "NO_TEXT",
    "Texts",
    "answer_table",
    "read_texts",
    "warn_failed",
]

#: Reason of a row without anything to read.
NO_TEXT = "there is no abstract"
#: Most characters of an abstract that are shown to a model.
MAX_TEXT = 8000

_SPECS = (
    ColumnSpec("key", "str", None, "Name of the row", "meta.id;meta.main"),
    COLUMNS["proposal_id"],
    ColumnSpec("mission", "str", None, "Mission of the programme", "instr.obsty"),
    ColumnSpec("objects_and_phenomena", "str", None, "Phrases, with '; ' between them"),
    ColumnSpec("science_use_cases", "str", None, "Phrases, with '; ' between them"),
    ColumnSpec("summary", "str", None, "Caption made of both"),
    ColumnSpec("term", "str", None, "Term of the vocabulary that was chosen"),
    ColumnSpec("relevant", "bool", None, "Whether the abstract answers the query"),
    ColumnSpec("status", "str", None, "'ok' or 'failed'", "meta.code.status"),
    ColumnSpec("message", "str", None, "Why there is no answer", "meta.note"),
    ColumnSpec("attempts", "int64", None, "How often the model was asked"),
    ColumnSpec("model", "str", None, "Language model"),
    ColumnSpec("backend", "str", None, "Where the model ran"),
    ColumnSpec("prompt_version", "str", None, "Version of the prompts"),
    ColumnSpec("seed", "int64", None, "Seed"),
    ColumnSpec("created", "str", None, "When the answer was made (UTC)", "time"),
)
_COLUMNS = {spec.name: spec for spec in _SPECS}


@dataclass(frozen=True)
class Texts:
    """
    Rows to work on.

    Parameters
    ----------
    texts : list of str
        Clean, empty where there is none.
    names : dict of str to list
        Columns that say what the rows are.
    """

    texts: list
    names: dict

    def __len__(self):
        return len(self.texts)


def read_texts(source, *, name="abstracts", column="abstract"):
    """
    Return the rows of an argument.

    Parameters
    ----------
    source : `~astropy.table.Table` or sequence of str
        A table with the column ``column``, or texts.
    name : str, optional
        Name of the argument, for errors.
    column : str, optional
        Column of the texts.

    Returns
    -------
    rows : Texts
        White space and invisible characters are reduced, long texts are cut
        with a warning.

    Raises
    ------
    InvalidQueryError
        If it is neither, or the column is missing.
    """
    if isinstance(source, Table):
        if column not in source.colnames:
            msg = (
                f"{name} has no column {column!r}; say with column= which one to read: "
                f"{', '.join(source.colnames)}"
            )
            raise InvalidQueryError(msg)
        values = column_values(source, column)
        names = _names_of(source)
    elif isinstance(source, str | bytes) or not hasattr(source, "__iter__"):
        msg = (
            f"{name} must be a Table with a column {column!r} or a list of str, got "
            f"{type(source).__name__}"
        )
        raise InvalidQueryError(msg)
    else:
        values = list(source)
        names = {"key": [str(i) for i in range(len(values))]}
    texts = []
    for i, value in enumerate(values):
        if value is None or value is np.ma.masked:
            value = ""
        if not isinstance(value, str):
            msg = f"{name}[{i}] must be a str, got {type(value).__name__}"
            raise InvalidQueryError(msg)
        texts.append(clean_words(value))
    return Texts(_shortened(texts), names)


def _names_of(table):
    """Return the columns that name the rows, of which ``key`` is always one."""
    numbers = [proposal_key(value) for value in column_values(table, "proposal_id")]
    here = "mission" if "mission" in table.colnames else "obs_collection"
    missions = [None if m is None else str(m) for m in column_values(table, here)]
    keys = []
    for i, value in enumerate(column_values(table, "key")):
        proposal = ":".join(part for part in (missions[i], numbers[i]) if part)
        keys.append(str(value) if value is not None else proposal or str(i))
    names = {"key": keys, "proposal_id": numbers, "mission": missions}
    return {k: v for k, v in names.items() if k == "key" or any(v)}


def _shortened(texts):
    long = [i for i, text in enumerate(texts) if len(text) > MAX_TEXT]
    if long:
        lost = texts[long[0]][MAX_TEXT:]
        msg = (
            f"{len(long)} texts have more than {MAX_TEXT} characters; the rest is not "
            f"read. Of row {long[0]} it is: {lost[:80]!r} ..."
        )
        warnings.warn(msg, TruncatedTextWarning, stacklevel=4)
    return [text[:MAX_TEXT] for text in texts]


# ---- the answers


def answer_table(rows, answers, values, backend, settings, **meta):
    """
    Return a table of answers.

    Parameters
    ----------
    rows : Texts
        What was asked about.
    answers : list of Answer
        One for each row.
    values : dict of str to list
        Columns of results, None where there is none.
    backend : Backend
        Who answered.
    settings : Settings
        How it was asked.
    **meta : object
        More for the provenance.

    Returns
    -------
    table : `~astropy.table.Table`
        One row for each text, in their order.
    """
    failed = [answer.fields is None for answer in answers]
    size = len(rows)
    columns = {
        **rows.names,
        **values,
        "status": ["failed" if bad else "ok" for bad in failed],
        "message": [answer.message for answer in answers],
        "attempts": [answer.attempts for answer in answers],
        "model": [backend.model] * size,
        "backend": [backend.name] * size,
        "prompt_version": [PROMPT_VERSION] * size,
        "seed": [settings.seed] * size,
        "created": [answer.created for answer in answers],
    }
    table = Table()
    for name, column in columns.items():
        table[name] = _column(_COLUMNS[name], column)
    describe_columns(table, specs=_COLUMNS)
    from paperclip import __version__

    first = sum(a.attempts == 1 and a.fields is not None for a in answers)
    table.meta.update(
        meta,
        backend=backend.name,
        model=backend.model,
        prompt_version=PROMPT_VERSION,
        prompt_fingerprint=prompt_fingerprint(),
        seed=settings.seed,
        max_tokens=settings.max_tokens,
        retries=settings.retries,
        rows=size,
        first_attempt=first,
        failed=sum(failed),
        created=utc_now(),
        version=__version__,
    )
    return table


def _column(spec, values):
    if spec.dtype == "str":
        return text_column(values)
    mask = [value is None for value in values]
    data = np.array([value or 0 for value in values], dtype=spec.numpy_dtype)
    return MaskedColumn(data, mask=mask) if any(mask) else Column(data)


def warn_failed(table):
    """
    Say how many rows have no answer, to the caller of the caller.

    Parameters
    ----------
    table : `~astropy.table.Table`
        From `answer_table`.
    """
    if not len(table):
        msg = "there are no rows to ask about"
        warnings.warn(msg, NoResultsWarning, stacklevel=3)
    bad = np.flatnonzero(np.asarray(table["status"]) == "failed")
    if len(bad):
        first = table["message"][bad[0]]
        msg = (
            f"{len(bad)} of {len(table)} rows have no answer and are masked; row "
            f"{bad[0]}: {first}"
        )
        if any(table["attempts"][bad] > 0):
            msg += ". More retries, a larger max_tokens or another model may help"
        warnings.warn(msg, FailedRowsWarning, stacklevel=3)
