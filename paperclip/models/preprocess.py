# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pictures of any shape to the square the image tower reads, never cropped."""

import math
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice

import numpy as np
from PIL import Image

from paperclip.exceptions import ImageConversionError, ModelLoadError

__all__ = ["MAX_PIXELS", "Preprocessing", "as_rgb", "letterbox", "prepared_batches"]

MAX_PIXELS = 250_000_000
"""Pictures with more pixels than this are refused before they are decoded."""

_INTERPOLATION = ("bicubic", "bilinear")
_PIL_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


@dataclass(frozen=True)
class Preprocessing:
    """
    How a picture becomes the input of an image tower.

    The numbers are those of ``preprocess_cfg`` in ``open_clip_config.json``.
    Whatever ``resize_mode`` is written there, pictures are fitted into the
    frame as a whole ("longest") and the rest is filled: archive previews are
    seldom square, and a centre crop would hide a large part of them.

    Parameters
    ----------
    size : tuple of int
        Height and width in pixels.
    mean, std : tuple of float
        Of the three channels, on the scale where white is 1.
    interpolation : {'bicubic', 'bilinear'}
        Of the resize, with antialiasing.
    fill : int
        Value of the pixels around the picture, 0 to 255.
    """

    size: tuple
    mean: tuple
    std: tuple
    interpolation: str = "bicubic"
    fill: int = 0

    @classmethod
    def from_config(cls, preprocess, *, size):
        """
        Read and check the ``preprocess_cfg`` of a model.

        Parameters
        ----------
        preprocess : dict
            As in ``open_clip_config.json``; ``mean`` and ``std`` are needed.
        size : int or list of int
            Frame to use when ``preprocess`` names none.

        Returns
        -------
        preprocessing : Preprocessing
            The checked values.

        Raises
        ------
        ModelLoadError
            If a value is missing or cannot be used.
        """
        size = preprocess.get("size") or size
        size = tuple(size) if isinstance(size, list | tuple) else (size, size)
        if len(size) != 2 or not all(type(n) is int and 0 < n <= 4096 for n in size):
            msg = f"preprocess_cfg size must be 1 to 4096 pixels, got {size!r}"
            raise ModelLoadError(msg)
        mean = _three(preprocess, "mean")
        std = _three(preprocess, "std")
        if min(std) <= 0:
            msg = f"preprocess_cfg std must be positive, got {std!r}"
            raise ModelLoadError(msg)
        interpolation = preprocess.get("interpolation") or "bicubic"
        if interpolation == "random":  # open_clip reads it so when not training
            interpolation = "bicubic"
        if interpolation not in _INTERPOLATION:
            msg = (
                f"preprocess_cfg interpolation must be one of "
                f"{_INTERPOLATION}, got {interpolation!r}"
            )
            raise ModelLoadError(msg)
        fill = 0
        if preprocess.get("resize_mode") == "longest":
            fill = preprocess.get("fill_color") or 0
        if type(fill) is not int or not 0 <= fill <= 255:
            msg = f"preprocess_cfg fill_color must be 0 to 255, got {fill!r}"
            raise ModelLoadError(msg)
        return cls(size, mean, std, interpolation, fill)

    def as_dict(self):
        """
        Return what is part of a model's fingerprint.

        Returns
        -------
        values : dict
            JSON-serialisable, with ``resize_mode`` "longest".
        """
        values = asdict(self)
        return {key: _plain(value) for key, value in values.items()} | {
            "resize_mode": "longest"
        }


