# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Walk over the headers of a FITS file before astropy reads it.

Some header values make astropy loop for hours or without end (a number of axes
of 10^8, sizes that lead back to the same header). The walk looks only at the
cards that decide where the next header begins, and says how many HDUs are safe.
"""

import math
import re

from paperclip.exceptions import ImageConversionError

__all__ = ["count_safe_hdus"]

_BLOCK = 2880
_CARD = 80
_MAX_HEADER = 4000 * _BLOCK  # 11.5 MB: the longest header that is looked at
_MAX_HDUS = 2000
_MAX_VALUE = 1 << 62

_LIMITS = {"BITPIX": 64, "NAXIS": 16, "ZNAXIS": 16, "TFIELDS": 999, "ZBITPIX": 64}
_CARDS = re.compile(rb"(BITPIX|Z?NAXIS\d*|ZTILE\d+|PCOUNT|GCOUNT|TFIELDS|ZBITPIX) *=")


def count_safe_hdus(stream, label):
    """
    Count the leading HDUs whose headers are complete and consistent.

    Parameters
    ----------
    stream : binary file
        Seekable file at its start; it is at its start again afterwards.
    label : str
        What to call it in an error.

    Returns
    -------
    count : int
        HDUs that may be read, from 1 to 2000. The data of the last one may be
        truncated.

    Raises
    ------
    ImageConversionError
        If not even the first header can be read.
    """
    stream.seek(0, 2)
    end = stream.tell()
    count = position = 0
    problem = "it is empty"
    while position < end and count < _MAX_HDUS:
        stream.seek(position)
        try:
            header = _read_header(stream, first=count == 0)
            size = _data_size(_values(header))
        except ValueError as exc:
            problem = str(exc)
            break
        count += 1
        position += len(header) + -(-size // _BLOCK) * _BLOCK
    stream.seek(0)
    if not count:
        msg = f"{label} is not a readable FITS, JPEG or PNG file: {problem}"
        raise ImageConversionError(msg)
    return count


def _read_header(stream, *, first):
    """Return the blocks of one header, up to the one with END."""
    blocks = []
    while len(blocks) * _BLOCK < _MAX_HEADER:
        block = stream.read(_BLOCK)
        if not blocks and not block.startswith(b"SIMPLE" if first else b"XTENSION"):
            msg = f"a header starts with {block[:8]!r}"
            raise ValueError(msg)
        if len(block) < _BLOCK:
            break
        blocks.append(block)
        place = block.find(b"END")
        while place >= 0:
            if place % _CARD == 0 and not block[place + 3 : place + _CARD].strip(b" "):
                return b"".join(blocks)
            place = block.find(b"END", place + 1)
    msg = f"a header has no END in its first {len(blocks)} blocks"
    raise ValueError(msg)


def _values(header):
    """Return the cards that decide sizes, each within its limits."""
    values = {}
    for place in range(0, len(header), _CARD):
        match = _CARDS.match(header, place, place + _CARD)
        if match is None:
            if header[place : place + 9] == b"GROUPS  =":
                values["GROUPS"] = header[place + 10 : place + 30].strip() == b"T"
            continue
        name = match[1].decode("ascii")
        text = header[match.end() : place + _CARD].partition(b"/")[0].strip()
        try:
            value = int(text)
        except ValueError:
            msg = f"{name} is {text[:20]!r}, not an integer"
            raise ValueError(msg) from None
        low = -64 if name.endswith("BITPIX") else 0
        if not low <= value <= _LIMITS.get(name, _MAX_VALUE):
            msg = f"{name} is {value}"
            raise ValueError(msg)
        if values.setdefault(name, value) != value:
            msg = f"{name} occurs twice with different values"
            raise ValueError(msg)
    return values


def _data_size(values):
    """Return the bytes of data that follow a header."""
    try:
        axes = [values[f"NAXIS{i + 1}"] for i in range(values["NAXIS"])]
        bits = abs(values["BITPIX"])
    except KeyError as exc:
        msg = f"{exc} is missing"
        raise ValueError(msg) from None
    if not axes:
        return 0
    if axes[0] == 0 and values.get("GROUPS"):
        axes = axes[1:]
    pixels = math.prod(axes) + values.get("PCOUNT", 0)
    return bits * values.get("GCOUNT", 1) * pixels // 8
