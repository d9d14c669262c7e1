# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Summaries of abstracts by a language model, under a schema.

A language model reads texts here, never a picture: what it says of a picture
is what the proposal promised.
"""

import difflib
from functools import partial

from paperclip.exceptions import InvalidQueryError
from paperclip.training._answerfile import Output
from paperclip.training._answers import clean_words, paper_schema, relevance_schema
from paperclip.training._asking import Asking, tournament
from paperclip.training._guided import MAX_BUDGET, Settings
from paperclip.training._material import read_texts, warn_failed
from paperclip.training.prompts import relevance_prompt, summary_prompt
from paperclip.utils.checks import whole_number

__all__ = ["classify", "judge", "summarize", "summary_texts"]

SCHEMAS = ("paper",)
_JOIN = "; "
_MAX_QUERY = 1000
_GROUP = 100


def summarize(
    abstracts,
    *,
    backend,
    schema="paper",
    column="abstract",
    batch_size=None,
    max_tokens=400,
    retries=2,
    seed=0,
    output=None,
    resume=True,
    progress=None,
):
    """
    Say in a few phrases what pictures of proposals show, and what for.

    A language model turns each abstract into one to five objects or phenomena
    and one to five science use cases, as PAPERCLIP does [1]_. Its answer is
    guided by a JSON schema, and checked against it again, because servers
    have been seen to ignore it. What does not fit is asked for again with
    twice the tokens, then with stricter words; what still does not fit stays
    as a masked row with the reason.

    Parameters
    ----------
    abstracts : `~astropy.table.Table` or sequence of str
        Abstracts, such as the table of `paperclip.mast.get_proposals`. Equal
        ones are asked once.
    backend : str, `~paperclip.training.Backend` or a model of outlines
        The language model, see `~paperclip.training.load_backend`.
    schema : str, optional
        Only ``"paper"``.
    column : str, optional
        Column of a table that holds the abstracts.
    batch_size : int, optional
        Abstracts at a time: requests at the same time to a server, rows of a
        batch of a local model. By default what suits the back end.
    max_tokens : int, optional
        Tokens of an answer at the first attempt.
    retries : int, optional
        Further attempts for an answer that does not fit.
    seed : int, optional
        First attempts take the most probable words; later ones draw with this
        seed.
    output : path-like, optional
        File of the table (``.ecsv``, ``.fits``, ``.vot``, ``.xml``). Answers
        are kept in ``<output>.journal`` as they come.
    resume : bool, optional
        Take answers from that journal where abstract, prompt, model and seed
        are the same. False begins anew.
    progress : callable, optional
        Called with a word for the step, how many are done and how many there
        are.

    Returns
    -------
    table : `~astropy.table.Table`
        One row for each abstract, in their order: ``key``, ``proposal_id``
        and ``mission`` where known, ``objects_and_phenomena`` and
        ``science_use_cases`` (phrases with ``"; "`` between them),
        ``summary`` (a caption made of both), ``status`` (``"ok"`` or
        ``"failed"``), ``message``, ``attempts``, ``model``, ``backend``,
        ``prompt_version``, ``seed`` and ``created``. ``meta`` has the
        settings and the numbers of answers at the first attempt and of
        failures.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong.
    RemoteServiceError
        If a server refuses, or stops answering; answers so far are in the
        journal.
    DataSetWriteError
        If ``output`` cannot be written.

    Warns
    -----
    FailedRowsWarning
        If rows have no answer.
    TruncatedTextWarning
        If an abstract has more than 8000 characters.

    References
    ----------
    .. [1] Mishra-Sharma, S., Song, Y. & Thaler, J. 2024, "PAPERCLIP:
       Associating Astronomical Observations and Natural Language with
       Multi-Modal Models", arXiv:2403.08851
    """
    if schema not in SCHEMAS:
        near = difflib.get_close_matches(str(schema), SCHEMAS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        msg = f"schema must be one of {list(SCHEMAS)}, got {schema!r}{hint}"
        raise InvalidQueryError(msg)
    rows = read_texts(abstracts, column=column)
    settings = _settings(batch_size, max_tokens, retries, seed)
    file = Output(output, resume)
    with Asking(backend, settings, file, progress) as asking:
        shape = paper_schema()
        answers = asking.about(rows, "summaries", shape, summary_prompt)
        names = ("objects_and_phenomena", "science_use_cases")
        values = {
            name: [a.fields and _JOIN.join(a.fields[name]) for a in answers]
            for name in names
        }
        values["summary"] = [a.fields and _caption(a.fields) for a in answers]
        table = asking.table(rows, answers, values, schema=schema)
    file.write(table)
    warn_failed(table)
    return table


def classify(
    texts,
    vocabulary=None,
    *,
    backend,
    column="abstract",
    group_size=_GROUP,
    batch_size=None,
    max_tokens=60,
    retries=2,
    seed=0,
    output=None,
    resume=True,
    progress=None,
):
    """
    Choose for each text the one term of a vocabulary that fits best.

    A vocabulary of more than ``group_size`` terms is a tournament: the model
    chooses one term of each group, then among the winners, so that a list of
    thousands fits the context of a small model.

    Parameters
    ----------
    texts : `~astropy.table.Table` or sequence of str
        Abstracts or other texts.
    vocabulary : str, path-like, sequence of str or `~astropy.table.Table`, optional
        Terms, see `paperclip.vocabulary.load_vocabulary`.
    backend : str, `~paperclip.training.Backend` or a model of outlines
        The language model, see `~paperclip.training.load_backend`.
    column : str, optional
        Column of a table that holds the texts.
    group_size : int, optional
        Most terms that the model sees at a time, at least 2. The number of
        questions for each text is the number of terms divided by it, plus
        the final.
    batch_size, max_tokens, retries, seed, output, resume, progress : optional
        See `summarize`.

    Returns
    -------
    table : `~astropy.table.Table`
        As `summarize` gives, with ``term`` in place of the summary. A row
        for which some groups had no winner is ``"ok"`` with a ``message``.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong.
    VocabularyError
        If the vocabulary is not valid.
    RemoteServiceError
        If a server refuses, or stops answering.
    DataSetWriteError
        If ``output`` cannot be written.

    Warns
    -----
    FailedRowsWarning
        If rows have no answer.
    """
    from paperclip.vocabulary import load_vocabulary, vocabulary_fingerprint

    rows = read_texts(texts, name="texts", column=column)
    known = load_vocabulary(vocabulary)
    terms = tuple(str(term) for term in known["term"])
    group_size = whole_number("group_size", group_size, 2, 10_000)
    settings = _settings(batch_size, max_tokens, retries, seed)
    file = Output(output, resume)
    with Asking(backend, settings, file, progress) as asking:
        answers = tournament(asking, rows, terms, group_size)
        values = {"term": [a.fields and a.fields["term"] for a in answers]}
        table = asking.table(
            rows,
            answers,
            values,
            vocabulary=vocabulary_fingerprint(known),
            terms=len(terms),
            group_size=group_size,
        )
    file.write(table)
    warn_failed(table)
    return table


def judge(
    query,
    abstracts,
    *,
    backend,
    column="abstract",
    batch_size=None,
    max_tokens=30,
    retries=2,
    seed=0,
    output=None,
    resume=True,
    progress=None,
):
    """
    Let a language model say which abstracts answer a query.

    Parameters
    ----------
    query : str
        What was searched for, such as "gravitational lensing".
    abstracts : `~astropy.table.Table` or sequence of str
        Abstracts.
    backend : str, `~paperclip.training.Backend` or a model of outlines
        The language model, see `~paperclip.training.load_backend`.
    column : str, optional
        Column of a table that holds the abstracts.
    batch_size, max_tokens, retries, seed, output, resume, progress : optional
        See `summarize`.

    Returns
    -------
    table : `~astropy.table.Table`
        As `summarize` gives, with ``relevant`` (bool, masked where there is
        no answer) in place of the summary.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong.
    RemoteServiceError
        If a server refuses, or stops answering.
    DataSetWriteError
        If ``output`` cannot be written.

    Warns
    -----
    FailedRowsWarning
        If rows have no answer.

    Notes
    -----
    The judge reads the abstract, never the picture. Searches scored with it
    reward methods that match words of abstracts: in the code of PAPERCLIP a
    TF-IDF of the abstracts scored higher than the model that looks at
    pictures. Report it beside a measure that looks at the picture.
    """
    if not isinstance(query, str) or not clean_words(query):
        msg = f"query must be a str with words in it, got {query!r}"
        raise InvalidQueryError(msg)
    query = clean_words(query)
    if len(query) > _MAX_QUERY:
        msg = f"query must have at most {_MAX_QUERY} characters, got {len(query)}"
        raise InvalidQueryError(msg)
    rows = read_texts(abstracts, column=column)
    settings = _settings(batch_size, max_tokens, retries, seed)
    file = Output(output, resume)
    with Asking(backend, settings, file, progress) as asking:
        shape = relevance_schema()
        ask = partial(relevance_prompt, query)
        answers = asking.about(rows, "judging", shape, ask, also=query)
        values = {"relevant": [a.fields and a.fields["relevant"] for a in answers]}
        table = asking.table(rows, answers, values, query=query)
    file.write(table)
    warn_failed(table)
    return table


def summary_texts(table, column="summary"):
    """
    Return summaries in the form that pairs take as a caption source.

    Parameters
    ----------
    table : `~astropy.table.Table`
        From `summarize`, with ``mission`` and ``proposal_id``.
    column : str, optional
        Column of the texts.

    Returns
    -------
    texts : dict of (str, str) to str
        By mission and proposal, for
        ``PairList.from_dataset(..., extra={"summary": texts})``. Masked rows
        are left out.

    Raises
    ------
    InvalidQueryError
        If a column is missing.
    """
    wanted = ("mission", "proposal_id", column)
    if missing := [name for name in wanted if name not in table.colnames]:
        msg = f"table must have the columns {list(wanted)}, it lacks {missing}"
        raise InvalidQueryError(msg)
    rows = zip(*(table[name].tolist() for name in wanted), strict=True)
    return {
        (str(mission), str(number)): str(text)
        for mission, number, text in rows
        if None not in (mission, number, text)
    }


def _settings(batch_size, max_tokens, retries, seed):
    if batch_size is not None:
        batch_size = whole_number("batch_size", batch_size, 1, 1024)
    return Settings(
        batch_size=batch_size,
        max_tokens=whole_number("max_tokens", max_tokens, 1, MAX_BUDGET),
        retries=whole_number("retries", retries, 0, 20),
        seed=whole_number("seed", seed, 0, 2**31 - 100),
    )


def _caption(fields):
    """Return one caption: what there is to see, and what it is for."""
    objects = ", ".join(fields["objects_and_phenomena"])
    uses = ", ".join(fields["science_use_cases"])
    return f"{objects[:1].upper()}{objects[1:]}. For {uses}."
