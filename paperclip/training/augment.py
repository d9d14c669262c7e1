# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Random changes of pictures that leave their meaning as it is.

The sky has no upright: turns and mirror images of a picture are as good as the
picture. Everything is drawn from the generator that is passed in, so a sample
depends on (seed, epoch, index) and not on who works on it.
"""

import math
from dataclasses import dataclass

import numpy as np

from paperclip.exceptions import InvalidQueryError
from paperclip.utils.checks import whole_number

__all__ = ["Augmentation", "View"]

_REDUCE = 1.25  # pictures are reduced before they are turned from this factor on


@dataclass(frozen=True, slots=True)
class View:
    """
    The part of a picture that is kept, and how it is turned.

    Parameters
    ----------
    center : tuple of float
        Middle of the part, x and y in pixels from the top left corner of the
        picture.
    size : tuple of float
        Width and height of the part in pixels, before it is turned.
    angle : float
        Angle of the part in the picture in radians, within 45 degrees.
    turns : int
        Quarter turns after that, counter-clockwise.
    flip : bool
        Whether it is mirrored at the end.
    """

    center: tuple
    size: tuple
    angle: float
    turns: int
    flip: bool


class Augmentation:
    """
    Change pictures at random.

    Parameters
    ----------
    settings : `AugmentSettings`
        What is changed, and how much.
    size : int, optional
        Side of the result in pixels: the part that is kept is fitted into a
        square of this size, as `~paperclip.models.Encoder` does, and needs no
        further preparation. By default the part keeps its own pixels.
    fill : int, optional
        Level, 0 to 255, of pixels beside the picture.

    Raises
    ------
    InvalidQueryError
        If ``size`` or ``fill`` is out of range.

    Notes
    -----
    Quarter turns and mirror images are exact. A part at another angle is read
    with bilinear interpolation, from a reduced picture if it is to become
    smaller. With ``corners="inside"`` it lies inside of the picture as a whole:
    its area is the one that was drawn wherever that fits at the angle, else the
    largest that fits.

    Examples
    --------
    >>> import numpy as np
    >>> from paperclip.training import AugmentSettings, Augmentation, sample_rng
    >>> augment = Augmentation(AugmentSettings(crop=0.25))
    >>> picture = np.zeros((40, 60, 3), dtype=np.uint8)
    >>> sorted(augment.apply(picture, sample_rng(0, 0, 7)).shape[:2])
    [20, 30]
    """

    def __init__(self, settings, *, size=None, fill=0):
        self.settings = settings
        low, high = 1, 8192
        self.size = None if size is None else whole_number("size", size, low, high)
        self.fill = whole_number("fill", fill, 0, 255)

    def apply(self, rgb, rng):
        """
        Return a changed copy of a picture.

        Parameters
        ----------
        rgb : `~numpy.ndarray`, shape (ny, nx, 3), uint8
            The picture; it stays as it is.
        rng : `~numpy.random.Generator`
            Source of random numbers, see `sample_rng`. To change a whole batch
            alike, give equal generators.

        Returns
        -------
        changed : `~numpy.ndarray`, shape (height, width, 3), uint8
            Contiguous; ``size`` x ``size`` pixels if that was set.

        Raises
        ------
        InvalidQueryError
            If it is no such picture.
        """
        if (
            not isinstance(rgb, np.ndarray)
            or rgb.dtype != np.uint8
            or rgb.ndim != 3
            or rgb.shape[2] != 3
            or 0 in rgb.shape
        ):
            got = f"{getattr(rgb, 'dtype', type(rgb).__name__)} {np.shape(rgb)}"
            msg = f"rgb must be a uint8 array of shape (ny, nx, 3), got {got}"
            raise InvalidQueryError(msg)
        view = self.draw(rgb.shape, rng)
        return self._frame(self._levels(self._cut(rgb, view), rng), view)

    def draw(self, shape, rng):
        """
        Draw which part of a picture is kept.

        Parameters
        ----------
        shape : tuple of int
            Height and width of the picture.
        rng : `~numpy.random.Generator`
            Source of random numbers.

        Returns
        -------
        view : `View`
            Inside of the picture, if ``corners`` says so.
        """
        s = self.settings
        height, width = shape[:2]
        place_x, place_y, area, angle = rng.random(4).tolist()
        turns = int(rng.integers(4)) if s.rotate != "none" else 0
        flip = bool(rng.integers(2)) if s.flip else False
        angle = (angle - 0.5) * math.pi / 2 if s.rotate == "any" else 0.0
        area = s.crop[0] + (s.crop[1] - s.crop[0]) * area
        if s.crop_shape == "square":
            w = h = min(math.sqrt(area * width * height), width, height)
        else:
            w, h = width * math.sqrt(area), height * math.sqrt(area)
        cos, sin = math.cos(angle), abs(math.sin(angle))
        across, down = w * cos + h * sin, w * sin + h * cos
        if s.corners == "inside":
            factor = min(1.0, width / across, height / down)
            w, h, across, down = (factor * x for x in (w, h, across, down))
        across, down = min(across, width), min(down, height)
        x = across / 2 + place_x * (width - across)
        y = down / 2 + place_y * (height - down)
        return View((x, y), (w, h), angle, turns, flip)

    def _cut(self, rgb, view):
        """Return the part at its final scale as a PIL image, not turned yet."""
        from PIL import Image

        (w, h), (x, y) = view.size, view.center
        if self.size is None:
            out = _whole_size(w, h, rgb.shape)
        else:
            ratio = self.size / max(w, h)
            out = max(1, round(w * ratio)), max(1, round(h * ratio))
        if view.angle:
            return self._turned(rgb, view, out)
        if self.size is None:
            left = min(max(round(x - w / 2), 0), rgb.shape[1] - out[0])
            top = min(max(round(y - h / 2), 0), rgb.shape[0] - out[1])
            part = rgb[top : top + out[1], left : left + out[0]]
            return Image.fromarray(np.ascontiguousarray(part))
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        return _resized(rgb, out, box)

    def _turned(self, rgb, view, out):
        """Read the part at an angle."""
        from PIL import Image

        (w, h), (x, y) = view.size, view.center
        cos, sin = math.cos(view.angle), math.sin(view.angle)
        step = w / out[0], h / out[1]  # pixels of the picture per pixel
        if max(step) > _REDUCE:
            across, down = w * cos + h * abs(sin), w * abs(sin) + h * cos
            left, top = max(0, x - across / 2 - 2), max(0, y - down / 2 - 2)
            right = min(rgb.shape[1], x + across / 2 + 2)
            bottom = min(rgb.shape[0], y + down / 2 + 2)
            inner = (right - left) / step[0], (bottom - top) / step[1]
            inner = tuple(max(1, math.ceil(n)) for n in inner)
            image = _resized(rgb, inner, (left, top, right, bottom))
            scale = inner[0] / (right - left), inner[1] / (bottom - top)
        else:
            image, left, top, scale = Image.fromarray(rgb), 0.0, 0.0, (1.0, 1.0)
        # from a pixel of the result to one of the picture, centres at halves
        a, b = cos * step[0], -sin * step[1]
        d, e = sin * step[0], cos * step[1]
        c = x - left - (a * out[0] + b * out[1]) / 2
        f = y - top - (d * out[0] + e * out[1]) / 2
        sx, sy = scale
        return image.transform(
            out,
            Image.Transform.AFFINE,
            (a * sx, b * sx, c * sx, d * sy, e * sy, f * sy),
            resample=Image.Resampling.BILINEAR,
            fillcolor=(self.fill,) * 3,
        )

    def _levels(self, image, rng):
        """Change brightness, contrast, colour and noise."""
        from PIL import Image

        s = self.settings
        draws = rng.random(5).tolist()
        if s.grey and draws[0] < s.grey:
            image = image.convert("L").convert("RGB")
        table = np.arange(256, dtype=np.float64)
        if s.contrast:
            mean = float(np.asarray(image)[::4, ::4].mean())  # a 16th is enough
            table = mean + (table - mean) * math.exp(s.contrast * (2 * draws[1] - 1))
        if s.brightness:
            table = table * math.exp(s.brightness * (2 * draws[2] - 1))
        if s.invert and draws[3] < s.invert:
            table = 255.0 - table
        if s.contrast or s.brightness or s.invert:
            levels = np.rint(table.clip(0, 255)).astype(int).tolist()
            image = image.point(levels * 3)
        if s.noise:
            grain = rng.standard_normal((image.height, image.width, 1), np.float32)
            noisy = np.asarray(image) + grain * np.float32(s.noise * draws[4])
            image = Image.fromarray(np.rint(noisy.clip(0, 255)).astype(np.uint8))
        return image

    def _frame(self, image, view):
        """Turn, mirror, and put into the square."""
        from PIL import Image

        turn, mirror = Image.Transpose, Image.Transpose.FLIP_LEFT_RIGHT
        turns = (None, turn.ROTATE_90, turn.ROTATE_180, turn.ROTATE_270)
        image = image.transpose(turns[view.turns]) if view.turns else image
        image = image.transpose(mirror) if view.flip else image
        if self.size is None or image.size == (self.size, self.size):
            return np.array(image)
        frame = np.full((self.size, self.size, 3), self.fill, dtype=np.uint8)
        top, left = (self.size - image.height) // 2, (self.size - image.width) // 2
        place = np.s_[top : top + image.height, left : left + image.width]
        frame[place] = np.asarray(image)
        return frame


def _whole_size(w, h, shape):
    """Return width and height in whole pixels whose product is w * h."""
    width = min(max(1, round(w)), shape[1])
    height = min(max(1, round(w * h / width)), shape[0])
    return width, height


def _resized(rgb, out, box):
    """Resize a part of a picture with antialiasing."""
    from PIL import Image

    box = (*(max(0.0, n) for n in box[:2]), min(box[2], rgb.shape[1]), box[3])
    box = (*box[:3], min(box[3], rgb.shape[0]))
    image = Image.fromarray(rgb)
    return image.resize(out, Image.Resampling.BICUBIC, box=box)
