# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From pairs to what an evaluation compares, with clear errors."""

import hashlib
import threading
import warnings

import numpy as np

from paperclip.exceptions import (
    DataSetError,
    FailedRowsWarning,
    ImageConversionError,
    InvalidQueryError,
    ModelLoadError,
)

from ._cells import some
from .pairs import PairList

__all__ = [
    "captioned",
    "check_enough",
    "classes_of",
    "digest_of",
    "documents_of",
    "encode_pictures",
]

_NAMED = 5
_DOCUMENTS = ("title", "abstract", "summary", "caption", "description")


def captioned(pairs, sources):
    """Return the pairs that have a caption, by key, and their captions."""
    if not sources or not all(isinstance(name, str) for name in sources):
        msg = f"texts must be the name of a caption source, or several, got {sources!r}"
        raise InvalidQueryError(msg)
    if not isinstance(pairs, PairList):
        pairs = PairList(pairs)
    pairs = pairs.select(np.argsort(np.array(pairs.keys, dtype=str), kind="stable"))
    captions = [_caption(pair, sources) for pair in pairs]
    silent = [p.key for p, text in zip(pairs, captions, strict=True) if text is None]
    if silent and len(silent) == len(pairs):
        msg = (
            f"no pair has a text of the source {' or '.join(map(repr, sources))}; "
            f"there are {sorted(pairs.sources())}"
        )
        raise DataSetError(msg)
    if silent:
        msg = f"{len(silent)} of {len(pairs)} pairs have no caption: {some(silent)}"
        warnings.warn(msg, FailedRowsWarning, stacklevel=3)
    pairs = pairs.select([text is not None for text in captions])
    return pairs, [text for text in captions if text is not None]


def _caption(pair, sources):
    for source in sources:
        if source in pair.texts:
            return pair.texts[source][0]
        if source == "metadata":
            from ._sentences import metadata_sentences

            found = metadata_sentences(pair.meta)
            if found:
                return found[0]
    return None


def check_enough(groups, captions):
    """
    Refuse pairs among which nothing can be told apart.

    Parameters
    ----------
    groups, captions : sequence of str
        Of each pair.

    Raises
    ------
    DataSetError
        If there is one proposal or caption only, or a proposal has them all.
    """
    of_group = {}
    for group, caption in zip(groups, captions, strict=True):
        of_group.setdefault(group, set()).add(caption)
    found = {"proposals": len(of_group), "distinct captions": len(set(captions))}
    for what, count in found.items():
        if count < 2:
            msg = (
                f"pairs must be of at least 2 {what}, got {count}; nothing can be "
                "told apart among the pictures of one. Add other pairs"
            )
            raise DataSetError(msg)
    for group, texts in of_group.items():
        if len(texts) == found["distinct captions"]:
            msg = (
                f"proposal {group!r} has all {len(texts)} captions, so that none is "
                "wrong for its pictures; add other pairs"
            )
            raise DataSetError(msg)


def encode_pictures(encoder, pairs, progress):
    """
    Encode each picture once.

    Parameters
    ----------
    encoder : encoder
        From `paperclip.models.load_encoder`.
    pairs : `~paperclip.training.PairList`
        What is read.
    progress : callable or None
        Called with the number of pictures done.

    Returns
    -------
    rows : `~numpy.ndarray`, shape (n, d), float64
        Vectors of length 1 of the pictures that could be read.
    kept : `~numpy.ndarray` of int, shape (n,)
        Their places.

    Raises
    ------
    DataSetError
        If no picture can be read.
    ModelLoadError
        If a vector is zero or not finite.
    """
    from .loader import read_picture

    failed, lock = {}, threading.Lock()

    def load(place):
        try:
            return read_picture(pairs[place])
        except (ImageConversionError, OSError) as exc:
            with lock:
                failed[place] = f"{pairs[place].key!r}: {exc}"
            return np.zeros((8, 8, 3), np.uint8)

    options = {} if progress is None else {"progress": progress}
    vectors = encoder.encode_images(range(len(pairs)), load=load, **options)
    kept = np.array([i for i in range(len(pairs)) if i not in failed], dtype=np.int64)
    reasons = [failed[place] for place in sorted(failed)]
    if failed:
        msg = (
            f"{len(failed)} of {len(pairs)} pictures cannot be read: "
            f"{'; '.join(reasons[:_NAMED])}"
        )
        if not len(kept):
            raise DataSetError(msg)
        warnings.warn(f"{msg}; they are left out", FailedRowsWarning, stacklevel=3)
    return model_rows(encoder, "pictures", vectors[kept]), kept


