# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Train a model on pairs of pictures and texts.

A run is a directory (``run.output``):

``config.toml``
    The whole configuration.
``environment.json``
    Versions of packages, machine, seed, hash of the data and of the base model,
    pairs that were left out; ``finished`` holds the last step and the best one, and
    the figures of the result with ``model.wise`` below 1.
``history.parquet``
    One row per step: ``step, epoch, loss, lr, logit_scale, grad_norm, failed,
    seconds, samples_per_second``, and the figures on validation pairs where there
    was an evaluation.
``captions.parquet``
    ``step, key, source, item, start, end`` of the first 200,000 captions drawn.
``checkpoints/step-000100/``
    See ``paperclip.training.checkpoint``; ``checkpoints/last`` and
    ``checkpoints/best`` hold the name of one.
``.paperclip-lock``
    Held while a run goes on, so that no other one begins here.
``model/``
    The finished model in the layout that `~paperclip.models.load_encoder` reads.
"""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paperclip.exceptions import InvalidQueryError

from ._run import Run
from .config import TrainingConfig

__all__ = ["Progress", "TrainingResult", "finetune"]


@dataclass(frozen=True)
class TrainingResult:
    """
    What came out of a run.

    Parameters
    ----------
    directory : `~pathlib.Path`
        The run; ``directory / "model"`` is the finished model.
    best : int
        Step whose weights were taken.
    metrics : dict of str to float
        Figures on validation pairs in that step, of the result itself with
        ``model.wise`` below 1; empty without such pairs.
    history : `~astropy.table.Table`
        The curve, one row per step.
    steps : int
        Steps that were done.
    stopped : str
        Why it ended: "steps" (all done) or "patience" (no better figures).
    """

    directory: Path
    best: int
    metrics: dict
    history: Any = field(repr=False)
    steps: int
    stopped: str

    @property
    def model(self):
        """Directory of the finished model."""
        return self.directory / "model"


@dataclass(frozen=True)
class Progress:
    """
    Where a run stands; callbacks get one after every step.

    Parameters
    ----------
    directory : `~pathlib.Path`
        The run.
    step, steps : int
        Steps that were done, and of the whole run.
    epoch : int
        Pass over the pairs, from 0.
    loss, lr, logit_scale, grad_norm : float
        Of this step; the factor on the cosines, not its logarithm.
    samples_per_second : float
        Pairs per second, over all processes.
    seconds_left : float
        Estimate of the time until the last step.
    metrics : dict of str to float
        Figures of an evaluation after this step, else empty.
    """

    directory: Path
    step: int
    steps: int
    epoch: int
    loss: float
    lr: float
    logit_scale: float
    grad_norm: float
    samples_per_second: float
    seconds_left: float
    metrics: dict


def finetune(config, *, pairs=None, validation=None, resume=True, callbacks=()):
    """
    Train a model.

    Parameters
    ----------
    config : `TrainingConfig`, mapping, or path-like
        Settings; a file is read by `TrainingConfig.from_file`.
    pairs : `PairList`, optional
        What it is trained on; by default the part ``data.train`` of the data
        sets or tables in ``data.path``, see `read_pairs`.
    validation : `PairList`, optional
        What checkpoints are compared on; by default the part
        ``data.validation``. Without any, the last weights are the result.
    resume : bool, optional
        Whether to go on from the last checkpoint in ``run.output``, if there
        is one. Seed, settings and data must be those that it began with.
    callbacks : sequence of callable
        Called with a `Progress` after each step, in the main process.

    Returns
    -------
    result : `TrainingResult`
        Directory, best step and curve.

    Raises
    ------
    InvalidQueryError
        If settings cannot be used.
    DataSetError
        If there are too few pairs, groups or readable pictures.
    ModelNotFoundError, ModelLoadError
        If the base model cannot be used.
    CheckpointError
        If ``run.output`` holds a run with other settings, data or model, with
        the differences, or if another process trains there.
    CheckpointWriteError
        If the disk is full; the last checkpoint is intact.
    TrainingError
        If loss or gradient is not finite; step and pairs are named, and the
        last checkpoint is kept.

    Warns
    -----
    FailedRowsWarning
        If pictures cannot be read; they are left out.
    TrainingWarning
        If groups are too large for the batches, a checkpoint is damaged,
        ``data.path`` has no validation pairs or has groups in both parts, or
        the file system of ``run.output`` has no locks.

    Notes
    -----
    With ``torchrun`` or ``accelerate launch`` every process calls this with
    the same arguments. They share each batch, and the loss is that of the whole
    batch, so the curve does not depend on their number, but for models with
    dropout, which each process draws for its part. The same holds for
    ``optim.accumulate``, which changes neither the loss nor its wrong answers.

    After a kill, the run goes on from its last checkpoint and ends with the same
    weights, bit for bit on the same machine with the same number of threads.
    Pictures are read in ``run.workers`` threads.
    """
    run = Run(_config(config), pairs, validation, resume=resume)
    try:
        run.open()
        _loop(run, list(callbacks))
        return _finish(run)
    finally:
        run.close()


def _config(config):
    if isinstance(config, TrainingConfig):
        return config
    if isinstance(config, str | os.PathLike):
        return TrainingConfig.from_file(config)
    if isinstance(config, Mapping):
        return TrainingConfig.from_dict(config)
    msg = f"config must be a TrainingConfig or a file, got {type(config).__name__}"
    raise InvalidQueryError(msg)


def _loop(run, callbacks):
    """Make steps until there are enough, or nothing gets better."""
    callbacks = [*callbacks, *run.trackers] if run.process.is_main else []
    settings = run.config.run
    first, began = run.step, time.monotonic()
    stream = run.batches()
    try:
        while run.step < run.steps and not run.stopped:
            start = time.monotonic()
            figures = run.update(next(stream))
            figures["seconds"] = time.monotonic() - start
            run.record(figures)
            metrics = {}
            last = run.step == run.steps
            if run.step % settings.eval_every == 0 or last:
                metrics = run.evaluate()
            better = bool(metrics) and run.best["step"] == run.step
            several = bool(metrics) and settings.keep > 1
            due = run.step % settings.save_every == 0 or last or run.stopped
            if due or better or several:
                run.save(metrics)
            pace = (time.monotonic() - began) / (run.step - first)
            progress = _progress(run, figures, metrics, pace)
            for callback in callbacks:
                callback(progress)
    finally:
        stream.close()


def _progress(run, figures, metrics, pace):
    return Progress(
        directory=run.directory,
        step=run.step,
        steps=run.steps,
        epoch=figures["epoch"],
        loss=figures["loss"],
        lr=figures["lr"],
        logit_scale=figures["logit_scale"],
        grad_norm=figures["grad_norm"],
        samples_per_second=run.config.optim.batch_size / max(1e-9, figures["seconds"]),
        seconds_left=pace * (run.steps - run.step),
        metrics=metrics,
    )


def _finish(run):
    """Write the model of the best step."""
    best, metrics = run.export()
    return TrainingResult(
        directory=run.directory,
        best=best,
        metrics={k: v for k, v in metrics.items() if math.isfinite(v)},
        history=run.history.table(),
        steps=run.step,
        stopped="patience" if run.stopped else "steps",
    )
