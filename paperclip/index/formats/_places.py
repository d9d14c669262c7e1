# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""New files and folders: whole under their names, or not there at all."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from paperclip.exceptions import ExportError, InvalidQueryError

__all__ = ["new_file", "new_folder"]


def _target(path, *, overwrite):
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        msg = f"path must be the name of a new file or folder, got {path!r}"
        raise InvalidQueryError(msg)
    if "://" in os.fspath(path):
        msg = f"path must be on a local disk, got {path!r}; copy it there afterwards"
        raise InvalidQueryError(msg)
    path = Path(path).expanduser().absolute()
    if path.exists() and not overwrite:
        msg = f"{path} is there already; choose another name, or give overwrite=True"
        raise ExportError(msg)
    return path


@contextmanager
def _part(path):
    """Yield a name beside ``path`` and turn what the disk says into our error."""
    part = path.with_name(f".part-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
    except OSError as exc:
        if isinstance(exc, ExportError) or exc.errno is None:
            raise
        msg = f"{path} cannot be written: {exc.strerror or exc}"
        raise ExportError(msg) from exc
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        elif part.exists():
            part.unlink()


@contextmanager
def new_file(path, *, overwrite):
    """
    Yield a temporary name that becomes ``path`` if the block succeeds.

    Parameters
    ----------
    path : path-like
        Name of the file.
    overwrite : bool
        Replace a file that is there.

    Yields
    ------
    part : `~pathlib.Path`
        Where to write.

    Raises
    ------
    ExportError
        If there is something already, or the file cannot be written.
    """
    path = _target(path, overwrite=overwrite)
    if path.is_dir():
        msg = f"{path} is a folder; give the name of a file"
        raise ExportError(msg)
    with _part(path) as part:
        yield part
        part.replace(path)


@contextmanager
def new_folder(path, *, overwrite, mark):
    """
    Yield a temporary folder that becomes ``path`` if the block succeeds.

    Parameters
    ----------
    path : path-like
        Name of the folder.
    overwrite : bool
        Replace a folder that is there, if it has the file ``mark``.
    mark : str
        File that tells what may be replaced.

    Yields
    ------
    part : `~pathlib.Path`
        New, empty folder.

    Raises
    ------
    ExportError
        If there is something already, or the folder cannot be written.
    """
    path = _target(path, overwrite=overwrite)
    known = path.is_dir() and ((path / mark).exists() or not any(path.iterdir()))
    if path.exists() and not known:
        msg = f"{path} is not a folder with {mark!r}; it is left as it is"
        raise ExportError(msg)
    with _part(path) as part:
        part.mkdir()
        yield part
        old = path.with_name(f".old-{os.getpid()}-{path.name}")
        if path.exists():
            path.rename(old)
        part.rename(path)
        shutil.rmtree(old, ignore_errors=True)
