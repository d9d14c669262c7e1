# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tell whole files of an archive from torn ones and from pages of errors."""

import gzip
import re
import zlib

__all__ = ["check_data_file"]

_BLOCK = 2880  # bytes of a FITS record
_CARD = 80
_HEADER_BLOCKS = 20_000
_STARTS = {
    ".jpg": b"\xff\xd8\xff",
    ".jpeg": b"\xff\xd8\xff",
    ".png": b"\x89PNG",
    ".gz": b"\x1f\x8b",
    ".zip": b"PK",
    ".pdf": b"%PDF",
    ".asdf": b"#ASDF",
}
_PAGE = re.compile(rb"\s*<(!doctype\s+html|html)", re.I)
_SIZES = re.compile(r"(BITPIX|NAXIS\d{0,3}|PCOUNT|GCOUNT|GROUPS) *\Z")


def check_data_file(path):
    """
    Check that a file is whole and is what its name says.

    FITS files, compressed with gzip or not, are walked from header to header
    (FITS Standard 4.0, sections 3 and 4): all data that the headers announce
    must be there. Of other kinds the first bytes are compared with the name,
    and pages of text in place of a file are recognised.

    Parameters
    ----------
    path : `~pathlib.Path`
        File to look at; it is not changed.

    Raises
    ------
    ValueError
        If it is empty, torn, or of another kind.
    OSError
        If it cannot be read.
    """
    name = path.name.lower()
    with path.open("rb") as stream:
        start = stream.read(512)
    if not start:
        msg = "the file is empty"
        raise ValueError(msg)
    if _PAGE.match(start) and not name.endswith((".html", ".htm")):
        msg = "the file is a page of text (HTML)"
        raise ValueError(msg)
    if name.endswith((".fits.gz", ".fit.gz")):
        if not start.startswith(_STARTS[".gz"]):
            _check_plain(path)  # served unpacked under the packed name
            return
        try:
            with gzip.open(path) as stream:
                _walk(stream)
        except (EOFError, zlib.error) as exc:
            msg = f"the compressed file is torn: {exc}"
            raise ValueError(msg) from exc
    elif name.endswith((".fits", ".fit", ".fits.fz")):
        _check_plain(path)
    else:
        wanted = next((b for s, b in _STARTS.items() if name.endswith(s)), b"")
        if not start.startswith(wanted):
            msg = f"the file begins with {start[:8]!r}, which its name does not say"
            raise ValueError(msg)


def _check_plain(path):
    with path.open("rb") as stream:
        _walk(stream)


def _walk(stream):
    """Go from header to header and through all data."""
    first = True
    while True:
        block = stream.read(_BLOCK)
        begins = b"SIMPLE  =" if first else b"XTENSION="
        if not block.startswith(begins):
            if first:
                msg = f"no FITS file: it begins with {block[:8]!r}"
                raise ValueError(msg)
            return  # special records, or the padding of some writers
        size = _data_size(_cards(stream, block))
        padding = -size % _BLOCK
        missing = size - _skip(stream, size)
        if missing:
            msg = f"the FITS file is torn: {missing} bytes of data are missing"
            raise ValueError(msg)
        _skip(stream, padding)
        first = False


def _cards(stream, block):
    """Return the values that say how large the data are."""
    values = {}
    for _ in range(_HEADER_BLOCKS):
        if len(block) < _BLOCK:
            msg = "the FITS file is torn: it ends within a header"
            raise ValueError(msg)
        for place in range(0, _BLOCK, _CARD):
            card = block[place : place + _CARD].decode("latin-1")
            if card.rstrip() == "END":
                return values
            if card[8:10] == "= " and _SIZES.match(card[:8]):
                values[card[:8].rstrip()] = card[10:].split("/")[0].strip()
        block = stream.read(_BLOCK)
    msg = "the FITS file has a header without end"
    raise ValueError(msg)


def _data_size(values):
    """Return the bytes of the data of an HDU (FITS Standard, eq. 1, 2 and 4)."""
    naxis = int(values.get("NAXIS", 0))
    if not 0 <= naxis <= 999:
        msg = f"the FITS file has NAXIS = {naxis}"
        raise ValueError(msg)
    sides = [int(values.get(f"NAXIS{n}", 0)) for n in range(1, naxis + 1)]
    if values.get("GROUPS") == "T" and sides[:1] == [0]:
        sides = sides[1:]
    if not sides:
        return 0
    number = 1
    for side in sides:
        number *= side
    width = abs(int(values.get("BITPIX", 8))) // 8
    size = (
        width * int(values.get("GCOUNT", 1)) * (int(values.get("PCOUNT", 0)) + number)
    )
    if size < 0:
        msg = "the FITS file has axes of negative length"
        raise ValueError(msg)
    return size


def _skip(stream, size):
    """Read over bytes; return how many there were."""
    seen = 0
    while seen < size:
        block = stream.read(min(size - seen, 1 << 20))
        if not block:
            break
        seen += len(block)
    return seen
