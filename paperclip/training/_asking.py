# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Ask about the rows of a table: the same of all, or by elimination."""

from functools import partial

from paperclip.training._answers import choice_schema
from paperclip.training._guided import Answer, Question, Settings, answer_all
from paperclip.training._material import NO_TEXT, answer_table
from paperclip.training.backends import load_backend
from paperclip.training.prompts import choice_prompt, prompt_fingerprint

__all__ = ["Asking", "tournament"]


class Asking:
    """
    A back end, the settings, and where answers are kept.

    Parameters
    ----------
    backend : str, Backend or a model of outlines
        Closed at the end if it was loaded here.
    settings : Settings
        A batch size of None is what suits the back end.
    file : Output
        With a journal, or without.
    progress : callable or None
        See `answer_all`.
    """

    def __init__(self, backend, settings, file, progress):
        self._ours = isinstance(backend, str)
        self._backend = load_backend(backend)
        size = settings.batch_size or self._backend.batch_size
        self._settings = Settings(
            size, settings.max_tokens, settings.retries, settings.seed
        )
        self._journal = file.journal
        self._progress = progress

    def __enter__(self):
        return self

    def __exit__(self, *details):
        if self._ours:
            self._backend.close()

    def about(self, rows, step, schema, prompt, *, also=""):
        """Ask the same about all rows that have a text."""
        questions = {
            i: Question(
                text, partial(prompt, text), schema, self._key(schema, step, also)
            )
            for i, text in enumerate(rows.texts)
            if text
        }
        return self._all(questions, step, len(rows))

    def choose(self, rows, groups, step):
        """Ask for the best term of a group; groups are given by row."""
        shapes = {}
        questions = {}
        for i, terms in groups.items():
            shape = shapes.setdefault(terms, choice_schema(terms))
            text = rows.texts[i]
            ask = _reordered(choice_prompt, text, terms)
            key = self._key(shape, "choice", repr(terms))
            questions[i] = Question(text, ask, shape, key)
        return self._all(questions, step, len(rows))

    def _key(self, schema, step, also):
        who = (self._backend.name, self._settings.seed, prompt_fingerprint())
        return repr((step, schema.name, also, *who))

    def _all(self, questions, step, size):
        found = answer_all(
            list(questions.values()),
            self._backend,
            self._settings,
            journal=self._journal,
            progress=self._progress,
            step=step,
        )
        answers = [Answer(None, NO_TEXT)] * size
        for i, answer in zip(questions, found, strict=True):
            answers[i] = answer
        return answers

    def table(self, rows, answers, values, **meta):
        """Return the table of answers."""
        return answer_table(
            rows, answers, values, self._backend, self._settings, **meta
        )


def _reordered(prompt, text, terms):
    return lambda **options: prompt(text, terms, **options)


def tournament(asking, rows, terms, size):
    """
    Choose the best term of each row, by groups of terms.

    Parameters
    ----------
    asking : Asking
        Whom to ask.
    rows : Texts
        About what.
    terms : tuple of str
        The vocabulary.
    size : int
        Most terms of a group.

    Returns
    -------
    answers : list of Answer
        One for each row.
    """
    alive = [i for i, text in enumerate(rows.texts) if text]
    left = dict.fromkeys(alive, terms)
    total = dict.fromkeys(alive, 0)
    missed = dict.fromkeys(alive, 0)
    answers = [Answer(None, NO_TEXT)] * len(rows)
    turn = 0
    while left:
        turn += 1
        rounds = max(-(-len(words) // size) for words in left.values())
        winners = {i: [] for i in left}
        for number in range(rounds):
            groups = {
                i: words[number * size : (number + 1) * size]
                for i, words in left.items()
                if words[number * size :]
            }
            step = f"round {turn}, group {number + 1} of {rounds}"
            said = asking.choose(rows, groups, step)
            for i in groups:
                answers[i] = said[i]
                total[i] += said[i].attempts
                missed[i] += said[i].fields is None
                if said[i].fields:
                    winners[i].append(said[i].fields["term"])
        # a row with no winner, or whose final this was, is done
        finals = {i for i, words in left.items() if len(words) <= size}
        left = {
            i: tuple(words) for i, words in winners.items() if i not in finals and words
        }
    return [
        _counted(a, total.get(i, 0), missed.get(i, 0)) for i, a in enumerate(answers)
    ]


def _counted(answer, attempts, missed):
    """Return an answer with what the whole tournament took."""
    note = answer.message
    if answer.fields is not None and missed:
        note = f"{missed} groups of terms had no answer"
    return Answer(answer.fields, note, attempts, answer.created, answer.lost)
