# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Open FITS files that nobody has checked: bounded, and with our own errors."""

import bz2
import gzip
import lzma
import struct
import tempfile
import warnings
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path

from astropy.io import fits

from paperclip.exceptions import ImageConversionError, PaperclipError

from .prescan import count_safe_hdus

__all__ = ["as_path", "open_fits", "reading"]

try:  # a plain Exception that astropy raises for damaged compressed tiles
    from astropy.io.fits.hdu.compressed._compression import CfitsioException
except ImportError:  # pragma: no cover
    CfitsioException = ValueError

_MAX_EXPANDED = 1 << 32
_MAX_RATIO = 100  # of compressed files; noise compresses by a factor of 2 to 10
_FREE_EXPANSION = 1 << 26  # below this the ratio does not matter

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
