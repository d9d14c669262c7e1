# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Checks of what a user asks, before any model is loaded."""

import re
import unicodedata
import warnings

from paperclip.exceptions import InvalidQueryError, LanguageWarning
from paperclip.utils.checks import whole_number

__all__ = ["MAX_WORDS", "check_limit", "check_query_text"]

MAX_WORDS = 1000
"""Longest query, in words. A proposal abstract has about 250."""

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")

# Function words that English does not share. Names of objects and people hold
# such words too ("La Silla", "de Vaucouleurs"), so one of them proves nothing.
_ROMANCE = """
le la les des du une dans avec pour sur est et aux galaxie
el los las una con por para del y en que galaxia espiral vista
um uma com dos das os galáxia
il lo gli della delle nel di da galassia spirale ammasso
"""
_GERMANIC = """
der die das ein eine einer eines und mit von im ist den dem für galaxie
spiralgalaxie sternhaufen het een van met sterrenstelsel
"""
_COMMON = """
a an the of in on with and or to for from by at as is are be near around between
into that this galaxy galaxies star stars cluster clusters nebula spiral view face edge
"""
_FOREIGN = frozenset((_ROMANCE + _GERMANIC).split())
_ENGLISH = frozenset(_COMMON.split())
_FOREIGN_ENOUGH = 2


def check_query_text(text):
    """
    Check a text query and return it without outer white space.

    Parameters
    ----------
    text : str
        What a user looks for.

    Returns
    -------
    text : str
        Runs of white space are one blank.

    Raises
    ------
    InvalidQueryError
        If the text is not a str, blank, longer than `MAX_WORDS` words, or
        written in a script the models do not read.

    Warns
    -----
    LanguageWarning
        If the text seems to be in a language other than English.
    """
    if not isinstance(text, str):
        msg = f"text must be a str, got {type(text).__name__}: {text!r:.80}"
        raise InvalidQueryError(msg)
    words = text.split()
    if not words:
        msg = f"text must not be blank, got {text!r:.80}; say what to look for"
        raise InvalidQueryError(msg)
    if len(words) > MAX_WORDS:
        msg = (
            f"text must have at most {MAX_WORDS} words, got {len(words)}; a few "
            "words to a paragraph describe a picture best"
        )
        raise InvalidQueryError(msg)
    text = " ".join(words)
    _check_script(text)
    _warn_of_language(text)
    return text


def check_limit(limit):
    """
    Check how many rows a table may have.

    Parameters
    ----------
    limit : int
        Largest number of rows.

    Returns
    -------
    limit : int
        The same.

    Raises
    ------
    InvalidQueryError
        If it is no whole number from 1.
    """
    if limit is None:
        msg = (
            "limit must be a whole number, got None; for answers of any length use "
            "iter_query_text, which yields them page by page"
        )
        raise InvalidQueryError(msg)
    return whole_number("limit", limit)


def _script(letter):
    if letter.isascii():
        return "LATIN"
    return unicodedata.name(letter, "UNKNOWN").split()[0]


def _check_script(text):
    """Refuse texts without English letters; Greek ones name stars and lines."""
    letters = [letter for letter in text if letter.isalpha()]
    if not letters:
        msg = (
            f"text must have words, got {text!r:.80}; for an identifier or a position "
            "use where=, for example where=\"proposal_id = '2107'\""
        )
        raise InvalidQueryError(msg)
    scripts = [_script(letter) for letter in letters]
    known = scripts.count("LATIN")
    other = len(letters) - known - scripts.count("GREEK")
    if known == 0 or other > known:
        msg = (
            f"text must be English: {len(letters) - known} of {len(letters)} letters "
            f"of {text!r:.80} are not Latin; translate the query"
        )
        raise InvalidQueryError(msg)


def _warn_of_language(text):
    words = [word.casefold() for word in _WORD.findall(text)]
    foreign = [word for word in words if word in _FOREIGN]
    english = sum(word in _ENGLISH for word in words)
    if len(foreign) >= max(_FOREIGN_ENOUGH, 2 * english + 1):
        warnings.warn(
            f"text {text!r:.80} does not look English ({', '.join(foreign[:3])}); the "
            "model was trained on English, so translate it for better results",
            LanguageWarning,
            stacklevel=4,
        )
