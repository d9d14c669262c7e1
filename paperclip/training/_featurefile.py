# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Vectors on disk that are whole or not there, whenever the process is killed."""

import mmap
import os
import struct
import zlib
from pathlib import Path

import numpy as np

__all__ = ["FeatureFile"]

_MAGIC = b"PCF1"
_HEAD = struct.Struct("<4sIII")  # magic, number of rows, their CRC-32, that of keys
_ROOM = 2 << 30  # bytes of vectors in a file
_BLOCK = 1 << 24  # bytes that are checked at once


class FeatureFile:
    """
    Rows of float32 by key, appended to two files and read through memory maps.

    ``NAME.f32`` holds the rows and ``NAME.journal`` says which keys they are
    of. An entry of the journal is written behind its rows and has checksums
    of both; what follows the last good entry is taken away when the files are
    opened.

    Parameters
    ----------
    path : path-like
        Both files without their suffixes; the directory exists.
    dimension : int
        Length of a row.
    most : int
        Largest number of rows; those that come later are not kept. 2 GiB are
        the limit in any case.

    Raises
    ------
    OSError
        If the files cannot be made or read.
    """

    def __init__(self, path, dimension, most):
        self.dimension = dimension
        self.capacity = max(0, min(most, _ROOM // (4 * dimension)))
        self._row = 4 * dimension
        self._places = {}
        rows, journal = (f"{os.fspath(path)}{end}" for end in (".f32", ".journal"))
        self._files = []
        try:
            for name in (rows, journal):
                self._files.append(os.open(name, os.O_RDWR | os.O_CREAT, 0o644))
            size = self.capacity * self._row
            os.ftruncate(self._files[0], size)  # what is not written takes no room
            seen = b""
            if size:  # read through the map, written past it: a full disk raises
                seen = mmap.mmap(self._files[0], size, access=mmap.ACCESS_READ)
            self._rows = np.frombuffer(seen, dtype="<f4").reshape(-1, dimension)
            self._replay(Path(journal).read_bytes())
        except BaseException:
            self.close()
            raise

    def __len__(self):
        return len(self._places)

    def __contains__(self, key):
        return key in self._places

    def _replay(self, content):
        """Read the journal up to its last good entry, and cut the rest off."""
        end = 0
        while (found := self._entry(content, end)) is not None:
            keys, end = found
            start = len(self._places)
            self._places.update(zip(keys, range(start, start + len(keys)), strict=True))
        os.ftruncate(self._files[1], end)
        self._end = end

    def _entry(self, content, start):
        """Return keys and end of an entry, or None if it is not good."""
        head = content[start : start + _HEAD.size]
        if len(head) < _HEAD.size:
            return None
        magic, count, crc, check = _HEAD.unpack(head)
        end = start + _HEAD.size + 8 * count
        done = len(self._places)
        if magic != _MAGIC or end > len(content) or done + count > self.capacity:
            return None
        body = content[start + _HEAD.size : end]
        rows = self._rows[done : done + count]
        if zlib.crc32(body, crc) != check or _checksum(rows) != crc:
            return None
        keys = np.frombuffer(body, dtype="<i8").tolist()
        if len({*keys} - self._places.keys()) < count:
            return None
        return keys, end

    def read(self, keys):
        """
        Return the rows of keys.

        Parameters
        ----------
        keys : sequence of int
            All of them are there.

        Returns
        -------
        rows : `~numpy.ndarray`, shape (n, dimension), float32
            A copy.
        """
        return self._rows[[self._places[key] for key in keys]]

    def add(self, keys, rows):
        """
        Append rows as long as there is room.

        Parameters
        ----------
        keys : sequence of int
            None of them is there, and none occurs twice.
        rows : `~numpy.ndarray`, shape (n, dimension), float32
            Their rows.

        Raises
        ------
        OSError
            If the disk is full; nothing was added.
        """
        start = len(self._places)
        keys = list(keys)[: self.capacity - start]
        if not keys:
            return
        rows = np.ascontiguousarray(rows[: len(keys)], dtype="<f4")
        _write(self._files[0], rows, start * self._row)
        body, crc = np.array(keys, dtype="<i8").tobytes(), _checksum(rows)
        head = _HEAD.pack(_MAGIC, len(keys), crc, zlib.crc32(body, crc))
        _write(self._files[1], head + body, self._end)
        self._end += len(head) + len(body)
        self._places.update(zip(keys, range(start, start + len(keys)), strict=True))

    def sync(self):
        """Wait until all rows are on disk."""
        for descriptor in self._files:
            os.fsync(descriptor)

    def close(self):
        """Let the files go."""
        self._rows = None  # the map ends with its last reader
        while self._files:
            os.close(self._files.pop())


def _checksum(rows):
    crc, step = 0, max(1, _BLOCK // max(1, rows.nbytes // max(1, len(rows))))
    for start in range(0, len(rows), step):
        crc = zlib.crc32(np.ascontiguousarray(rows[start : start + step]), crc)
    return crc


def _write(descriptor, content, offset):
    """Write all bytes at a place; what is not written raises."""
    left = memoryview(content).cast("B")
    while left:
        done = os.pwrite(descriptor, left, offset)
        left, offset = left[done:], offset + done
