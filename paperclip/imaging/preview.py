# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pictures that are ready to show: archive previews, PIL images, arrays."""

import io
from pathlib import Path

import numpy as np

from paperclip.exceptions import ImageConversionError

__all__ = ["is_picture", "read_preview", "rgb_from_array", "rgb_from_pil"]

_FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "WEBP")
_MAX_PIXELS = 1 << 26  # 67 million: decoded to RGB they fill 200 MB
_MAX_SIDE = 1 << 16
_MAX_BYTES = 1 << 28

# everything that Pillow has been seen to raise for damaged or hostile files,
# its bomb warning included when warnings are errors
_DECODE_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
)


def is_picture(head):
    """
    Tell whether a file starts like one of the picture formats.

    Parameters
    ----------
    head : bytes
        The first 12 bytes or more.

    Returns
    -------
    known : bool
        True for JPEG, PNG, GIF, TIFF and WebP.
    """
    starts = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\x00", b"MM\x00*")
    return head.startswith(starts) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def read_preview(path_or_bytes):
    """
    Read a preview (JPEG, PNG, GIF, TIFF or WebP) as an RGB array.

    The orientation tag is applied, grey pictures get three equal channels,
    16-bit levels are scaled to 8 bits, transparent parts are put on black and
    only the first frame of an animation is used.

    Parameters
    ----------
    path_or_bytes : path-like or bytes
        A file, or its content.

    Returns
    -------
    rgb : `~numpy.ndarray`, shape (ny, nx, 3), uint8
        The picture; row 0 is the top.

    Raises
    ------
    ImageConversionError
        If there is no such file, it is of another format, damaged, truncated,
        or larger than 67 million pixels. The size is checked before anything
        is decoded.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(path_or_bytes, (bytes, bytearray, memoryview)):
        source, label = io.BytesIO(path_or_bytes), "the given bytes"
    else:
        source = Path(path_or_bytes)
        label = str(source)
        if not source.is_file():
            msg = f"{label}: there is no such file"
            raise ImageConversionError(msg)
        if source.stat().st_size > _MAX_BYTES:
            msg = f"{label} is larger than {_MAX_BYTES} bytes, too large for a preview"
            raise ImageConversionError(msg)
    try:
        with Image.open(source, formats=_FORMATS) as image:
            return _decode(image, label)
    except ImageConversionError:
        raise
    except (*_DECODE_ERRORS, Image.DecompressionBombError) as exc:
        why = f"{type(exc).__name__}: {exc}"
        if isinstance(exc, UnidentifiedImageError):  # it shows the address of a buffer
            why = f"the content is none of {', '.join(_FORMATS)}"
        msg = f"{label} cannot be read as a picture: {why}"
        raise ImageConversionError(msg) from exc


def rgb_from_pil(image, *, label="the PIL image"):
    """
    Convert a PIL image to an RGB array, as `read_preview` does.

    Parameters
    ----------
    image : `~PIL.Image.Image`
        Image of any mode.
    label : str
        What to call it in an error.

    Returns
    -------
    rgb : `~numpy.ndarray`, shape (ny, nx, 3), uint8
        The picture; row 0 is the top.

    Raises
    ------
    ImageConversionError
        If it is too large, empty, or its file cannot be decoded.
    """
    try:
        return _decode(image, label)
    except ImageConversionError:
        raise
    except _DECODE_ERRORS as exc:
        msg = f"{label} cannot be decoded: {type(exc).__name__}: {exc}"
        raise ImageConversionError(msg) from exc


def _decode(image, label):
    """Decode an opened image after its size has been checked."""
    width, height = image.size
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE) or (
        width * height > _MAX_PIXELS
    ):
        msg = (
            f"{label} is {width} x {height} pixels; a picture must have at least "
            f"1 and at most {_MAX_PIXELS} pixels, and at most {_MAX_SIDE} a side"
        )
        raise ImageConversionError(msg)
    if image.format == "JPEG" and image.mode == "L":
        grey = np.asarray(_upright(image))
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    image = _upright(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_16bit(np.asarray(image))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        from PIL import Image

        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, layer)
    return np.array(image.convert("RGB"))


def _upright(image):
    """Apply the orientation tag, which most files do not have."""
    from PIL import ExifTags, ImageOps

    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        return ImageOps.exif_transpose(image)
    image.load()
    return image


def _grey_16bit(values):
    """Scale levels of more than 8 bits; other ranges by their maximum."""
    values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    top = values.max(initial=0.0)
    full = 65535.0 if 255 < top <= 65535 else max(top, 255.0)
    grey = np.rint(np.clip(values / full, 0.0, 1.0) * 255.0).astype(np.uint8)
    return np.repeat(grey[:, :, np.newaxis], 3, axis=2)


def rgb_from_array(array):
    """
    Check an array that already is a picture.

    Parameters
    ----------
    array : `~numpy.ndarray`, shape (ny, nx, 3) or (ny, nx, 4), uint8
        Levels; a fourth channel is opacity and is put on black.

    Returns
    -------
    rgb : `~numpy.ndarray`, shape (ny, nx, 3), uint8
        Contiguous picture.

    Raises
    ------
    ImageConversionError
        If it is empty or larger than 67 million pixels.
    """
    height, width, depth = array.shape
    if not 0 < height * width <= _MAX_PIXELS:
        msg = (
            f"a picture of shape {array.shape} must have at least 1 and at most "
            f"{_MAX_PIXELS} pixels"
        )
        raise ImageConversionError(msg)
    if depth == 4:
        opacity = array[:, :, 3:].astype(np.uint16)
        array = ((array[:, :, :3] * opacity + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(array)