def model_rows(encoder, what, vectors):
    """
    Return vectors of a model with length 1.

    Parameters
    ----------
    encoder : encoder
        Whose vectors they are.
    what : str
        What they are of, for errors.
    vectors : array-like, shape (n, d)
        One row for each of them.

    Returns
    -------
    rows : `~numpy.ndarray`, shape (n, d), float64
        In the same order.

    Raises
    ------
    ModelLoadError
        If one is zero or not finite, or there are no rows.
    """
    from .metrics import unit_rows

    try:
        return unit_rows(f"vectors of {what}", vectors)
    except InvalidQueryError as exc:
        name = getattr(encoder, "name", type(encoder).__name__)
        msg = f"model {name!r}: {exc}; its weights are bad, take another model"
        raise ModelLoadError(msg) from exc


def classes_of(pairs, labels):
    """
    Return the classes, and which ones each picture has.

    Parameters
    ----------
    pairs : `~paperclip.training.PairList`
        With or without texts of the source "label".
    labels : object
        What `~paperclip.vocabulary.load_vocabulary` takes, or None.

    Returns
    -------
    terms : list of str
        All classes; none without any labels.
    own : list of tuple of int, or None
        Classes of each picture.

    Raises
    ------
    InvalidQueryError
        If a picture has a class that is not in ``labels``.
    """
    said = [tuple(dict.fromkeys(pair.texts.get("label", ()))) for pair in pairs]
    if labels is None:
        terms = sorted({label for own in said for label in own})
        if len(terms) < 2:
            return [], None
    else:
        from paperclip.vocabulary import load_vocabulary

        terms = [str(term) for term in load_vocabulary(labels)["term"]]
    if not any(said):
        return terms, None
    number = {term.casefold(): n for n, term in enumerate(terms)}
    unknown = sorted({x for own in said for x in own if x.casefold() not in number})
    if unknown:
        msg = f"labels must hold all classes of the pairs, it lacks {some(unknown)}"
        raise InvalidQueryError(msg)
    return terms, [tuple(number[x.casefold()] for x in own) for own in said]


def documents_of(pairs, sources, captions, wanted):
    """
    Return the texts that stand for pictures in search by words.

    Parameters
    ----------
    pairs : `~paperclip.training.PairList`
        What is searched.
    sources : sequence of str
        Caption sources.
    captions : list of str
        Caption of each pair.
    wanted : str or None
        A source, "auto" or None.

    Returns
    -------
    documents : dict of str to list of str
        One text, or a blank one, for each pair: for captions as queries texts
        of another source, for classes the captions.

    Raises
    ------
    InvalidQueryError
        If no pair has the source, or it is that of the captions.
    """
    if wanted is None:
        return {}
    found = {"label": captions}
    there = pairs.sources()
    if wanted == "auto":
        wanted = next((n for n in _DOCUMENTS if n in there and n not in sources), None)
        if wanted is None:
            return found
    if wanted not in there or wanted in sources:
        msg = (
            f"documents must be one of {sorted(set(there) - set(sources))}, 'auto' or "
            f"None, and not the captions that are searched with, got {wanted!r}"
        )
        raise InvalidQueryError(msg)
    found["caption"] = [pair.texts.get(wanted, ("",))[0] for pair in pairs]
    return found


def digest_of(pairs, captions):
    """
    Digest which pairs were measured.

    Parameters
    ----------
    pairs : `~paperclip.training.PairList`
        Pairs.
    captions : list of str
        Their captions.

    Returns
    -------
    digest : str
        32 hexadecimal digits of keys, groups and captions.
    """
    digest = hashlib.blake2b(digest_size=16)
    for pair, caption in zip(pairs, captions, strict=True):
        for part in (pair.key, pair.group, caption):
            digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()