def _three(preprocess, key):
    """Return three finite numbers of the configuration."""
    value = preprocess.get(key)
    if isinstance(value, int | float):
        value = [value] * 3
    if (
        not isinstance(value, list | tuple)
        or len(value) != 3
        or not all(isinstance(x, int | float) and math.isfinite(x) for x in value)
    ):
        msg = (
            f"open_clip_config.json must give preprocess_cfg[{key!r}] as three "
            f"numbers, got {value!r}; without it pictures would be scaled wrongly"
        )
        raise ModelLoadError(msg)
    return tuple(float(x) for x in value)


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def as_rgb(image):
    """
    Check a picture and return it in RGB.

    Parameters
    ----------
    image : `~numpy.ndarray` or `~PIL.Image.Image`
        A uint8 array of shape (ny, nx, 3), or (ny, nx) for grey, row 0 on
        top; or an 8-bit PIL image of any mode. Transparency is ignored.

    Returns
    -------
    image : `~numpy.ndarray`
        uint8 of shape (ny, nx, 3), contiguous and writeable; the array that
        was given if it is all that.

    Raises
    ------
    ImageConversionError
        If it is not a picture, has no pixels, too many, or cannot be decoded.
    """
    if isinstance(image, Image.Image):
        return _pil_as_rgb(image)
    if not isinstance(image, np.ndarray):
        msg = (
            "a picture must be a uint8 array (ny, nx, 3) or a PIL image, got "
            f"{type(image).__name__}; paperclip.imaging.to_rgb makes one"
        )
        raise ImageConversionError(msg)
    shape = image.shape
    if (
        image.dtype != np.uint8
        or len(shape) not in {2, 3}
        or shape[2:] not in {(), (3,)}
    ):
        msg = (
            f"a picture must be a uint8 array (ny, nx, 3), got {image.dtype} "
            f"{shape}; paperclip.imaging.to_rgb makes one"
        )
        raise ImageConversionError(msg)
    _check_size(shape[1], shape[0])
    if len(shape) == 2:
        return np.repeat(image[:, :, np.newaxis], 3, axis=2)
    return np.require(image, requirements=["C", "W"])


def _pil_as_rgb(image):
    _check_size(*image.size)
    if image.mode not in _PIL_MODES:
        msg = (
            f"a PIL image must have 8 bits per channel, got mode {image.mode!r}; "
            "paperclip.imaging.to_rgb scales deeper images"
        )
        raise ImageConversionError(msg)
    try:
        image.load()
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:
        msg = f"the picture cannot be decoded: {exc}"
        raise ImageConversionError(msg) from exc


def _check_size(width, height):
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        msg = (
            f"a picture must have 1 to {MAX_PIXELS} pixels, got {width} x {height}; "
            "reduce it first"
        )
        raise ImageConversionError(msg)


def letterbox(image, preprocessing):
    """
    Fit a whole picture into the frame of a model.

    Parameters
    ----------
    image : `~numpy.ndarray` or `~PIL.Image.Image`
        See `as_rgb`.
    preprocessing : Preprocessing
        Frame, interpolation and fill.

    Returns
    -------
    frame : `~numpy.ndarray`
        uint8 of shape (height, width, 3): the picture in the middle, its
        longer side as long as the frame, the rest filled.

    Notes
    -----
    The same as open_clip's transform with ``resize_mode="longest"`` up to one
    level of 255: both antialias with the kernels of Pillow, and torch's
    version of them is about five times faster.
    """
    import torch

    image = as_rgb(image)
    height, width = preprocessing.size
    ratio = max(image.shape[0] / height, image.shape[1] / width)
    inner = tuple(max(1, round(n / ratio)) for n in image.shape[:2])
    if image.shape[:2] != inner:
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
        tensor = torch.nn.functional.interpolate(
            tensor, size=inner, mode=preprocessing.interpolation, antialias=True
        )
        image = tensor[0].permute(1, 2, 0).numpy()
    frame = np.full((height, width, 3), preprocessing.fill, dtype=np.uint8)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    frame[top : top + inner[0], left : left + inner[1]] = image
    return frame


def prepared_batches(images, prepare, load, batch_size):
    """
    Make batches of frames in threads, one batch ahead of the caller.

    Parameters
    ----------
    images : iterable
        Pictures, functions that return one, or what ``load`` accepts.
    prepare : callable
        From a picture to a frame.
    load : callable or None
        Called with every element first.
    batch_size : int
        Frames per batch; at most twice as many are held.

    Yields
    ------
    frames : `~numpy.ndarray`
        uint8 of shape (n, height, width, 3), in the order of ``images``.
    """

    def work(position, item):
        if load is not None:
            item = load(item)
        elif callable(item):
            item = item()
        try:
            return prepare(item)
        except ImageConversionError as exc:
            msg = f"images[{position}]: {exc}"
            raise ImageConversionError(msg) from exc

    if isinstance(images, list | tuple) and len(images) == 1:
        yield work(0, images[0])[np.newaxis]  # nothing to run beside
        return
    numbered = enumerate(images)
    workers = min(4, max(1, (os.cpu_count() or 1) // 2))  # the model needs the rest
    pool = ThreadPoolExecutor(workers, thread_name_prefix="paperclip-prepare")
    pending = deque()
    try:
        while True:
            room = 2 * batch_size - len(pending)
            pending.extend(pool.submit(work, *pair) for pair in islice(numbered, room))
            if not pending:
                return
            size = min(batch_size, len(pending))
            yield np.stack([pending.popleft().result() for _ in range(size)])
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
