# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""One update of the weights."""

import hashlib
import math
from contextlib import contextmanager, nullcontext

from paperclip.exceptions import TrainingError

from .losses import (
    gather_features,
    paper_loss,
    positive_mask,
    sigmoid_loss,
    softmax_loss,
)

__all__ = ["Stepper", "autocast", "contrastive_loss"]

_NAMED = 5


def contrastive_loss(settings, model, image, text, labels):
    """
    Compute the loss of a whole batch.

    Parameters
    ----------
    settings : `~paperclip.training.LossSettings`
        Which one.
    model : paperclip.training.model.Trainable
        Has the scale and the bias.
    image, text : `torch.Tensor`, shape (n, d)
        Unit rows of all processes.
    labels : `torch.Tensor`, shape (n, 2)
        Groups and codes of captions.

    Returns
    -------
    loss : `torch.Tensor`, shape ()
        In nats.
    """
    scale = model.log_scale.reshape(())
    if settings.kind == "paper":
        return paper_loss(image, text, scale)
    chosen = {
        "group": (labels[:, 0],),
        "text": (labels[:, 1],),
        "both": (labels[:, 0], labels[:, 1]),
        "none": (),
    }[settings.positives]
    positives = positive_mask(*chosen) if chosen else None
    if settings.kind == "sigmoid":
        bias = model.bias.reshape(())
        return sigmoid_loss(image, text, scale, bias, positives)
    return softmax_loss(image, text, scale, positives, settings.label_smoothing)


class Stepper:
    """
    Forward, backward, and the check that all of it is finite.

    Parameters
    ----------
    config : `~paperclip.training.TrainingConfig`
        Loss, precision, parts of a batch.
    model : paperclip.training.model.Trainable
        What is trained.
    process : paperclip.training._process.Process
        This process.
    optimizer : `torch.optim.Optimizer`
        Gets the gradients.
    frozen : paperclip.training._frozen.FrozenFeatures, optional
        Takes the place of frozen towers.
    """

    def __init__(self, config, model, process, optimizer, frozen=None):
        self.config, self.model, self.process = config, model, process
        self.frozen = frozen
        self.optimizer = optimizer
        self.towers = process.wrap(model)
        self._parameters = list(model.learnable().values())
        self._bf16 = config.model.precision == "bf16"

    def __call__(self, step, batch, keys):
        """
        Update the weights once.

        Parameters
        ----------
        step : int
            Step, from 1.
        batch : paperclip.training.loader.Batch
            This process's part of the batch.
        keys : list of str
            Keys of its pairs, for errors.

        Returns
        -------
        loss, norm : float
            Loss of the whole batch, and length of its gradient before it is
            clipped.

        Raises
        ------
        TrainingError
            If either is not finite; the weights stay as they were.
        """
        import torch

        device = self.process.device
        tensors = [torch.from_numpy(a) for a in (batch.frames, batch.ids, batch.labels)]
        frames, ids, labels = (t.to(device, non_blocking=True) for t in tensors)
        self.optimizer.zero_grad(set_to_none=True)
        parts = min(self.config.optim.accumulate, len(labels))
        if self.frozen is not None:
            frames, ids = self.frozen(batch, frames, ids)
        if parts == 1:
            with self._drawn(step, 0):
                image, text = self._forward(frames, ids)
                loss = self._loss(image, text, labels)
                loss.backward()
        else:
            image, text, loss = self._in_parts(step, frames, ids, labels, parts)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._not_finite(step, "the loss", value, image, text, keys)
        clip = self.config.optim.clip_norm
        norm = float(
            torch.nn.utils.clip_grad_norm_(
                self._parameters, math.inf if clip is None else clip
            )
        )
        if not math.isfinite(norm):
            raise self._not_finite(step, "the gradient", norm, image, text, keys)
        self.optimizer.step()
        return value, norm

    def _forward(self, frames, ids):
        with autocast(self.process.device, self._bf16):
            return self.towers(frames, ids)

    def _loss(self, image, text, labels):
        image, text, labels = gather_features(image, text, labels)
        return contrastive_loss(self.config.loss, self.model, image, text, labels)

    def _in_parts(self, step, frames, ids, labels, parts):
        """
        Work on a batch part by part, with the loss of the whole.

        Features are computed without gradients first; the gradient of the loss
        for each of them is then carried into the towers, one part after the
        other, in a second pass with the same dropout: Gao et al. 2021,
        arXiv:2101.06983.
        """
        import torch

        frames, ids = frames.tensor_split(parts), ids.tensor_split(parts)
        rows = []
        with torch.no_grad(), _still_statistics(self.model.clip):
            for n in range(parts):
                with self._drawn(step, n):
                    rows.append(self._forward(frames[n], ids[n]))
        image, text = (torch.cat(side) for side in zip(*rows, strict=True))
        image.requires_grad_()
        text.requires_grad_()
        loss = self._loss(image, text, labels)
        loss.backward()
        grads = [g.tensor_split(parts) for g in (image.grad, text.grad)]
        for n in range(parts):
            last = n == parts - 1
            sync = nullcontext() if last else self.process.no_sync(self.towers)
            with sync, self._drawn(step, n):
                outputs = self._forward(frames[n], ids[n])
                pairs = zip(outputs, (g[n] for g in grads), strict=True)
                pairs = [(out, grad) for out, grad in pairs if out.requires_grad]
                torch.autograd.backward(*map(list, zip(*pairs, strict=True)))
        return image, text, loss

    @contextmanager
    def _drawn(self, step, part):
        """Draw dropout from the seed, step and part, and from nothing else."""
        import torch

        device = self.process.device
        name = f"{self.config.run.seed}/{step}/{self.process.rank}/{part}"
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        seed = int.from_bytes(digest, "big") >> 1
        cuda = [device.index or 0] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            torch.default_generator.manual_seed(seed)
            for index in cuda:
                torch.cuda.default_generators[index].manual_seed(seed)
            yield

    def _not_finite(self, step, what, value, image, text, keys):
        import torch

        good = torch.isfinite(image.detach()).all(1) & torch.isfinite(text).all(1)
        bad = [key for key, fine in zip(keys, good.tolist(), strict=True) if not fine]
        named = bad or keys
        whom = "its vectors are not finite for" if bad else "the pairs of the batch are"
        shown = ", ".join(map(repr, named[:_NAMED]))
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        msg = (
            f"step {step}: {what} is {value}; {whom} {shown}{more}. Lower optim.lr, "
            "set optim.clip_norm or lengthen optim.warmup, or look at these pairs"
        )
        return TrainingError(msg, step=step, keys=named)


def autocast(device, bf16):
    """Return a context that computes in bf16, or one that does nothing."""
    import torch

    return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()


@contextmanager
def _still_statistics(model):
    """Keep running statistics from counting a batch twice."""
    norms = [m for m in model.modules() if hasattr(m, "running_mean") and m.training]
    kept = [m.momentum for m in norms]
    try:
        for module in norms:
            module.momentum = 0.0
        yield
    finally:
        for module, momentum in zip(norms, kept, strict=True):
            module.momentum = momentum
