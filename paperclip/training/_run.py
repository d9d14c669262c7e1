# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The state of a run, and how it is opened, advanced, saved and resumed."""

import json
import math
import time
from pathlib import Path

from paperclip.exceptions import (
    CheckpointError,
    InvalidQueryError,
    TrainingError,
)
from paperclip.utils.files import atomic_path

from . import checkpoint as cp
from ._export import write_model
from ._frozen import FrozenFeatures
from ._optim import Average, interpolated, make_optimizer, rate, set_rate
from ._process import find_process
from ._records import CaptionLog, History, data_hash, environment
from ._runinput import (
    check_sources,
    make_batches,
    make_loader,
    pair_list,
    read_parts,
    refuse_other_run,
)
from ._runlock import lock_run
from ._steps import Stepper
from ._trackers import make_trackers
from ._validate import make_validator
from .loader import readable_pairs, shuffled_pairs
from .losses import clamp_log_scale
from .model import build_trainable

__all__ = ["Run"]


class Run:
    """
    A run between its first and its last step.

    Parameters
    ----------
    config : `~paperclip.training.TrainingConfig`
        Settings.
    pairs, validation : `~paperclip.training.PairList` or None
        Pairs; by default those of ``data.path``.
    resume : bool
        Whether to go on from the last checkpoint.
    """

    def __init__(self, config, pairs, validation, *, resume):
        if config.run.output is None:
            msg = "run.output must name the directory of the run, got None"
            raise InvalidQueryError(msg)
        self.config = config
        self.directory = Path(config.run.output).expanduser()
        if self.directory.is_file():
            msg = f"run.output must be a directory, got the file {self.directory}"
            raise InvalidQueryError(msg)
        self.checkpoints = self.directory / "checkpoints"
        self.resume = resume
        self._given = pairs, validation
        self.step, self.stopped = 0, False
        self.best = {"step": 0, "value": None, "since": 0}
        self.trackers, self.frozen, self._lock = [], None, None
        self._place = (0, 0)  # epoch and number of the next batch

    # -- beginning ----------------------------------------------------------
    def open(self):
        """Read pairs, build the model, and go on from a checkpoint."""
        config = self.config
        self.process = find_process(config.run.device)
        self._open_pairs()
        self._lock = lock_run(self.directory, self.process)
        self._open_model()
        self._open_records()
        if config.run.cache_features:
            self.frozen = FrozenFeatures(
                self.directory / "features",
                config,
                self.model,
                self.process,
                data_hash=self.data_hash,
                n_pairs=len(self.pairs),
            )
        self.stepper = Stepper(
            config, self.model, self.process, self.optimizer, self.frozen
        )
        self.loader = make_loader(
            config, self.model, self.pairs, self.order, self.frozen
        )
        self.validator = None
        if self.process.is_main:
            self._open_validator()
            self._write_facts()
            self.trackers = make_trackers(
                config.run.log, self.directory, config, step=self.step
            )

    def _open_validator(self):
        if self.validation is not None:
            self.validator = make_validator(
                self.model,
                self.validation,
                self.config.captions.sources,
                self.process.device,
                workers=self.config.run.workers,
                frozen=self.frozen.sides if self.frozen else (),
            )
        if self.validator is None:
            self.validation = None

    def _open_pairs(self):
        config, (pairs, validation) = self.config, self._given
        if pairs is None:
            pairs, held = read_parts(config.data, validation=validation is None)
            validation = held if validation is None else validation
        pairs = pair_list("pairs", pairs)
        if config.data.max_per_group is not None:
            pairs = pairs.limit_groups(config.data.max_per_group, seed=config.run.seed)
        if config.data.limit is not None:
            pairs = pairs[: config.data.limit]
        check_sources(pairs, config.captions.sources)
        pairs, self.failed = readable_pairs(pairs, workers=config.run.workers)
        check_sources(pairs, config.captions.sources)
        if validation is not None:
            validation = pair_list("validation", validation)
        self.validation = validation if validation is not None and validation else None
        if config.run.shuffle_pairs:
            pairs = shuffled_pairs(pairs, config.run.seed)
        self.pairs = pairs
        self.data_hash = data_hash(pairs)
        held = self.validation
        self.validation_hash = None if held is None else data_hash(held)
        every = make_batches(config, pairs)
        optim = config.optim
        self.steps = optim.steps or math.ceil(optim.epochs * len(every))
        if optim.warmup > self.steps:
            msg = (
                f"optim.warmup must be at most the {self.steps} steps of the run, got "
                f"{optim.warmup}"
            )
            raise InvalidQueryError(msg)
        self.order = every.shard(self.process.rank, self.process.world)

    def _open_model(self):
        from paperclip.models.hub import resolve

        config = self.config
        self.model = build_trainable(
            resolve(config.model.base),
            config.model,
            config.loss,
            seed=config.run.seed,
            device=self.process.device,
        )
        self.base = None
        if config.model.wise < 1:
            self.base = {n: t.clone() for n, t in self.model.changing().items()}
        self.optimizer = make_optimizer(self.model, config.optim)
        self.average = None
        if config.model.ema:
            self.average = Average(self.model, config.model.ema)

    def _open_records(self):
        self.history = History(self.directory / "history.parquet")
        self.captions = CaptionLog(self.directory / "captions.parquet", self.pairs.keys)
        found = cp.last_checkpoint(self.checkpoints)
        if found is None:
            return
        if not self.resume:
            msg = (
                f"{self.directory} holds a run of {found.step} steps already; name "
                "another run.output, or let it go on (resume)"
            )
            raise CheckpointError(msg)
        refuse_other_run(found, self._same())
        cp.restore(
            found, model=self.model, optimizer=self.optimizer, average=self.average
        )
        state = found.state
        self.step, self._place = found.step, tuple(state["place"])
        self.best, self.stopped = state["best"], state["stopped"]
        self.history.read(self.step)
        self.captions.read(self.step)
        if self.process.is_main:
            self._mark(found)  # the last start may have been killed before it did

    def _identity(self):
        return sorted(self.model.checked.digests.values())

    def _same(self):
        """Return what must not change between the starts of a run."""
        return {
            "config": self.config.to_dict(),
            "config_hash": self.config.hash,
            "data_hash": self.data_hash,
            "pairs": len(self.pairs),
            "validation_hash": self.validation_hash,
            "base": self._identity(),
        }

    def _write_facts(self, **more):
        facts = environment(
            seed=self.config.run.seed,
            config_hash=self.config.hash,
            data_hash=self.data_hash,
            pairs=len(self.pairs),
            groups=len(set(self.pairs.groups)),
            validation_pairs=len(self.validation or ()),
            validation_groups=len(
                set(self.validation.groups if self.validation else ())
            ),
            base={"name": self.model.name, "digests": self._identity()},
            left_out=self.failed,
            processes=self.process.world,
            device=str(self.process.device),
            **more,
        )
        try:
            self.config.to_file(self.directory / "config.toml")
            with atomic_path(self.directory / "environment.json") as part:
                part.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        except OSError as exc:
            raise cp.write_error(self.directory, exc) from exc

    # -- steps --------------------------------------------------------------
    def batches(self):
        """Yield this process's part of the batches that are still to do."""
        epoch, place = self._place
        return self.loader.stream(epoch=epoch, step=place)

    def update(self, batch):
        """Make one step; return what is known about it."""
        step = self.step + 1
        self.model.train()
        lr = set_rate(self.optimizer, rate(self.config.optim, self.steps, step))
        keys = [self.pairs[int(i)].key for i in batch.index]
        try:
            loss, norm = self.stepper(step, batch, keys)
        except TrainingError as exc:
            raise self._with_checkpoint(exc) from exc
        settings = self.config.loss
        scale = clamp_log_scale(
            self.model.log_scale, settings.scale_min, settings.scale_max
        )
        if self.average is not None:
            self.average.update(self.model, step)
        self.step = step
        if self.process.is_main:
            self.captions.add(step, batch)
        last = batch.place + 1 == len(self.order)
        self._place = (batch.epoch + last, 0 if last else batch.place + 1)
        return {
            "step": step,
            "epoch": batch.epoch,
            "loss": loss,
            "lr": lr,
            "logit_scale": scale,
            "grad_norm": norm,
            "failed": len(batch.failed),
        }

    def _with_checkpoint(self, exc):
        self._write_records()
        kept = cp.list_checkpoints(self.checkpoints)
        where = (
            f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint yet"
        )
        return TrainingError(f"{exc}; {where}", step=exc.step, keys=exc.keys)

    def record(self, figures):
        """Append a row to the history."""
        seconds = figures["seconds"]
        pace = self.config.optim.batch_size / max(seconds, 1e-9)
        self.history.add(
            **figures
            | {"seconds": self.history.seconds + seconds, "samples_per_second": pace}
        )

    def evaluate(self):
        """Compute figures on validation pairs; note whether they are the best."""
        settings, metrics = self.config.run, {}
        if self.validator is not None:
            if self.average is not None:
                self.average.swap(self.model)
            try:
                metrics = self.validator(self.step)
            except TrainingError as exc:
                raise self._with_checkpoint(exc) from exc
            finally:
                if self.average is not None:
                    self.average.swap(self.model)
            self.history.add_metrics(self.step, metrics)
            value, before = metrics[settings.metric], self.best["value"]
            sign = 1 if settings.metric_mode == "max" else -1
            if before is None or sign * value > sign * before:
                self.best = {"step": self.step, "value": value, "since": 0}
            else:
                self.best = {**self.best, "since": self.best["since"] + 1}
            patience = settings.patience
            self.stopped = patience is not None and self.best["since"] >= patience
        self.stopped = bool(self.process.agree(float(self.stopped))[0])
        return metrics

    # -- files --------------------------------------------------------------
    def save(self, metrics):
        """Write records and a checkpoint; remove those that are not kept."""
        if self.frozen is not None:
            self.frozen.sync()
        if not self.process.is_main:
            return
        self._write_records()
        state = {
            "place": list(self._place),
            "best": self.best,
            "stopped": self.stopped,
            "metrics": metrics,
            **self._same(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        saved = cp.save_checkpoint(
            self.checkpoints,
            self.step,
            state,
            model=self.model,
            optimizer=self.optimizer,
            average=self.average,
        )
        self._mark(saved)
        settings = self.config.run
        cp.prune(self.checkpoints, settings.keep, settings.metric, settings.metric_mode)

    def _mark(self, checkpoint):
        """Let a checkpoint be the best, if it is so far."""
        if not self.validation or self.best["step"] == self.step:
            cp.mark_best(self.checkpoints, checkpoint)

    def _write_records(self):
        if not self.process.is_main:
            return
        try:
            self.history.write()
            self.captions.write()
        except OSError as exc:
            raise cp.write_error(self.directory, exc) from exc

    def export(self):
        """Write the model of the best step; return the step and its figures."""
        self.process.agree(0.0)  # the main process has written its files
        best = cp.best_checkpoint(self.checkpoints)
        cp.load_weights(best, self.model)
        finished = {"step": self.step, "best": best.step}
        metrics = best.metrics
        if self.base is not None:
            share = self.config.model.wise
            targets = self.model.changing()
            for name, tensor in interpolated(targets, self.base, share).items():
                targets[name].copy_(tensor)
            # the figures of the step are those of the trained weights alone
            metrics = {} if self.validator is None else self.validator(best.step)
            finished["metrics"] = metrics
        self.model.towers.eval()
        if self.process.is_main:
            try:
                write_model(self.model, self.directory / "model")
            except OSError as exc:
                raise cp.write_error(self.directory / "model", exc) from exc
            self._write_facts(finished=finished)
        self.process.agree(0.0)
        if self.frozen is not None:
            self.frozen.close(remove=True)
        return best.step, metrics

    def close(self):
        """End what was begun."""
        try:
            if self.frozen is not None:
                self.frozen.close()
            for tracker in self.trackers:
                tracker.close()
        finally:
            if self._lock is not None:
                self._lock.release()
