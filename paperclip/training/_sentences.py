# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Where the sentences of a text are, and sentences about an observation."""

import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

__all__ = ["category_of", "metadata_sentences", "sentence_spans", "speaks"]

# what a full stop does not end a sentence after, in abstracts of proposals
_ABBREVIATIONS = frozenset(
    {"al", "approx", "ca", "cf", "dr", "e.g", "eg", "et", "fig", "figs", "i.e", "ie"}
    | {"mr", "mrs", "nos", "p.a", "prof", "ref", "refs", "sect", "vs"}
)
_END = re.compile(r"[.!?]+[\"')\]\u201d\u2019]*(?=\s)|\n[ \t]*\n")
_NEXT = re.compile(r"\s*[\"'(\[\u201c\u2018]*(?=[^\W_])(?![a-z])")
_WORD_BEFORE = re.compile(r"[^\s(\[\"']+$")

_NAMES = {
    "NIRCAM": "NIRCam",
    "NIRSPEC": "NIRSpec",
    "MIRI": "MIRI",
    "NIRISS": "NIRISS",
    "FGS": "FGS",
}
_NO_FILTER = {"", "CLEAR", "CLEAR1L", "CLEAR2L", "CLEARP", "DETECTION", "N/A", "NONE"}
_NO_TARGET = re.compile(
    r"^(|unknown|none|n/?a|any|blank.*|parallel.*|.*-pfs?|dark.*|bias|flat.*"
    r"|earth-?calib|tungsten.*|internal|ccdflat|high-?latitude-?field.*|untitled.*"
    r"|(field|pointing|target|test|offset|position|pos|tile)[ _-]?\d*)$",
    re.IGNORECASE,
)
_CATALOGUE = re.compile(
    r"\b(NGC|IC|UGC|PGC|ESO|ABELL|A|M|HD|HIP|SN|ARP|MRK|HH|LHA|MACS|GJ)[ _-]?(?=\d)",
    re.IGNORECASE,
)


def sentence_spans(text):
    """
    Find the sentences of a text.

    A sentence ends with ``.``, ``!`` or ``?`` before a capital, a digit or
    a bracket, except after an abbreviation ("e.g.", "et al.") or an initial;
    or at an empty line.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    spans : list of tuple of int
        First and last (exclusive) character of each, without blanks around.
    """
    spans, start = [], 0
    for match in _END.finditer(text):
        if match[0][0] != "\n" and not _ends_sentence(text, match):
            continue
        spans.append((start, match.end()))
        start = match.end()
    spans.append((start, len(text)))
    stripped = []
    for first, last in spans:
        part = text[first:last]
        first += len(part) - len(part.lstrip())
        last = first + len(part.strip())
        if last > first:
            stripped.append((first, last))
    return stripped


def _ends_sentence(text, match):
    """Tell whether punctuation ends a sentence."""
    if not _NEXT.match(text, match.end()):
        return False
    if match[0][0] != ".":
        return True
    before = _WORD_BEFORE.search(text, max(0, match.start() - 20), match.start())
    word = before[0] if before else ""
    initial = len(word) == 1 and word.isupper() and word != "I"
    return not initial and word.lower() not in _ABBREVIATIONS


def _plain(value):
    """Return a value of a table as text, blank if it is missing."""
    if value is None or np.ma.is_masked(value):
        return ""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return "; ".join(filter(None, map(_plain, value)))
    return str(value).strip()


def _instrument(name):
    if name.upper() in {"HST", "JWST", "UNKNOWN", "N/A"}:
        return ""
    head, *rest = name.split("/")
    if head.upper() in _NAMES:  # NIRCAM/IMAGE: the mode says nothing more
        return _NAMES[head.upper()]
    return "/".join([head, *rest])


def _filters(text):
    parts = re.split(r"[;,+\s]+", text)
    names = [name for part in parts for name in re.split("[-/]", part)]
    names = [name.upper() for name in names if name.upper() not in _NO_FILTER]
    return list(dict.fromkeys(names))


def _target(name):
    if _NO_TARGET.match(name):
        return ""
    name = re.sub(r"^NAME[ _-]+", "", name)  # how SIMBAD writes plain names
    name = _CATALOGUE.sub(lambda match: f"{match[1].upper()} ", name)
    return " ".join(name.replace("_", " ").split())


def metadata_sentences(meta):
    """
    Write what is known of an observation as captions.

    Parameters
    ----------
    meta : mapping
        Columns of an observation: ``obs_collection, instrument_name, filters,
        target_name``; what is missing, masked or says nothing (the target
        "ANY") is left out.

    Returns
    -------
    sentences : list of str
        Wordings of the same facts, or nothing if neither an instrument nor a
        target is known.

    Examples
    --------
    >>> metadata_sentences({"obs_collection": "JWST", "filters": "F200W",
    ...                     "instrument_name": "NIRCAM/IMAGE",
    ...                     "target_name": "NGC-1300"})[0]
    'JWST NIRCam F200W image of NGC 1300'
    """
    names = ("obs_collection", "instrument_name", "filters", "target_name")
    return list(_written(*(_plain(meta.get(name)) for name in names)))


@lru_cache(10_000)
def _written(mission, instrument, filters, target):
    """Return the sentences as a tuple."""
    instrument, filters = _instrument(instrument), _filters(filters)
    target = _target(target)
    if not (instrument or target):
        return ()
    band = " ".join(filters[:3]) if len(filters) <= 3 else f"{len(filters)}-filter"
    maker = " ".join(filter(None, [mission, instrument]))
    of = f" of {target}" if target else ""
    first = " ".join(filter(None, [maker, band, "image"])) + of
    if not maker:
        return (first[0].upper() + first[1:],)
    through = f" in {', '.join(filters)}" if filters else ""
    second = f"{target} observed with {maker}" if target else f"observed with {maker}"
    return first, second[0].upper() + second[1:] + through


def category_of(meta):
    """
    Return the science category of a proposal.

    Parameters
    ----------
    meta : mapping
        With ``category`` or without.

    Returns
    -------
    category : str
        Blank if it is missing.
    """
    return _plain(meta.get("category"))


def speaks(pair, sources):
    """
    Tell whether a pair has a text to read.

    Parameters
    ----------
    pair : `~paperclip.training.Pair`
        Any pair.
    sources : sequence of str or None
        Caption sources that count, all if None; "metadata" can be written.

    Returns
    -------
    answer : bool
        True if it has one.
    """
    if sources is None:
        return bool(pair.texts)
    if any(source in pair.texts for source in sources):
        return True
    return "metadata" in sources and bool(metadata_sentences(pair.meta))
