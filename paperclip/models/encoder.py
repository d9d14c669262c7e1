# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pictures and texts to unit vectors: the boundary to torch."""

import warnings

import numpy as np

from paperclip.exceptions import (
    ImageConversionError,
    InvalidQueryError,
    ModelLoadError,
    TruncatedTextWarning,
)
from paperclip.models.preprocess import letterbox, prepared_batches
from paperclip.models.text import check_texts
from paperclip.models.towers import image_tower, text_tower
from paperclip.utils.checks import whole_number

__all__ = ["Encoder"]

_LONG = ("chunk", "truncate", "error")


class Encoder:
    """
    A loaded CLIP model; `~paperclip.models.load_encoder` makes it.

    Every method may be called from several threads. Nothing about torch is
    changed for the process: neither threads, nor gradients, nor the random
    state.

    Parameters
    ----------
    model : `torch.nn.Module`
        open_clip's model in evaluation mode, in float32, on ``device``.
    reader : paperclip.models.text.TextReader
        Its tokenizer.
    preprocessing : paperclip.models.preprocess.Preprocessing
        How pictures become its input.
    name : str
        What the user called it.
    revision : str or None
        Commit of a model from the Hub.
    fingerprint : str
        Short digest of weights, architecture, preprocessing and handling of
        texts. Vectors of equal fingerprints can be compared.
    device : `torch.device`
        Where it runs.
    dtype : `torch.dtype`
        Number format of the image tower.
    """

    def __init__(
        self,
        model,
        reader,
        preprocessing,
        *,
        name,
        revision,
        fingerprint,
        device,
        dtype,
    ):
        self._model = model
        self._reader = reader
        self._preprocessing = preprocessing
        self.name = name
        self.revision = revision
        self.fingerprint = fingerprint
        self.device = device
        self.dtype = dtype
        self._images = image_tower(model, device, dtype)
        self._texts, self._trim = text_tower(model)
        self._dimension = None

    def __repr__(self):
        return f"<Encoder {self.name!r} {self.fingerprint} on {self.device}>"

    @property
    def model(self):
        """The `torch.nn.Module` of open_clip, for work on its parts."""
        return self._model

    @property
    def image_size(self):
        """Side of the frame in pixels, or (height, width) if not square."""
        height, width = self._preprocessing.size
        return height if height == width else (height, width)

    @property
    def preprocess_config(self):
        """Size, mean, std, interpolation, resize mode and fill, as a dict."""
        return self._preprocessing.as_dict()

    @property
    def preprocessing(self):
        """The ``Preprocessing`` of ``paperclip.models.preprocess`` in use."""
        return self._preprocessing

    @property
    def context_length(self):
        """The tokens that are read at once, with those for start and end."""
        return self._reader.context_length

    @property
    def logit_scale(self):
        """Factor on cosines that gives the logits of training (exponentiated)."""
        return float(self._model.logit_scale.detach().exp().reshape(()))

    @property
    def dimension(self):
        """Length of the vectors."""
        if self._dimension is None:
            ids = self._reader.ids("a")
            self._dimension = self._encode_ids([ids]).shape[1]
        return self._dimension

    def tokens(self, text):
        """
        Count the tokens of a text.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        tokens : int
            With those for start and end; up to ``context_length`` is read at
            once.
        """
        return len(self._reader.ids(check_texts([text])[0]))

    # -- pictures -----------------------------------------------------------
    def prepare(self, image):
        """
        Fit a picture into the frame of the model, without any cropping.

        Parameters
        ----------
        image : `~numpy.ndarray` or `~PIL.Image.Image`
            uint8 RGB of shape (ny, nx, 3), row 0 on top, or grey (ny, nx).

        Returns
        -------
        frame : `~numpy.ndarray`
            uint8 of shape (height, width, 3), for `encode_prepared`.

        Raises
        ------
        ImageConversionError
            If it is not a picture or cannot be decoded.
        """
        return letterbox(image, self._preprocessing)

    def to_tensor(self, frames):
        """
        Scale prepared pictures to the input of the image tower.

        Parameters
        ----------
        frames : `~numpy.ndarray`
            uint8 of shape (n, height, width, 3), from `prepare`.

        Returns
        -------
        batch : `torch.Tensor`
            (n, 3, height, width) on the device and in the format of the
            image tower, channels last in memory.
        """
        import torch

        frames = np.require(frames, requirements=["C", "W"])
        n, height, width, _ = frames.shape
        rows = torch.from_numpy(frames).to(self.device).view(n, height, 3 * width)
        # whole rows of the frame: three channels alone do not fill a vector
        mean = torch.tensor(self._preprocessing.mean, device=self.device)
        std = torch.tensor(self._preprocessing.std, device=self.device)
        scale, shift = (1 / (255 * std)).repeat(width), -(mean / std).repeat(width)
        batch = torch.empty(rows.shape, dtype=self.dtype, device=self.device)
        for out, frame in zip(batch, rows, strict=True):  # what fits a cache
            out.copy_(torch.addcmul(shift, frame.float(), scale))
        return batch.view(frames.shape).permute(0, 3, 1, 2)

    def encode_prepared(self, frames):
        """
        Encode pictures that `prepare` made, in one forward pass.

        Parameters
        ----------
        frames : `~numpy.ndarray`
            uint8 of shape (n, height, width, 3).

        Returns
        -------
        vectors : `~numpy.ndarray`
            float32 of shape (n, dimension), rows of length 1.

        Raises
        ------
        ImageConversionError
            If the shape or the type is another.
        """
        import torch

        frames = np.asarray(frames)
        shape = (*self._preprocessing.size, 3)
        if frames.dtype != np.uint8 or frames.shape[1:] != shape:
            msg = (
                f"frames must be uint8 of shape (n, {shape[0]}, {shape[1]}, 3) as "
                f"prepare() gives them, got {frames.dtype} {frames.shape}"
            )
            raise ImageConversionError(msg)
        if not len(frames):
            return np.empty((0, self.dimension), dtype=np.float32)
        with torch.inference_mode():
            return _unit_rows(self._images(self.to_tensor(frames)))

    def encode_images(self, images, *, load=None, batch_size=None, progress=None):
        """
        Encode pictures.

        Parameters
        ----------
        images : iterable
            uint8 RGB arrays of shape (ny, nx, 3), row 0 on top, or PIL
            images; functions without arguments that return one; or anything
            that ``load`` turns into one. It may be a generator, and is read
            at most two batches ahead.
        load : callable, optional
            Called with every element, for example ``PIL.Image.open`` on
            paths. It and the resizing run in threads while the model works
            on the batch before, so it must be safe to call from threads.
        batch_size : int, optional
            Pictures per forward pass. The default is
            ``paperclip.conf.batch_size``.
        progress : callable, optional
            Called with the number of pictures done so far after every batch.

        Returns
        -------
        vectors : `~numpy.ndarray`
            float32 of shape (n, dimension), rows of length 1 in the order of
            the input.

        Raises
        ------
        ImageConversionError
            If an element is not a picture; the message names its position.
            What ``load`` raises passes through.

        Notes
        -----
        Pictures of any shape are shown to the model as a whole, with black
        around them ("letterbox"), also by a model whose configuration asks
        for a centre crop.
        """
        batch_size = _batch_size(batch_size)
        parts, done = [], 0
        for frames in prepared_batches(images, self.prepare, load, batch_size):
            parts.append(self.encode_prepared(frames))
            done += len(frames)
            if progress is not None:
                progress(done)
        if not parts:
            return np.empty((0, self.dimension), dtype=np.float32)
        return np.concatenate(parts)

    # -- texts --------------------------------------------------------------
    def encode_texts(self, texts, *, batch_size=None, long="chunk"):
        """
        Encode texts.

        Parameters
        ----------
        texts : sequence of str
            None blank, at most 100,000 characters each.
        batch_size : int, optional
            Texts per forward pass. The default is
            ``paperclip.conf.batch_size``.
        long : {'chunk', 'truncate', 'error'}, optional
            What to do with a text of more than ``context_length`` tokens.
            "chunk" encodes whole sentences packed in windows that fit and
            averages the windows, weighted by their tokens. "truncate" drops
            the words that do not fit and quotes them in a warning.

        Returns
        -------
        vectors : `~numpy.ndarray`
            float32 of shape (n, dimension), rows of length 1.

        Raises
        ------
        InvalidQueryError
            If a text is not a str, blank or too long, or an option is wrong;
            the message names the position.

        Warns
        -----
        TruncatedTextWarning
            If words were dropped, with ``long="truncate"``.
        """
        texts = check_texts(texts)
        batch_size = _batch_size(batch_size)
        if long not in _LONG:
            msg = f"long must be one of {_LONG}, got {long!r}"
            raise InvalidQueryError(msg)
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        windows, owners = [], []
        for position, text in enumerate(texts):
            own = self._windows(position, text, long)
            windows += own
            owners += [position] * len(own)
        vectors = self._encode_windows(windows, batch_size)
        if len(windows) == len(texts):
            return vectors
        weights = np.array([len(window) for window in windows], dtype=np.float32)
        sums = np.zeros((len(texts), vectors.shape[1]), dtype=np.float32)
        np.add.at(sums, owners, vectors * weights[:, np.newaxis])
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

    def _windows(self, position, text, long):
        """Return the token ids of one text, in parts if it is long."""
        windows = self._reader.windows(text)
        if not windows:
            msg = f"texts[{position}] holds nothing that the model reads: {text[:60]!r}"
            raise InvalidQueryError(msg)
        if long == "chunk":
            return windows
        head, lost = self._reader.head(text)
        if lost:
            found = f"texts[{position}] has {self.tokens(text)} tokens and the model "
            found += f"reads {self.context_length}"
            quote = lost if len(lost) <= 120 else f"{lost[:80]} ... {lost[-30:]}"
            if long == "error":
                msg = (
                    f"{found}; it would lose {quote!r}. Shorten it, or use long='chunk'"
                )
                raise InvalidQueryError(msg)
            msg = f"{found}; dropped {len(lost)} characters: {quote!r}"
            warnings.warn(msg, TruncatedTextWarning, stacklevel=3)
        return [self._reader.ids(head)]

    def _encode_windows(self, windows, batch_size):
        """Encode token lists, those of similar length together."""
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        parts = [
            self._encode_ids([windows[i] for i in order[start : start + batch_size]])
            for start in range(0, len(order), batch_size)
        ]
        vectors = np.concatenate(parts)
        result = np.empty_like(vectors)
        result[order] = vectors
        return result

    def _encode_ids(self, rows):
        import torch

        length = max(map(len, rows)) if self._trim else self.context_length
        pad = self._reader.pad_id
        ids = torch.tensor(
            [row + [pad] * (length - len(row)) for row in rows], device=self.device
        )
        with torch.inference_mode():
            return _unit_rows(self._texts(ids))


def _unit_rows(features):
    """Return float32 rows of length 1; refuse what has no direction."""
    rows = features.float().cpu().numpy()
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    if not (np.isfinite(norms).all() and norms.all()):
        msg = "the model gives vectors that are zero or not finite; its weights are bad"
        raise ModelLoadError(msg)
    return rows / norms[:, np.newaxis]


def _batch_size(batch_size):
    from paperclip import conf

    if batch_size is None:
        batch_size = conf.batch_size
    return whole_number("batch_size", batch_size)
