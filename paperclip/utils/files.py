# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write files so that a failure never leaves half of one behind."""

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path

from astropy import config as _config

__all__ = ["atomic_path", "cache_directory", "sha256_of"]


@contextmanager
def atomic_path(target):
    """
    Yield a temporary path that replaces ``target`` if the block succeeds.

    Parameters
    ----------
    target : path-like
        Final name. Its directory is created; an old file survives errors.

    Yields
    ------
    path : `~pathlib.Path`
        Where to write. It is on the same file system as ``target`` and keeps
        its suffix, so writers that look at the suffix work.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".part-{os.getpid()}-{target.name}")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def sha256_of(path):
    """
    Return the SHA-256 of a file.

    Parameters
    ----------
    path : path-like
        File to read, in blocks of 1 MiB.

    Returns
    -------
    digest : str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cache_directory():
    """
    Return the directory of downloaded files, creating it when missing.

    Returns
    -------
    path : `~pathlib.Path`
        ``paperclip.conf.cache_dir``, or the astropy cache of this package.
    """
    from paperclip import conf

    if conf.cache_dir:
        path = Path(conf.cache_dir).expanduser()
    elif hasattr(_config, "get_cache_dir_path"):
        path = Path(_config.get_cache_dir_path("paperclip"))
    else:
        path = Path(_config.get_cache_dir("paperclip"))
    path.mkdir(parents=True, exist_ok=True)
    return path
