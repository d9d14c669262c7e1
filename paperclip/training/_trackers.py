# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Send the curves of a run to TensorBoard or Weights & Biases."""

import uuid
from pathlib import Path

from paperclip.utils.files import atomic_path
from paperclip.utils.optional import import_optional

__all__ = ["make_trackers"]


def make_trackers(names, directory, config, *, step=0):
    """
    Make callbacks that send curves elsewhere.

    Parameters
    ----------
    names : sequence of {"tensorboard", "wandb"}
        Where to.
    directory : path-like
        The run.
    config : `~paperclip.training.TrainingConfig`
        Its settings, for the record.
    step : int, optional
        Steps that were done before; curves go on behind them.

    Returns
    -------
    trackers : list
        Each is called with a `Progress` and has ``close``.

    Raises
    ------
    MissingDependencyError
        If a package is not installed.
    """
    kinds = {"tensorboard": TensorBoard, "wandb": Wandb}
    return [kinds[name](Path(directory), config, step) for name in names]


class TensorBoard:
    """Write event files into ``tensorboard/`` of a run."""

    def __init__(self, directory, config, step):
        purpose = "run.log 'tensorboard'"
        import_optional("tensorboard", extra="train", purpose=purpose)
        from torch.utils.tensorboard import SummaryWriter

        # steps behind the checkpoint that a killed run had done are done again
        again = {"purge_step": step + 1} if step else {}
        self._writer = SummaryWriter(str(directory / "tensorboard"), **again)
        if not step:
            self._writer.add_text("config", f"```\n{config.to_toml()}\n```", 0)

    def __call__(self, progress):
        """Send the figures of a step."""
        for name, value in _figures(progress).items():
            self._writer.add_scalar(name, value, progress.step)

    def close(self):
        """Write what is left."""
        self._writer.close()


class Wandb:
    """Log to Weights & Biases, as its own settings say where and who."""

    def __init__(self, directory, config, step):
        wandb = import_optional("wandb", extra="wandb", purpose="run.log 'wandb'")
        self._run = wandb.init(
            project="paperclip",
            dir=str(directory),
            config=config.to_dict(),
            id=_kept_name(directory / "wandb-id"),
            resume="allow",
        )

    def __call__(self, progress):
        """Send the figures of a step."""
        self._run.log(_figures(progress), step=progress.step)

    def close(self):
        """End the run there."""
        self._run.finish()


def _kept_name(path):
    """Return the name of the run there, which all its starts share."""
    if not path.is_file():
        with atomic_path(path) as part:
            part.write_text(uuid.uuid4().hex[:16] + "\n", encoding="ascii")
    return path.read_text(encoding="ascii").strip()


def _figures(progress):
    figures = {
        f"train/{name}": getattr(progress, name)
        for name in ("loss", "lr", "logit_scale", "grad_norm", "samples_per_second")
    }
    return figures | {f"validation/{k}": v for k, v in progress.metrics.items()}
