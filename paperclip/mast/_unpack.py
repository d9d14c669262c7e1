# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read small archives (gzip, zip) in memory, within limits of size."""

import io
import zipfile
import zlib

from paperclip.exceptions import CatalogueError

__all__ = ["gunzip", "is_gzip", "is_zip", "unzip"]

_MAX_MEMBERS = 1000
# other methods may ask for a lot of memory before the first byte comes out
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    UnicodeError,
    ValueError,
)


def is_gzip(data):
    """Return whether some bytes start like a gzip file."""
    return data[:2] == b"\x1f\x8b"


def is_zip(data):
    """Return whether some bytes start like a zip file."""
    return data[:4] in {b"PK\x03\x04", b"PK\x05\x06"}


def gunzip(data, *, name, max_bytes):
    """
    Return the content of a gzip file.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What it is, for messages.
    max_bytes : int
        Largest content.

    Returns
    -------
    content : bytes
        All members, one after the other.

    Raises
    ------
    CatalogueError
        If it is damaged, ends early or holds more than ``max_bytes``.
    """
    parts, total = [], 0
    while data:
        stream = zlib.decompressobj(wbits=31)
        try:
            parts.append(stream.decompress(data, max_bytes - total + 1))
        except zlib.error as exc:
            msg = f"{name} is a damaged gzip file: {exc}"
            raise CatalogueError(msg) from exc
        total += len(parts[-1])
        if total > max_bytes:
            raise CatalogueError(_too_large(name, max_bytes))
        if not stream.eof:
            msg = f"{name} is a gzip file that ends early"
            raise CatalogueError(msg)
        data = stream.unused_data.lstrip(b"\0")
    return b"".join(parts)


def unzip(data, *, name, suffixes, max_bytes, most=8):
    """
    Yield the members of a zip file that have one of some suffixes.

    Names are only compared, never used as paths.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What it is, for messages.
    suffixes : tuple of str
        Endings of the names wanted, in lower case.
    max_bytes : int
        Largest content of all members together.
    most : int, optional
        Members that are read at most.

    Yields
    ------
    content : bytes
        One member.

    Raises
    ------
    CatalogueError
        If the file is damaged, encrypted or compressed in an unusual way,
        has more than 1000 members, or more content than ``max_bytes``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                msg = f"{name} is a zip file of {len(members)} members; at most "
                msg += f"{_MAX_MEMBERS} are allowed"
                raise CatalogueError(msg)
            wanted = [
                member
                for member in members
                if member.filename.lower().endswith(suffixes)
            ]
            left = max_bytes
            for member in wanted[:most]:
                content = _member(archive, member, name, left)
                if len(content) > left:
                    raise CatalogueError(_too_large(name, max_bytes))
                left -= len(content)
                yield content
    except _BROKEN as exc:
        if isinstance(exc, CatalogueError):
            raise
        msg = f"{name} is a zip file that cannot be read: {exc}"
        raise CatalogueError(msg) from exc


def _member(archive, member, name, left):
    """Return at most one byte more of a member than what is allowed."""
    if member.compress_type not in _METHODS:
        msg = f"{name} is a zip file with the unusual compression method "
        msg += f"{member.compress_type}"
        raise CatalogueError(msg)
    with archive.open(member) as stream:
        return stream.read(left + 1)


def _too_large(name, max_bytes):
    return f"{name} holds more than {max_bytes / 1e6:.0f} MB when unpacked"
