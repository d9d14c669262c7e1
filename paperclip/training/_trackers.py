# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Send the curves of a run to TensorBoard or Weights & Biases."""

from pathlib import Path

from paperclip.utils.optional import import_optional

__all__ = ["make_trackers"]


def make_trackers(names, directory, config):
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
    return [kinds[name](Path(directory), config) for name in names]


class TensorBoard:
    """Write event files into ``tensorboard/`` of a run."""

    def __init__(self, directory, config):
        purpose = "run.log 'tensorboard'"
        import_optional("tensorboard", extra="train", purpose=purpose)
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory / "tensorboard"))
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

    def __init__(self, directory, config):
        wandb = import_optional("wandb", extra="wandb", purpose="run.log 'wandb'")
        self._run = wandb.init(
            project="paperclip", dir=str(directory), config=config.to_dict()
        )

    def __call__(self, progress):
        """Send the figures of a step."""
        self._run.log(_figures(progress), step=progress.step)

    def close(self):
        """End the run there."""
        self._run.finish()


def _figures(progress):
    figures = {
        f"train/{name}": getattr(progress, name)
        for name in ("loss", "lr", "logit_scale", "grad_norm", "samples_per_second")
    }
    return figures | {f"validation/{k}": v for k, v in progress.metrics.items()}
