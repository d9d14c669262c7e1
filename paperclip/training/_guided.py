# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Ask a language model for many answers: check, ask again, remember."""

import hashlib
import json
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime

from paperclip.exceptions import ModelLoadError, RemoteServiceError
from paperclip.training._answers import AnswerError, clean_words, plain_words

__all__ = ["MAX_BUDGET", "Answer", "Question", "Settings", "answer_all", "utc_now"]

log = logging.getLogger(__name__)

#: Most tokens of an answer, however often it was cut off.
MAX_BUDGET = 4096
# temperature from the second attempt on: the most probable words failed
_WARMER = 0.5
# requests in a row that a server leaves unanswered before the run stops
_PATIENCE = 3
_MOST_ATTEMPTS = 1000


def utc_now():
    """Return the present as ISO 8601 in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Question:
    """
    One thing to ask.

    Parameters
    ----------
    text : str
        What it is about; with ``key`` it is the identity of the question.
    prompt : callable
        Returns the prompt; takes ``strict`` and ``reserved``.
    schema : Schema
        What the answer must be like.
    key : str
        What is asked: kind, wording, back end, seed.
    """

    text: str
    prompt: object
    schema: object
    key: str = ""

    @property
    def digest(self):
        """Name of the question in the journal."""
        content = json.dumps([self.key, self.text])
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Answer:
    """
    What came of a question.

    Parameters
    ----------
    fields : dict or None
        Valid fields.
    message : str or None
        Why there are none.
    attempts : int
        How often the model was asked.
    created : str
        UTC, ISO 8601.
    lost : RemoteServiceError or None
        The error of a server that did not answer; such a question is asked
        again in the next run.
    """

    fields: dict | None
    message: str | None = None
    attempts: int = 0
    created: str = field(default_factory=utc_now)
    lost: Exception | None = None


@dataclass(frozen=True)
class Settings:
    """
    How to ask.

    Parameters
    ----------
    batch_size : int
        Questions at a time.
    max_tokens : int
        Tokens of an answer at the first attempt; each further one has twice
        as many.
    retries : int
        Further attempts.
    seed : int
        Of what is drawn at random.
    """

    batch_size: int
    max_tokens: int
    retries: int
    seed: int

    @property
    def effort(self):
        """What a failure is worth: more effort may succeed."""
        return [self.max_tokens, self.retries]


def answer_all(questions, backend, settings, *, journal=None, progress=None, step=""):
    """
    Answer questions, in batches; equal ones are asked once.

    Parameters
    ----------
    questions : sequence of Question
        In any order.
    backend : Backend
        Whom to ask.
    settings : Settings
        How to ask.
    journal : Journal, optional
        Answers of earlier runs; new ones are added as they come.
    progress : callable, optional
        Called with ``step``, how many are done, and how many there are.
    step : str, optional
        Name for ``progress``.

    Returns
    -------
    answers : list of Answer
        In the order of the questions.

    Raises
    ------
    RemoteServiceError
        If a server answers nothing, or stops answering.
    """
    unique = {question.digest: question for question in questions}
    known = _remembered(unique, journal, settings)
    pending = [digest for digest in unique if digest not in known]
    lost = 0
    try:
        _report(progress, step, len(known), len(unique))
        for start in range(0, len(pending), settings.batch_size):
            batch = pending[start : start + settings.batch_size]
            answers = _answer_batch([unique[d] for d in batch], backend, settings)
            for digest, answer in zip(batch, answers, strict=True):
                known[digest] = answer
                lost = lost + 1 if answer.lost else 0
                if journal is not None and not answer.lost:
                    journal.append(_record(digest, answer, settings))
            if lost >= _PATIENCE or (lost and lost == len(pending)):
                error = next(known[d].lost for d in batch if known[d].lost)
                raise _given_up(error, journal) from error
            _report(progress, step, len(known), len(unique))
    finally:
        if journal is not None:
            journal.close()
    return [known[question.digest] for question in questions]


def _given_up(error, journal):
    """Say what is kept, and what to do next."""
    kept = "answers so far are kept, and " if journal is not None else ""
    msg = f"{error}; {kept}the same call asks again when the server is well"
    return RemoteServiceError(msg, url=error.url, status=error.status)


def _report(progress, step, done, total):
    if progress is not None:
        progress(step, done, total)


def _answer_batch(questions, backend, settings):
    """Answer a few questions, each with all its attempts."""
    answers = [None] * len(questions)
    open_, reasons = list(range(len(questions))), {}
    for attempt in range(settings.retries + 1):
        if not open_:
            break
        budget = min(
            settings.max_tokens << attempt, max(MAX_BUDGET, settings.max_tokens)
        )
        groups = {}
        for i in open_:
            # a larger budget first; stricter words if more room is no help
            strict = attempt > 1 or (attempt == 1 and not reasons[i].short)
            groups.setdefault(id(questions[i].schema), []).append((i, strict))
        for group in groups.values():
            schema = questions[group[0][0]].schema
            said = backend.generate(
                [
                    questions[i].prompt(strict=strict, reserved=backend.reserved)
                    for i, strict in group
                ],
                schema.json_schema,
                max_tokens=budget,
                temperature=_WARMER if attempt else 0.0,
                seed=settings.seed + attempt,
            )
            if len(said) != len(group):
                msg = f"{backend!r} gave {len(said)} answers to {len(group)} prompts"
                raise ModelLoadError(msg)
            for (i, _), text in zip(group, said, strict=True):
                answers[i], reasons[i] = _judge(text, schema, attempt + 1)
        open_ = [i for i in open_ if reasons[i] is not None]
    return answers


def _judge(text, schema, attempts):
    """Return the answer that a text is, and what is wrong with it."""
    if isinstance(text, RemoteServiceError):
        return Answer(None, _reason(text), attempts, lost=text), None
    try:
        if isinstance(text, ValueError):
            raise text
        return Answer(schema.read(text), None, attempts), None
    except AnswerError as exc:
        log.info("attempt %d: %s", attempts, exc)
        log.debug("the answer was %.2000r", text)
        return Answer(None, _reason(exc), attempts), exc
    except ValueError as exc:
        return Answer(None, _reason(exc), attempts), AnswerError(str(exc))


def _reason(exc):
    return plain_words(str(exc))[:300] or type(exc).__name__


# ---- the journal


def _record(digest, answer, settings):
    return {
        "id": digest,
        "fields": answer.fields,
        "message": answer.message,
        "attempts": answer.attempts,
        "created": answer.created,
        "effort": settings.effort,
    }


def _remembered(questions, journal, settings):
    """Return what the journal holds, after the same checks as a new answer."""
    known = {}
    for record in journal.read() if journal is not None else ():
        question = questions.get(str(record.get("id")))
        answer = question and _recalled(record, question, settings)
        if answer:
            known[question.digest] = answer
    return known


def _recalled(record, question, settings):
    attempts, created = record.get("attempts"), record.get("created")
    if not isinstance(created, str) or attempts not in range(1, _MOST_ATTEMPTS):
        return None
    created = clean_words(created)[:40]
    if record.get("fields") is None:
        if record.get("effort") != settings.effort:
            return None
        message = _reason(record.get("message") or "no reason given")
        return Answer(None, message, attempts, created)
    try:
        fields = question.schema.check(record["fields"])
    except AnswerError:
        return None
    return Answer(fields, None, attempts, created)
