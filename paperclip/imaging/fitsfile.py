# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Open FITS files that nobody has checked: bounded, and with our own errors."""

import bz2
import gzip
import lzma
import math
import mmap
import struct
import tempfile
import warnings
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits

from paperclip.exceptions import ImageConversionError, PaperclipError

from .prescan import count_safe_hdus
from .reduce import Layer, array_layer

__all__ = [
    "IMAGE_HDUS",
    "check_claim",
    "hdu_layer",
    "hdu_shape",
    "list_hdus",
    "open_fits",
    "reading",
]

try:  # a plain Exception that astropy raises for damaged compressed tiles
    from astropy.io.fits.hdu.compressed._compression import CfitsioException
except ImportError:  # pragma: no cover
    CfitsioException = ValueError

IMAGE_HDUS = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)

_PIXEL_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_MAX_PIXELS = 1 << 32
_MAX_SIDE = 1 << 17
_MAX_EXPANDED = 1 << 32
_MAX_RATIO = 100  # of compressed files; noise compresses by a factor of 2 to 10
_FREE_EXPANSION = 1 << 26  # below this the ratio does not matter
_MAX_TILE = 1 << 29  # bytes of one compressed tile, which is expanded whole
_MAX_TILE_RATIO = 2000

# Everything that astropy, numpy and the decompressors have been seen to raise
# for damaged files; the fuzzer in the tests looks for more. Warnings are
# listed because callers may turn them into errors.
READ_ERRORS = (
    CfitsioException,
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    fits.VerifyError,
    lzma.LZMAError,
    struct.error,
    zlib.error,
)


