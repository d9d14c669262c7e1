# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A quick figure on validation pairs, to tell checkpoints from each other."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from paperclip.exceptions import FailedRowsWarning, ImageConversionError

from .loader import read_picture

__all__ = ["METRICS", "Validator"]

METRICS = ("top10", "top10_text", "top1", "recall1", "recall5", "median_rank")
"""Names of the figures; the first three are shares of ranks in the best 10 or 1 %."""

_MOST = 2000  # pairs; a fixed choice of larger sets
_NAMED = 5


class Validator:
    """
    Rank captions for pictures, without augmentation, every pair once.

    Parameters
    ----------
    model : paperclip.training.model.Trainable
        What is trained.
    pairs : `~paperclip.training.PairList`
        Validation pairs. Of more than 2,000, every n-th is used.
    sources : mapping
        Caption sources and weights; the text of a pair is that of its
        heaviest source, read as a whole.
    device : `torch.device`
        Where it runs.
    workers : int, optional
        Threads that read pictures.
    """

    def __init__(self, model, pairs, sources, device, *, workers=2):
        import torch

        from paperclip.models.encoder import Encoder

        self.model = model
        if len(pairs) > _MOST:
            places = np.linspace(0, len(pairs) - 1, _MOST).round().astype(int)
            pairs = pairs.select(np.unique(places))
        self.pairs = _decodable(pairs, workers)
        texts = [_text(pair, sources) for pair in self.pairs]
        self.texts = list(dict.fromkeys(texts))
        place = {text: n for n, text in enumerate(self.texts)}
        self._own = np.array([place[text] for text in texts])
        self._encoder = Encoder(
            model.clip,
            model.reader,
            model.preprocessing,
            name=model.name,
            revision=None,
            fingerprint="training",
            device=device,
            dtype=torch.float32,
        )

    def __call__(self):
        """
        Compute the figures.

        Returns
        -------
        metrics : dict of str to float
            See `METRICS`. Ties count half.
        """
        self.model.towers.eval()
        image = self._encoder.encode_images(list(self.pairs), load=read_picture)
        text = self._encoder.encode_texts(self.texts)
        return retrieval(image @ text.T, self._own)


def retrieval(similarity, own):
    """
    Rank captions for pictures, and pictures for captions.

    Parameters
    ----------
    similarity : `~numpy.ndarray`, shape (n, m)
        Of n pictures and m distinct captions.
    own : `~numpy.ndarray`, shape (n,)
        Which caption belongs to which picture.

    Returns
    -------
    metrics : dict of str to float
        See `METRICS`.
    """
    n, m = similarity.shape
    right = similarity[np.arange(n), own]
    above = (similarity > right[:, None]).sum(1)
    ranks = above + ((similarity == right[:, None]).sum(1) - 1) / 2
    columns = similarity[:, own].T  # the caption of pair i against all pictures
    others = own[:, None] != own[None, :]
    back = ((columns > right[:, None]) & others).sum(1)
    back = back + ((columns == right[:, None]) & others).sum(1) / 2
    return {
        "top10": float((ranks < 0.1 * m).mean()),
        "top10_text": float((back < 0.1 * n).mean()),
        "top1": float((ranks < 0.01 * m).mean()),
        "recall1": float((ranks < 1).mean()),
        "recall5": float((ranks < 5).mean()),
        "median_rank": float(np.median(ranks) + 1),
    }


def _text(pair, sources):
    """Return the text of the heaviest source that a pair has."""
    weights = {source: sources.get(source, 0) for source in pair.texts}
    if not weights:
        from ._sentences import metadata_sentences

        return metadata_sentences(pair.meta)[0]
    best = max(weights, key=lambda source: (weights[source], source == "abstract"))
    return pair.texts[best][0]


def _decodable(pairs, workers):
    def reason(pair):
        try:
            read_picture(pair)
        except ImageConversionError as exc:
            return str(exc)
        return None

    with ThreadPoolExecutor(max(1, workers)) as pool:
        reasons = list(pool.map(reason, pairs))
    lost = [f"{p.key!r}: {why}" for p, why in zip(pairs, reasons, strict=True) if why]
    if lost:
        msg = (
            f"{len(lost)} of {len(pairs)} validation pictures cannot be read and are "
            f"left out: {'; '.join(lost[:_NAMED])}"
        )
        warnings.warn(msg, FailedRowsWarning, stacklevel=4)
    return pairs.select([why is None for why in reasons])
