# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What answers of a language model must look like, and how they are read."""

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property

from paperclip.utils.optional import import_optional

__all__ = [
    "MAX_ITEM",
    "MAX_ITEMS",
    "AnswerError",
    "Schema",
    "choice_schema",
    "clean_words",
    "paper_schema",
    "plain_words",
    "relevance_schema",
]

#: Most items of a list in a summary, and most characters of an item.
MAX_ITEMS = 5
MAX_ITEM = 125
_MIN_ITEM = 2
_MAX_WORDS = 15
_MAX_WORD = 30  # characters; longer ones are what a model repeats without end
_WORD = r"[A-Za-z0-9,.'()+/&=<>~-]"
# six words of 20 characters that begin with a letter; it guides local models,
# which write numbers and endless words otherwise, and is no check
_PHRASE = rf"^[A-Za-z]{_WORD}{{1,19}}( {_WORD}{{1,20}}){{0,5}}$"
_MAX_ANSWER = 20_000  # characters; ten items are far below
_NAMES = ("objects_and_phenomena", "science_use_cases")
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_QUOTES = "\"'`\u2018\u2019\u201c\u201d*"

_ASCII = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u2018\u2019\u2032", "'"),
        **dict.fromkeys("\u201c\u201d\u2033", '"'),
        "\u00d7": "x",
        "\u00f8": "o",
        "\u00d8": "O",
        "\u0142": "l",
        "\u00df": "ss",
        "\u00e6": "ae",
        "\u2264": "<=",
        "\u2265": ">=",
    }
)


class AnswerError(ValueError):
    """
    An answer that cannot be used.

    Parameters
    ----------
    message : str
        What is wrong with it.
    short : bool, optional
        Whether it may have been cut off, so that more tokens may help.
    """

    def __init__(self, message, *, short=False):
        super().__init__(message)
        self.short = short


@dataclass(frozen=True)
class Schema:
    """
    A pydantic model, and what becomes of its values.

    Parameters
    ----------
    name : str
        Name in the provenance.
    model : type
        Subclass of `pydantic.BaseModel`.
    tidy : callable
        Turns the validated fields (dict) into clean ones, or raises
        `AnswerError`.
    terms : tuple of str, optional
        The answers that are allowed, where one term is asked for.
    """

    name: str
    model: type
    tidy: object
    terms: tuple = ()

    @cached_property
    def json_schema(self):
        """The JSON schema as a dict."""
        return self.model.model_json_schema()

    def read(self, text):
        """
        Return the fields of an answer.

        Parameters
        ----------
        text : str
            What the model wrote. One JSON object may stand in other text or
            in a block of code.

        Returns
        -------
        fields : dict
            Valid and clean.

        Raises
        ------
        AnswerError
            If there is no such object; the message says why not.
        """
        if not isinstance(text, str) or not text.strip():
            msg = "the answer is empty"
            raise AnswerError(msg, short=True)
        if len(text) > _MAX_ANSWER:
            msg = f"the answer has {len(text)} characters, allowed are {_MAX_ANSWER}"
            raise AnswerError(msg)
        bare = clean_words(text).strip(_QUOTES + " .")
        if self.terms and bare.casefold() in {t.casefold() for t in self.terms}:
            return self.tidy({"term": bare})
        return self.check(_find_object(_THOUGHT.sub("", text)))

    def check(self, fields):
        """
        Return fields after validation.

        Parameters
        ----------
        fields : object
            What JSON gave, or a record of an earlier run.

        Returns
        -------
        fields : dict
            Valid and clean.

        Raises
        ------
        AnswerError
            If they do not fit the schema.
        """
        from pydantic import ValidationError

        try:
            valid = self.model.model_validate(fields, strict=True)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the answer"
            msg = f"{clean_words(where)[:60]}: {clean_words(first['msg'])[:200]}"
            raise AnswerError(msg) from None
        return self.tidy(valid.model_dump())


def _find_object(text):
    """Return the one JSON object in a text."""
    decoder = json.JSONDecoder(
        object_pairs_hook=_no_repeats, parse_constant=_no_constants
    )
    found, place, trouble = [], text.find("{"), None
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except AnswerError:
            raise
        except json.JSONDecodeError as exc:
            trouble = trouble or exc
            if exc.pos >= len(text.rstrip()) or "Unterminated" in exc.msg:
                break
            end = place + 1
        except (ValueError, RecursionError):
            msg = "the answer is nested too deep or holds a number that is too long"
            raise AnswerError(msg) from None
        else:
            found.append(value)
        place = text.find("{", end)
    if len(found) > 1 and any(value != found[0] for value in found):
        msg = f"the answer holds {len(found)} JSON objects, wanted is one"
        raise AnswerError(msg)
    if found:
        return found[0]
    if trouble is None:
        msg = "the answer holds no JSON object"
        raise AnswerError(msg)
    if trouble.pos >= len(text.rstrip()) or "Unterminated" in trouble.msg:
        msg = f"the answer breaks off after {len(text)} characters"
        raise AnswerError(msg, short=True)
    msg = f"the answer is not JSON: {trouble.msg} at character {trouble.pos}"
    raise AnswerError(msg)


