# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Checkpoints: directories that are complete or not there at all.

``checkpoints/step-000100/`` holds ``weights.safetensors`` (what training
changes), ``average.safetensors`` (the running average, if there is one),
``optimizer.safetensors``, and ``state.json``: step, place of the next batch,
figures, configuration, identity of base model and data, SHA-256 of the files.
The files ``checkpoints/last`` and ``checkpoints/best`` hold the name of one.
Nothing in them is a pickle.
"""

import json
import os
import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from paperclip.exceptions import CheckpointError, TrainingWarning
from paperclip.utils.files import sha256_of

from ._ckptfiles import (
    NAME,
    STATE,
    list_checkpoints,
    point,
    prune,
    sync,
    write_error,
    write_tensors,
)

__all__ = [
    "Checkpoint",
    "best_checkpoint",
    "last_checkpoint",
    "list_checkpoints",
    "load_weights",
    "prune",
    "restore",
    "save_checkpoint",
]

_WEIGHTS = "weights.safetensors"
_AVERAGE = "average.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """
    A checkpoint on disk.

    Parameters
    ----------
    path : `~pathlib.Path`
        Its directory.
    step : int
        Updates that were done.
    state : dict
        Content of ``state.json``.
    """

    path: Path
    step: int
    state: dict = field(repr=False)

    @property
    def metrics(self):
        """The figures of the evaluation in this step, a dict, perhaps empty."""
        return self.state.get("metrics", {})


def save_checkpoint(folder, step, state, *, model, optimizer, average=None):
    """
    Write a checkpoint under a temporary name, and rename it when it is on disk.

    Parameters
    ----------
    folder : path-like
        The run's ``checkpoints``.
    step : int
        Updates that were done.
    state : dict
        What ``state.json`` is to say, beside the files' checksums.
    model : paperclip.training.model.Trainable
        The model.
    optimizer : `torch.optim.Optimizer`
        From ``paperclip.training._optim``: its groups know the names.
    average : paperclip.training._optim.Average, optional
        The running average.

    Returns
    -------
    checkpoint : Checkpoint
        What was written, or what was there already for this step.

    Raises
    ------
    CheckpointWriteError
        If the disk is full or the folder cannot be written. What was there
        before stays, and no half of a checkpoint is left.
    """
    folder = Path(folder)
    target = folder / f"step-{step:06d}"
    if target.is_dir():
        try:
            return read_checkpoint(target)
        except CheckpointError:  # its steps were done again
            shutil.rmtree(target, ignore_errors=True)
    part = folder / f".part-{os.getpid()}-{target.name}"
    tensors = {_WEIGHTS: model.changing(), _OPTIMIZER: _optimizer_tensors(optimizer)}
    if average is not None:
        tensors[_AVERAGE] = average.tensors
    try:
        part.mkdir(parents=True)
        for name, content in tensors.items():
            write_tensors(part / name, content)
        digests = {name: sha256_of(part / name) for name in tensors}
        state = {"format": _FORMAT, "step": step, **state, "files": digests}
        (part / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
        sync(part / STATE)
        sync(part)
        part.rename(target)
        sync(folder)
        point(folder / "last", target.name)
    except OSError as exc:
        raise write_error(target, exc) from exc
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Checkpoint(target, step, state)


def mark_best(folder, checkpoint):
    """
    Let ``best`` name a checkpoint.

    Parameters
    ----------
    folder : path-like
        The run's ``checkpoints``.
    checkpoint : Checkpoint
        The one.
    """
    try:
        point(Path(folder) / "best", checkpoint.path.name)
    except OSError as exc:
        raise write_error(Path(folder) / "best", exc) from exc


def _optimizer_tensors(optimizer):
    tensors = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{key}/{name}"] = value
    return tensors


def read_checkpoint(path):
    """
    Check a checkpoint and read what it says about itself.

    Parameters
    ----------
    path : path-like
        Its directory.

    Returns
    -------
    checkpoint : Checkpoint
        Its files are there and agree with their checksums.

    Raises
    ------
    CheckpointError
        If it is incomplete or damaged.
    """
    path = Path(path)
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        bad = [n for n, d in state["files"].items() if sha256_of(path / n) != d]
        if state["format"] != _FORMAT or bad:
            msg = f"checkpoint {path} is damaged or of another version: {bad or STATE}"
            raise CheckpointError(msg)
        return Checkpoint(path, int(state["step"]), state)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        if isinstance(exc, CheckpointError):
            raise
        msg = f"checkpoint {path} cannot be read: {type(exc).__name__}: {exc}"
        raise CheckpointError(msg) from exc


def last_checkpoint(folder):
    """
    Find the newest checkpoint that is whole.

    Parameters
    ----------
    folder : path-like
        The run's ``checkpoints``. Halves of checkpoints are removed.

    Returns
    -------
    checkpoint : Checkpoint or None
        None if there is none.

    Raises
    ------
    CheckpointError
        If there are checkpoints, but none that can be read.

    Warns
    -----
    TrainingWarning
        If a newer one is damaged.
    """
    folder = Path(folder)
    for part in folder.glob(".part-*"):
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
    error = None
    for path in reversed(list_checkpoints(folder)):
        try:
            found = read_checkpoint(path)
        except CheckpointError as exc:
            error = error or exc
            continue
        if error is not None:
            msg = f"{error}; the run goes on from {path.name}"
            warnings.warn(msg, TrainingWarning, stacklevel=3)
        return found
    if error is not None:
        raise error
    return None


def best_checkpoint(folder):
    """
    Find the checkpoint that ``best`` names.

    Parameters
    ----------
    folder : path-like
        The run's ``checkpoints``.

    Returns
    -------
    checkpoint : Checkpoint or None
        The newest one if none was marked.
    """
    folder = Path(folder)
    try:
        name = (folder / "best").read_text(encoding="ascii").strip()
    except OSError:
        return last_checkpoint(folder)
    if not NAME.fullmatch(name):
        msg = f"{folder / 'best'} must name a checkpoint, got {name[:40]!r}"
        raise CheckpointError(msg)
    return read_checkpoint(folder / name)


def load_weights(checkpoint, model, *, average=True):
    """
    Put the weights of a checkpoint into a model.

    Parameters
    ----------
    checkpoint : Checkpoint
        From `last_checkpoint` or `best_checkpoint`.
    model : paperclip.training.model.Trainable
        Built from the same base and settings; it is changed in place.
    average : bool, optional
        Whether the running average is taken where there is one.

    Raises
    ------
    CheckpointError
        If the tensors are not those of the model.
    """
    name = _AVERAGE if average and _AVERAGE in checkpoint.state["files"] else _WEIGHTS
    _copy(_read(checkpoint.path / name), model.changing(), checkpoint.path / name)


def _read(path):
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as exc:
        msg = f"{path} cannot be read: {exc}"
        raise CheckpointError(msg) from exc


def _copy(tensors, targets, path):
    import torch

    odd = sorted(set(tensors) ^ set(targets))
    odd = odd or [n for n, t in targets.items() if t.shape != tensors[n].shape]
    if odd:
        msg = (
            f"{path} is of another model: {len(odd)} tensors differ, {odd[0]!r} for "
            "example"
        )
        raise CheckpointError(msg)
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(tensors[name])


def restore(checkpoint, *, model, optimizer, average=None):
    """
    Bring model, optimizer and average to where a checkpoint was taken.

    Parameters
    ----------
    checkpoint : Checkpoint
        From `last_checkpoint`.
    model : paperclip.training.model.Trainable
        Built from the same base and settings.
    optimizer : `torch.optim.Optimizer`
        Made for it.
    average : paperclip.training._optim.Average, optional
        Made for it.

    Raises
    ------
    CheckpointError
        If it belongs to another model.
    """
    load_weights(checkpoint, model, average=False)
    if average is not None:
        path = checkpoint.path / _AVERAGE
        _copy(_read(path), average.tensors, path)
    tensors = _read(checkpoint.path / _OPTIMIZER)
    state = {}
    for key, tensor in tensors.items():
        kind, name = key.split("/", 1)
        state.setdefault(name, {})[kind] = tensor
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            if name in state:
                optimizer.state[parameter] = {
                    kind: _like(tensor, parameter)
                    for kind, tensor in state[name].items()
                }


def _like(tensor, parameter):
    """Put a tensor where its parameter is, in the same order in memory."""
    import torch

    if tensor.shape != parameter.shape:
        return tensor.to(parameter.device)
    # fused optimizers go through the memory of both side by side
    return torch.empty_like(parameter).copy_(tensor).detach()
