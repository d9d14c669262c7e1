# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""How good a model is: without augmentation, every pair once, with intervals."""

import warnings

import numpy as np
from astropy.table import vstack

from paperclip.exceptions import DataSetError, FailedRowsWarning, InvalidQueryError
from paperclip.utils.checks import whole_number

from ._evalfiles import check_place
from ._measure import Scene, measure_pictures, measure_texts
from ._scene import (
    captioned,
    check_enough,
    classes_of,
    digest_of,
    documents_of,
    encode_pictures,
    model_rows,
)
from ._tabulate import ALL
from .evaluation import Evaluation
from .metrics import check_fraction

__all__ = ["evaluate"]

_MOST_SAMPLES = 100_000
_SCALE = 100.0  # of CLIP, for encoders that do not tell theirs


def evaluate(
    model,
    pairs,
    *,
    texts="abstract",
    ks=(1, 5, 10),
    fraction=0.1,
    seed=0,
    bootstrap=1000,
    records=None,
    by=None,
    labels=None,
    label_prompt="{}",
    documents="auto",
    progress=None,
):
    """
    Measure a model on pairs that it has not seen.

    Nothing is augmented or left to chance: every picture is shown once and as
    a whole, every distinct caption is read once, from beginning to end, and
    the order of the pairs does not matter.

    Parameters
    ----------
    model : str, path-like or encoder
        What `paperclip.models.load_encoder` takes.
    pairs : `PairList`
        At least two proposals with different captions.
    texts : str or sequence of str, optional
        Caption source; of several, the first that a pair has. The first text
        of a source is used. "metadata" is written from ``meta``.
    ks : sequence of int, optional
        Numbers of answers for recall@k and proposals@k.
    fraction : float, optional
        Part of the candidates for the accuracy, "top10" for 0.1.
    seed : int, optional
        Of shuffled pairs, of batches and of the bootstrap.
    bootstrap : int, optional
        Samples of proposals for the intervals; 0 for none.
    records : path-like, optional
        Folder for the records, see `Evaluation.save`.
    by : str, optional
        Column of ``meta`` whose values are measured separately as well, each
        among its own pictures and captions only; "mission" is
        ``obs_collection``. Values with fewer than two proposals are left out.
    labels : sequence, `~astropy.table.Table`, path-like, optional
        Classes to choose from, as `~paperclip.vocabulary.load_vocabulary`
        takes them. By default the texts of the source "label". For pairs
        without that source they are terms that are only recorded.
    label_prompt : str, optional
        What is asked for a class; ``{}`` stands for its name.
    documents : str or None, optional
        Caption source that stands for a picture when captions are searched by
        words. By default the first of title, abstract, summary, caption and
        description that is not ``texts``. None leaves these baselines out.
    progress : callable, optional
        Called with the number of pictures done.

    Returns
    -------
    evaluation : Evaluation
        Figures with intervals, and records.

    Raises
    ------
    InvalidQueryError
        If an argument cannot be right.
    DataSetError
        If there are fewer than two proposals or captions.
    ModelLoadError
        If the model cannot be loaded, or its vectors are zero or not finite.

    Warns
    -----
    FailedRowsWarning
        If pictures cannot be read, or pairs have no caption; they are left out.

    See Also
    --------
    paperclip.training.metrics : The formulas.

    Notes
    -----
    Without an ending, captions are ranked for a picture; with ``_text``
    pictures for a caption. Other captions, and for ``_text`` other pictures,
    of the same proposal are neither right nor wrong: they do not compete.
    With ``_macro``, every proposal counts the same.

    ``top10``
        Share of pictures whose own caption is in the best 10 % of all distinct
        captions. A caption at the border counts in part, so that chance is 10 %
        for any number of captions; with fewer than ten, even a perfect model
        stays below 1.
    ``recall@k``, ``recall@k_text``
        Share of queries with a right answer among the first k.
    ``median_rank``, ``map``, ``ndcg@k``
        Median of the rank of the first right answer, mean average precision,
        and normalised discounted cumulative gain.
    ``loss``
        Cross entropy with the model's own factor on cosines, over all
        captions and over all pictures, in nats.
    ``auc``, ``cosine_right``, ``cosine_shuffled``
        How well cosines of right pairs are told from those of a picture and
        captions of other proposals (five each).
    ``batch100_top10``
        Not comparable with ``top10``: the figure of the PAPERCLIP paper in
        batches of 100 pictures with their captions, where pictures of one
        proposal compete. Mean of five deals.
    ``proposals@k_text``
        Distinct proposals among the first k pictures, always to be read beside
        the precision.
    ``class_accuracy``, ``class_accuracy_balanced``, ``class_majority``
        Share of pictures whose most similar class is one of theirs, its mean
        over classes, and the share of the most frequent class.
    ``label_precision@k``, ``label_map``, ``label_proposals@k``
        The classes as queries that rank pictures. Intervals are over classes.
    ``tfidf_...``, ``bm25_...``
        The same queries ranked by words alone (see
        `~paperclip.training.baselines.TextRanker`): a caption as a query ranks
        the ``documents`` of the pictures, a class ranks their captions. Such
        a search never sees a picture.

    Intervals are percentiles of a bootstrap [1]_ that draws proposals, not
    pictures; candidates stay the same. The column ``chance`` is what a model
    gets that says the same of everything, by the same formulas.

    References
    ----------
    .. [1] Efron, B., & Tibshirani, R. 1993, An Introduction to the Bootstrap

    Examples
    --------
    >>> from paperclip.training import evaluate, synthetic_pairs
    >>> found = evaluate("builtin", synthetic_pairs(16, size=32), bootstrap=0)
    >>> found.settings["n_proposals"]
    4
    """
    settings = _settings(ks, fraction, seed, bootstrap, by)
    sources = (texts,) if isinstance(texts, str) else tuple(texts)
    if records is not None:
        check_place(records)
    _check_prompt(label_prompt)
    pairs, captions = captioned(pairs, sources)
    stand_ins = documents_of(pairs, sources, captions, documents)
    classes_of(pairs, labels)
    check_enough(pairs.groups, captions)

    from paperclip.models import load_encoder

    encoder = load_encoder(model)
    images, kept = encode_pictures(encoder, pairs, progress)
    if len(kept) < len(pairs):
        pairs, captions = pairs.select(kept), [captions[i] for i in kept]
        stand_ins = {q: [texts[i] for i in kept] for q, texts in stand_ins.items()}
        check_enough(pairs.groups, captions)
    classes = classes_of(pairs, labels)
    scene = _scene(encoder, pairs, captions, images, classes, label_prompt)
    scene.documents = stand_ins
    scale = float(getattr(encoder, "logit_scale", _SCALE))
    settings |= {
        "model": {
            "name": str(getattr(encoder, "name", type(encoder).__name__)),
            "fingerprint": str(encoder.fingerprint),
            "logit_scale": scale,
        },
        "texts": list(sources),
        "label_prompt": label_prompt,
        "n_pictures": len(pairs),
        "n_proposals": len(set(pairs.groups)),
        "pairs": digest_of(pairs, captions),
    }
    evaluation = Evaluation(*_measured(scene, pairs, settings), settings)
    if records is not None:
        evaluation.save(records)
    return evaluation