def _no_repeats(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        again = next(name for name in names if names.count(name) > 1)
        msg = f"the answer holds the key {clean_words(again)[:60]!r} more than once"
        raise AnswerError(msg)
    return dict(pairs)


def _no_constants(name):
    msg = f"the answer holds {name}, which JSON does not know"
    raise AnswerError(msg)


def clean_words(text):
    """
    Return a text as one line of visible characters.

    Parameters
    ----------
    text : str
        Anything; it is not trusted.

    Returns
    -------
    text : str
        In the normal form NFC, without control and formatting characters
        (categories C* of Unicode), with single blanks.
    """
    text = unicodedata.normalize("NFC", text)
    visible = (
        " " if c.isspace() else "" if unicodedata.category(c)[0] == "C" else c
        for c in text
    )
    return " ".join("".join(visible).split())


def plain_words(text):
    """
    Return a text as one line of ASCII, which every format of a table holds.

    Parameters
    ----------
    text : str
        Anything; it is not trusted.

    Returns
    -------
    text : str
        Accents are dropped, Greek letters are named ("H\u03b1" is "H-alpha"),
        and what has no counterpart is left out.
    """
    text = unicodedata.normalize("NFKD", clean_words(text))
    text = re.sub("\u03bc(?=m\\b|as\\b|Jy\\b)", "u", text).translate(_ASCII)
    text = re.sub("([A-Za-z0-9])?([\u0391-\u03c9])", _name_letter, text)
    return " ".join(text.encode("ascii", "ignore").decode().split())


def _name_letter(match):
    name = unicodedata.name(match[2], "").split(" LETTER ")[-1]
    name = name.removeprefix("FINAL ").split()[0].lower() if name else ""
    name = {"lamda": "lambda"}.get(name, name)
    return f"{match[1]}-{name}" if match[1] else name


# ---- the schemas


def _base():
    pydantic = import_optional(
        "pydantic", extra="summarize", purpose="asking a language model"
    )

    class Base(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")

    return pydantic, Base


def paper_schema():
    """
    Return the schema of a summary: two lists of one to five phrases.

    Returns
    -------
    schema : Schema
        With the fields ``objects_and_phenomena`` and ``science_use_cases``.

    Raises
    ------
    MissingDependencyError
        If pydantic is not installed.
    """
    from typing import Annotated

    pydantic, base = _base()
    phrase = Annotated[
        str,
        pydantic.StringConstraints(min_length=_MIN_ITEM, max_length=MAX_ITEM),
        pydantic.Field(json_schema_extra={"pattern": _PHRASE}),
    ]
    phrases = Annotated[
        list[phrase], pydantic.Field(min_length=1, max_length=MAX_ITEMS)
    ]
    fields = dict.fromkeys(_NAMES, (phrases, ...))
    model = pydantic.create_model("Summary", __base__=base, **fields)
    return Schema("paper", model, _tidy_lists)


def _tidy_lists(fields):
    return {name: _tidy_items(name, items) for name, items in fields.items()}


def _tidy_items(name, items):
    kept = {}
    for item in items:
        # the separator of a column of several phrases must not occur inside
        words = plain_words(item).replace(";", ",").strip(_QUOTES + " .,-")
        parts = words.split()
        if len(words) < _MIN_ITEM or not any(c.isalpha() for c in words):
            continue
        if len(parts) > _MAX_WORDS:
            msg = f"{name} holds a phrase of {len(parts)} words, allowed: {_MAX_WORDS}"
            raise AnswerError(msg)
        if max(map(len, parts)) > _MAX_WORD:
            msg = f"{name} holds a word of more than {_MAX_WORD} characters"
            raise AnswerError(msg)
        if words.casefold() in _NAMES:
            msg = f"{name} holds the name of a key, {words!r}"
            raise AnswerError(msg)
        kept.setdefault(words.casefold(), words)
    if not kept:
        msg = f"{name} holds no words"
        raise AnswerError(msg)
    return list(kept.values())


def choice_schema(terms):
    """
    Return the schema of one term out of several.

    Parameters
    ----------
    terms : sequence of str
        What to choose from.

    Returns
    -------
    schema : Schema
        With the field ``term``.

    Raises
    ------
    MissingDependencyError
        If pydantic is not installed.
    """
    terms = tuple(terms)
    pydantic, base = _base()
    field = (str, pydantic.Field(json_schema_extra={"enum": list(terms)}))
    model = pydantic.create_model("Choice", __base__=base, term=field)
    known = {term.casefold(): term for term in terms}

    def tidy(fields):
        said = clean_words(fields["term"])
        if said.casefold() not in known:
            msg = f"term: {said[:60]!r} is not in the vocabulary"
            raise AnswerError(msg)
        return {"term": known[said.casefold()]}

    return Schema("choice", model, tidy, terms)


def relevance_schema():
    """
    Return the schema of a yes or a no.

    Returns
    -------
    schema : Schema
        With the field ``relevant``, a bool.

    Raises
    ------
    MissingDependencyError
        If pydantic is not installed.
    """
    pydantic, base = _base()
    model = pydantic.create_model("Relevance", __base__=base, relevant=(bool, ...))
    return Schema("relevance", model, dict)
