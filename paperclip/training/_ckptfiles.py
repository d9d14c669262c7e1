# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""How checkpoints are written, named, listed and removed."""

import json
import os
import re
import shutil
from pathlib import Path

from paperclip.exceptions import CheckpointWriteError

__all__ = ["NAME", "STATE", "list_checkpoints", "point", "prune", "sync"]

NAME = re.compile(r"step-(\d{6,})")
"""Name of a checkpoint."""

STATE = "state.json"
"""File in it that says what it is."""


def write_error(path, exc):
    """
    Say that something could not be written.

    Parameters
    ----------
    path : path-like
        What.
    exc : OSError
        Why.

    Returns
    -------
    error : CheckpointWriteError
        To be raised.
    """
    msg = (
        f"{path} cannot be written ({exc.strerror or exc}); the last checkpoint is "
        "intact. Make room, or see that the directory can be written, and start the "
        "run again, it goes on from there"
    )
    return CheckpointWriteError(msg)


def point(path, name):
    """Let a small file hold the name of a checkpoint, in one piece."""
    part = path.with_name(f".part-{os.getpid()}-{path.name}")
    try:
        part.write_text(name + "\n", encoding="ascii")
        sync(part)
        part.replace(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_tensors(path, tensors):
    """Write tensors as safetensors, and wait until they are on disk."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {
        name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()
    }
    try:
        save_file(tensors, path)
    except SafetensorError as exc:  # it wraps what the system says
        raise OSError(str(exc)) from exc
    sync(path)


def sync(path):
    """Wait until a file or a directory is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_checkpoints(folder):
    """
    List the checkpoints of a run.

    Parameters
    ----------
    folder : path-like
        The run's ``checkpoints``.

    Returns
    -------
    checkpoints : list of `~pathlib.Path`
        Oldest first.
    """
    folder = Path(folder)
    found = folder.iterdir() if folder.is_dir() else []
    named = [(int(m[1]), p) for p in found if (m := NAME.fullmatch(p.name))]
    return [path for _, path in sorted(named)]


def prune(folder, keep, metric, mode):
    """
    Remove checkpoints that are neither the last one nor among the best.

    Parameters
    ----------
    folder : path-like
        The run's ``checkpoints``.
    keep : int
        How many of the best are kept.
    metric : str
        What tells the best; without a figure, newer ones are better.
    mode : {"max", "min"}
        Whether larger or smaller is better.

    Returns
    -------
    removed : list of `~pathlib.Path`
        What is gone.
    """
    paths = list_checkpoints(folder)
    scored = []
    for number, path in enumerate(paths):
        try:
            state = json.loads((path / STATE).read_text(encoding="utf-8"))
            value = state["metrics"].get(metric)
        except (OSError, ValueError, KeyError):
            value = None
        if value is None:
            scored.append((False, 0.0, number, path))
        else:  # of equal ones the first, as it is the one that was marked
            scored.append((True, value if mode == "max" else -value, -number, path))
    scored.sort(key=lambda item: item[:3], reverse=True)
    kept = {path for *_, path in scored[:keep]} | set(paths[-1:])
    removed = [path for path in paths if path not in kept]
    for path in removed:
        # under another name first: a half removed one must not look whole
        doomed = path.with_name(f".part-{os.getpid()}-gone-{path.name}")
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    return removed
