# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A quick figure on validation pairs, to tell checkpoints from each other."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from paperclip.exceptions import (
    DataSetError,
    FailedRowsWarning,
    ImageConversionError,
    ModelLoadError,
    TrainingError,
    TrainingWarning,
)

from ._cells import some
from ._scene import check_enough, model_rows
from ._sentences import metadata_sentences
from .loader import read_picture
from .metrics import summary

__all__ = ["Validator", "make_validator", "warn_of_no_figures"]

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
    frozen : collection of {"image", "text"}, optional
        Towers of which the output is kept from one call to the next.

    Raises
    ------
    DataSetError
        If nothing can be told apart among the pairs.

    Warns
    -----
    FailedRowsWarning
        If pairs have no text or pictures cannot be read; they are left out.
    """

    def __init__(self, model, pairs, sources, device, *, workers=2, frozen=()):
        self.model = model
        if len(pairs) > _MOST:
            places = np.linspace(0, len(pairs) - 1, _MOST).round().astype(int)
            pairs = pairs.select(np.unique(places))
        self.pairs = _decodable(_speaking(pairs, sources), workers)
        texts = [_text(pair, sources) for pair in self.pairs]
        check_enough(self.pairs.groups, texts)
        self.texts = list(dict.fromkeys(texts))
        place = {text: n for n, text in enumerate(self.texts)}
        self._own = np.array([place[text] for text in texts])
        self._encoder = self._encoder_of(model.clip, device)
        self._inner = self._encoder
        if hasattr(model.clip, "clip"):  # the towers without heads
            self._inner = self._encoder_of(model.clip.clip, device)
        self._frozen, self._kept = set(frozen), {}
        most = model.reader.context_length
        if any(len(model.reader.ids(text)) > most for text in self.texts):
            # several windows, and the head is applied to each of them
            self._frozen.discard("text")

    def _encoder_of(self, clip, device):
        import torch

        from paperclip.models.encoder import Encoder

        return Encoder(
            clip,
            self.model.reader,
            self.model.preprocessing,
            name=self.model.name,
            revision=None,
            fingerprint="training",
            device=device,
            dtype=torch.float32,
        )

    def __call__(self, step):
        """
        Compute the figures.

        Parameters
        ----------
        step : int
            Updates that were made, for errors.

        Returns
        -------
        metrics : dict of str to float
            Those that ``run.metric`` may name.

        Raises
        ------
        TrainingError
            If vectors are zero or not finite.
        """
        self.model.towers.eval()
        try:
            image, text = self._rows("image"), self._rows("text")
            for what, rows in (("pictures", image), ("texts", text)):
                model_rows(self.model, what, rows)  # also behind a frozen tower
        except ModelLoadError as exc:
            msg = (
                f"step {step}: no figures on the validation pairs, as vectors are zero "
                "or not finite. Lower optim.lr, set optim.clip_norm or lengthen "
                "optim.warmup"
            )
            raise TrainingError(msg, step=step) from exc
        scale = np.log(self._encoder.logit_scale)
        found = summary(
            image, text, self._own, groups=self.pairs.group_codes, log_scale=scale
        )
        return found | {"validation_loss": found.pop("loss")}

    def _rows(self, side):
        """Encode pictures or texts, with a frozen tower only once."""
        if side not in self._frozen:
            return self._encoded(self._encoder, side)
        if side not in self._kept:
            self._kept[side] = self._encoded(self._inner, side)
        head = self.model.head(side)
        if head is None:
            return self._kept[side]
        import torch
        from torch.nn.functional import normalize

        device = self.model.log_scale.device
        with torch.no_grad():
            rows = torch.from_numpy(self._kept[side]).to(device)
            return normalize(head(rows).float(), dim=-1).cpu().numpy()

    def _encoded(self, encoder, side):
        if side == "image":
            return encoder.encode_images(list(self.pairs), load=read_picture)
        return encoder.encode_texts(self.texts)


def _text(pair, sources):
    """Return the text of the heaviest source that a pair has, or None."""
    texts = {source: said[0] for source, said in pair.texts.items()}
    if sources.get("metadata") and "metadata" not in texts:
        found = metadata_sentences(pair.meta)
        texts |= {"metadata": found[0]} if found else {}
    if not texts:
        return None
    best = max(texts, key=lambda name: (sources.get(name, 0), name == "abstract"))
    return texts[best]


def _speaking(pairs, sources):
    """Leave out pairs without a text."""
    said = [_text(pair, sources) is not None for pair in pairs]
    if not all(said):
        lost = [p.key for p, there in zip(pairs, said, strict=True) if not there]
        msg = (
            f"{len(lost)} of {len(pairs)} validation pairs have no text and are left "
            f"out: {some(lost)}"
        )
        warnings.warn(msg, FailedRowsWarning, stacklevel=6)
    return pairs.select(said)


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
        warnings.warn(msg, FailedRowsWarning, stacklevel=6)
    return pairs.select([why is None for why in reasons])


def make_validator(*args, **options):
    """
    Make a validator, if the pairs are good for one.

    Parameters
    ----------
    *args, **options : object
        As for `Validator`.

    Returns
    -------
    validator : Validator or None
        None if nothing can be told apart among the pairs.

    Warns
    -----
    TrainingWarning
        If it is None.
    """
    try:
        return Validator(*args, **options)
    except DataSetError as exc:
        warn_of_no_figures(exc, stacklevel=6)
        return None


def warn_of_no_figures(reason, *, stacklevel):
    """
    Warn that no step can be chosen.

    Parameters
    ----------
    reason : Exception
        Why.
    stacklevel : int
        As for `warnings.warn`, from here.
    """
    msg = f"no figures while training, and the last step is the result: {reason}"
    warnings.warn(msg, TrainingWarning, stacklevel=stacklevel)