def _scene(encoder, pairs, captions, images, classes, label_prompt):
    """Encode what is said, and put it beside the vectors of the pictures."""
    distinct = sorted(set(captions))
    place = {text: n for n, text in enumerate(distinct)}
    scene = Scene(
        keys=pairs.keys,
        groups=pairs.groups,
        images=images,
        texts=model_rows(encoder, "captions", encoder.encode_texts(distinct)),
        own=np.array([place[text] for text in captions]),
        captions=distinct,
    )
    scene.terms, scene.labels = classes
    if scene.terms:
        asked = [label_prompt.replace("{}", term) for term in scene.terms]
        vectors = encoder.encode_texts(asked)
        scene.term_vectors = model_rows(encoder, "labels", vectors)
    return scene


def _settings(ks, fraction, seed, bootstrap, by):
    ks = [ks] if np.ndim(ks) == 0 else list(ks)
    if not ks:
        msg = "ks must hold at least one number"
        raise InvalidQueryError(msg)
    if by is not None and (not isinstance(by, str) or not by):
        msg = f"by must be the name of a column, got {by!r}"
        raise InvalidQueryError(msg)
    return {
        "ks": sorted({whole_number("ks", k, 1, 1000) for k in ks}),
        "fraction": check_fraction(fraction),
        "seed": whole_number("seed", seed, 0),
        "bootstrap": whole_number("bootstrap", bootstrap, 0, _MOST_SAMPLES),
        "by": by,
    }


def _check_prompt(prompt):
    if not isinstance(prompt, str) or prompt.count("{}") != 1:
        msg = f"label_prompt must be a text with one {{}}, got {prompt!r}"
        raise InvalidQueryError(msg)


def _measured(scene, pairs, settings):
    """Return the records of all pictures and of each subset."""
    parts = [(ALL, scene)]
    by = settings["by"]
    if by is not None:
        values = np.array([_value(pair, by) for pair in pairs])
        names = sorted(set(values.tolist()) - {""})
        if not names or ALL in names:
            msg = (
                f"by must be a column of meta with values other than {ALL!r}, got "
                f"{by!r}; there are {sorted({n for p in pairs for n in p.meta})}"
            )
            raise InvalidQueryError(msg)
        for name in names:
            rows = np.flatnonzero(values == name)
            part = scene.select(rows)
            try:
                check_enough(part.groups, [part.captions[j] for j in part.own])
            except DataSetError as exc:
                msg = f"{by} {name!r} is not measured separately: {exc}"
                warnings.warn(msg, FailedRowsWarning, stacklevel=4)
                continue
            parts.append((name, part))
    log_scale = np.log(settings["model"]["logit_scale"])
    pictures, queries = [], []
    for name, part in parts:
        pictures.append(
            measure_pictures(
                part,
                fraction=settings["fraction"],
                log_scale=log_scale,
                best=max(settings["ks"]),
                seed=settings["seed"],
            )
        )
        queries.append(
            measure_texts(part, ks=settings["ks"], fraction=settings["fraction"])
        )
        for table in (pictures[-1], queries[-1]):
            table.add_column(np.full(len(table), name), 0, "subset")
    return vstack(pictures), vstack(queries)


def _value(pair, by):
    found = pair.meta.get(by)
    if found is None and by == "mission":
        found = pair.meta.get("obs_collection")
    return "" if found is None else str(found).strip()