@contextmanager
def reading(label, notes):
    """
    Turn whatever happens while a file is read into one kind of error.

    This is the only place where foreign exceptions are caught.

    Parameters
    ----------
    label : str
        What is being read; it starts the message.
    notes : list of str
        Warnings issued inside the block are appended here, each text once.

    Yields
    ------
    None
        Control, for the block.

    Raises
    ------
    ImageConversionError
        Instead of any of ``READ_ERRORS``. Errors of this package pass.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except PaperclipError:
            raise
        except READ_ERRORS as exc:
            text = " ".join(str(exc).split())[:300]
            msg = f"{label} cannot be read: {type(exc).__name__}: {text}"
            raise ImageConversionError(msg) from exc
        finally:
            for entry in caught:
                text = " ".join(str(entry.message).split())
                if text not in notes:
                    notes.append(text)


@contextmanager
def open_fits(path):
    """
    Open a FITS file, compressed or not, with its size bounded.

    Parameters
    ----------
    path : `~pathlib.Path`
        File. gzip, bzip2, xz and (with the package ``uncompresspy``) ``.Z``
        are expanded into a temporary file, so that images can be mapped.

    Yields
    ------
    hdus : list of HDU
        The HDUs that could be read, at most 2000.

    Raises
    ------
    ImageConversionError
        If there is no such file, it is not FITS, or it expands to more than
        100 times its size (64 MB are always allowed) or to more than 4 GB.
    """
    if not path.is_file():
        msg = f"{path}: there is no such file"
        raise ImageConversionError(msg)
    with ExitStack() as stack:
        stream = stack.enter_context(path.open("rb"))
        magic = stream.read(6)
        stream.seek(0)
        expander = _expander(magic, stream, path)
        if expander is not None:
            stack.enter_context(expander)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stream = stack.enter_context(_expand(expander, path, folder))
        count = count_safe_hdus(stream, str(path))
        # closing the list would read the HDUs beyond the safe ones; the stream
        # is closed instead, and mapped pixels are freed with their arrays
        hdus = fits.open(stream, mode="readonly", memmap=True)
        yield list(_safe_hdus(hdus, count))


def _safe_hdus(hdus, count):
    for number in range(count):
        try:
            yield hdus[number]
        except IndexError:  # astropy found fault with it and said so in a warning
            return


def _expander(magic, stream, path):
    """Return a file that expands a compressed one, or None."""
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=stream)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(stream)
    if magic.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(stream)
    if magic.startswith(b"\x1f\x9d"):
        try:
            from uncompresspy import LZWFile
        except ModuleNotFoundError as exc:
            msg = (
                f"{path} is compressed with LZW (.Z): install the package "
                "'uncompresspy', or expand the file with: uncompress FILE"
            )
            raise ImageConversionError(msg) from exc
        return LZWFile(stream)
    return None


def _expand(expander, path, folder):
    """Return a temporary file with the expanded content."""
    size = path.stat().st_size
    limit = min(_MAX_EXPANDED, max(_FREE_EXPANSION, _MAX_RATIO * size))
    target = folder / "expanded.fits"
    done = 0
    with target.open("wb") as stream:
        while block := expander.read(1 << 20):
            done += len(block)
            if done > limit:
                msg = (
                    f"{path} ({size} bytes) expands to more than {limit} bytes; "
                    "expand it yourself if you trust it"
                )
                raise ImageConversionError(msg)
            stream.write(block)
    return target.open("rb")


def hdu_shape(hdu):
    """
    Return the shape of an image HDU without reading it.

    Parameters
    ----------
    hdu : HDU
        Any HDU.

    Returns
    -------
    shape : tuple of int
        Numpy order; empty for an HDU without image.
    """
    if not isinstance(hdu, IMAGE_HDUS):
        return ()
    return tuple(int(side) for side in hdu.shape)


def list_hdus(hdus):
    """
    Say in one line what a file holds.

    Parameters
    ----------
    hdus : sequence of HDU
        The HDUs.

    Returns
    -------
    text : str
        Index, name, version, kind and shape of the first 20.
    """
    parts = []
    for number, hdu in enumerate(hdus[:20]):
        kind = type(hdu).__name__
        shape = hdu_shape(hdu)
        text = f" {'x'.join(map(str, shape))}" if shape else ""
        parts.append(f"{number} {str(hdu.name)[:20]!r},{hdu.ver} {kind}{text}")
    if len(hdus) > 20:
        parts.append(f"and {len(hdus) - 20} more")
    return "It holds: " + "; ".join(parts or ["nothing"])


def check_claim(hdu, label):
    """
    Compare what a header claims with what the file can hold.

    Parameters
    ----------
    hdu : HDU
        Image HDU with a shape of two or more axes.
    label : str
        What to call it in an error.

    Raises
    ------
    ImageConversionError
        If the image is too large, or larger than the file.
    """
    shape = hdu_shape(hdu)
    pixels = math.prod(shape)
    if math.prod(shape[-2:]) > _MAX_PIXELS or max(shape[-2:]) > _MAX_SIDE:
        msg = (
            f"{label} claims {' x '.join(map(str, shape))} pixels; at most "
            f"{_MAX_PIXELS}, and {_MAX_SIDE} a side, can be shown"
        )
        raise ImageConversionError(msg)
    if "data" in vars(hdu):  # in memory already
        return
    claimed = pixels * abs(int(hdu.header["BITPIX"])) // 8
    if isinstance(hdu, fits.CompImageHDU):
        _check_tiles(hdu, claimed, label)
        return
    info = hdu.fileinfo()
    stream = info["file"] if info else None
    if stream is None or getattr(stream, "compression", None) is not None:
        return
    present = max(0, stream.size - info["datLoc"])
    if claimed > present:
        msg = (
            f"{label} is truncated: the header claims {claimed} bytes of pixels, "
            f"the file holds {present}"
        )
        raise ImageConversionError(msg)


def _check_tiles(hdu, claimed, label):
    """Bound the memory that one tile takes and the ratio of the compression."""
    tile = math.prod(int(side) for side in hdu.tile_shape)
    info = hdu.fileinfo()
    stream = info["file"] if info else None
    size = getattr(stream, "size", None)
    if tile * abs(int(hdu.header["BITPIX"])) // 8 > _MAX_TILE:
        msg = f"{label} has compressed tiles of {tile} pixels, too large to expand"
        raise ImageConversionError(msg)
    if size is not None and claimed > max(_FREE_EXPANSION, _MAX_TILE_RATIO * size):
        msg = f"{label} claims {claimed} bytes of pixels in a file of {size} bytes"
        raise ImageConversionError(msg)


def _check_streams(hdu):
    """
    Look at where compressed tiles lie, and at sizes inside HCOMPRESS streams.

    Astropy believes both: a negative position or a stream with more pixels
    than its tile reaches beyond the memory in question and the process dies.
    """
    table, info = getattr(hdu, "_bintable", None), hdu.fileinfo()
    if table is None or info is None:
        return
    header = table.header
    heap = header.get("THEAP", header["NAXIS1"] * header["NAXIS2"]) + info["datLoc"]
    for name in ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA", "UNCOMPRESSED_DATA"):
        if name in table.columns.names:
            places = np.asarray(table.data[name], dtype=np.int64)
            if places.ndim != 2 or places[:, 0].min(initial=0) < 0:
                msg = f"the column {name} holds no streams"
                raise ValueError(msg)
            if (places[:, 1] + heap).min(initial=0) < 0:
                msg = f"the column {name} points to a place before the file"
                raise ValueError(msg)
    if hdu.compression_type == "HCOMPRESS_1":
        _check_hcompress(hdu, table, heap, info["file"])


def _check_hcompress(hdu, table, heap, stream):
    """Compare the sizes inside the streams with the sizes of the tiles."""
    if "B" not in table.columns["COMPRESSED_DATA"].format:
        msg = "the column COMPRESSED_DATA does not hold bytes"
        raise ValueError(msg)
    shape, tile = hdu_shape(hdu), [int(side) for side in hdu.tile_shape]
    counts = [-(-side // step) for side, step in zip(shape, tile, strict=True)]
    places = table.data["COMPRESSED_DATA"]  # length and offset of each stream
    for number, (length, offset) in zip(np.ndindex(*counts), places, strict=False):
        if length < 10:
            continue  # the decoder refuses it, or the tile is stored otherwise
        room = math.prod(
            min(step, side - i * step)
            for i, step, side in zip(number, tile, shape, strict=True)
        )
        head = stream.readarray(offset=heap + int(offset), dtype=np.uint8, shape=(10,))
        sides = struct.unpack(">ii", head.tobytes()[2:])
        if min(sides) < 0 or math.prod(sides) > room:
            msg = f"a compressed tile claims {sides} pixels, there is room for {room}"
            raise ValueError(msg)


def hdu_layer(hdu, index):
    """
    Return a layer that reads one plane of an HDU in bands.

    Parameters
    ----------
    hdu : HDU
        Image HDU that passed `check_claim`.
    index : tuple of int
        Position on the axes before the last two.

    Returns
    -------
    layer : Layer
        The layer. Stored pixels are mapped and scaled band by band, compressed
        ones are read in sections, so that no full copy exists.
    """
    shape = hdu_shape(hdu)[-2:]
    if "data" in vars(hdu):
        return array_layer(np.asarray(hdu.data)[index])
    if isinstance(hdu, fits.CompImageHDU):
        _check_streams(hdu)
        step = max(1, int(hdu.tile_shape[-2]))
        return Layer(shape, _sections(hdu, index), parallel=False, step=step)
    return _raw_layer(hdu, index)


def _sections(hdu, index):
    return lambda y0, y1: np.asarray(hdu.section[(*index, slice(y0, y1))])


def _raw_layer(hdu, index):
    """Map the stored pixels and scale them band by band."""
    shape = hdu_shape(hdu)
    info = hdu.fileinfo()
    if info is None or info["file"] is None:
        return array_layer(np.asarray(hdu.data)[index])
    header = hdu.header
    dtype = np.dtype(_PIXEL_TYPES[header["BITPIX"]])
    number = int(np.ravel_multi_index(index, shape[:-2])) if index else 0
    offset = info["datLoc"] + number * math.prod(shape[-2:]) * dtype.itemsize
    raw = info["file"].readarray(offset=offset, dtype=dtype, shape=shape[-2:])
    scale, zero = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0))
    blank = header.get("BLANK") if dtype.kind in "iu" else None
    release = _page_releaser(raw)
    if (scale, zero, blank) == (1.0, 0.0, None):
        return Layer(shape[-2:], lambda y0, y1: release(y0, y1) or raw[y0:y1])
    work = np.float32 if dtype.itemsize <= 2 else np.float64

    def rows(y0, y1):
        release(y0, y1)
        stored = raw[y0:y1]
        band = stored.astype(work)
        band *= work(scale)
        band += work(zero)
        if blank is not None:
            band[stored == blank] = np.nan
        return band

    return Layer(shape[-2:], rows)


def _page_releaser(raw):
    """
    Return a function that gives back the memory of the band before a band.

    Mapped pages count as memory of the process until the system needs them
    elsewhere: 400 MB for a mosaic of 10,000 x 10,000 pixels. Nothing is lost,
    the pages are read again from the file when needed.
    """
    base = raw
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    if not isinstance(base, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return lambda y0, y1: None
    start = raw.ctypes.data - np.frombuffer(base, np.uint8).ctypes.data
    stride = raw.strides[0]

    def release(y0, y1):
        first = start + max(0, 2 * y0 - y1) * stride
        first -= first % mmap.PAGESIZE
        length = start + y0 * stride - first
        if length > 0:
            base.madvise(mmap.MADV_DONTNEED, first, length)

    return release


def as_path(source):
    """
    Return a path for a string or path-like object.

    Parameters
    ----------
    source : str or path-like
        Name of a file.

    Returns
    -------
    path : `~pathlib.Path`
        The path, with ``~`` expanded.

    Raises
    ------
    ImageConversionError
        If it cannot be a file name.
    """
    try:
        return Path(source).expanduser()
    except (TypeError, ValueError, RuntimeError) as exc:
        msg = f"{source!r} is not the name of a file"
        raise ImageConversionError(msg) from exc
