# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Make the stored form of a picture from the file that an archive sent."""

import hashlib
import io
import os
import threading

from paperclip.mast._journal import write_all, write_error

__all__ = ["PictureWriter"]

_QUALITY = 95
_AT_ONCE = 4  # decoded previews are large


class PictureWriter:
    """
    Decode a file, reduce it, and put a JPEG in its place.

    Parameters
    ----------
    decode : callable
        From bytes to uint8 of shape (ny, nx, 3).
    size : int
        Longest side; smaller pictures keep their size.
    """

    def __init__(self, decode, size):
        self._decode = decode
        self._size = size
        self._slots = threading.Semaphore(min(_AT_ONCE, os.cpu_count() or 1))

    def __call__(self, path):
        """
        Replace the content of a temporary file by the stored form.

        Parameters
        ----------
        path : `~pathlib.Path`
            What was downloaded.

        Returns
        -------
        found : dict
            width, height, size and sha256 of the picture that is there now.

        Raises
        ------
        ValueError
            If it is no picture; or whatever ``decode`` raises.
        DataSetWriteError
            If it cannot be written.
        """
        with self._slots:
            rgb = self._decode(path.read_bytes())
            content, width, height = self._encode(rgb)
        try:
            with path.open("wb", buffering=0) as stream:
                write_all(stream, content)
        except OSError as exc:
            raise write_error(path, exc) from exc
        return _facts(content, width, height)

    def _encode(self, rgb):
        """Reduce with Lanczos and encode without throwing colour away."""
        from PIL import Image

        image = Image.fromarray(rgb)
        longest = max(image.size)
        if longest > self._size:
            sides = [max(round(n * self._size / longest), 1) for n in image.size]
            image = image.resize(sides, Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=_QUALITY, subsampling=0)
        return stream.getvalue(), *image.size

    def look(self, path):
        """
        Return what there is to know of a stored picture.

        Parameters
        ----------
        path : `~pathlib.Path`
            File under its final name.

        Returns
        -------
        found : dict or None
            As of a call; None if it cannot be decoded or is too large.
        """
        try:
            content = path.read_bytes()
            height, width = self._decode(content).shape[:2]
        except (ArithmeticError, EOFError, LookupError, OSError, TypeError, ValueError):
            return None
        if max(height, width) > self._size:
            return None
        return _facts(content, width, height)


def _facts(content, width, height):
    return {
        "width": width,
        "height": height,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
