# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Learning rates, weight decay, running averages."""

import math
import re

from paperclip.training._parts import tower_of

__all__ = ["Average", "interpolated", "make_optimizer", "rate", "set_rate"]

_BLOCK = re.compile(r"(?:resblocks|blocks|layers?|stages|h)\.(\d+)\.")
_RESNET = re.compile(r"visual\.layer(\d)\.")
_LAST = ("ln_post", "ln_final", "proj", "head", "norm.", "attnpool", "pooler")


def rate(optim, steps, step):
    """
    Return the factor on the learning rates in one step.

    Parameters
    ----------
    optim : `~paperclip.training.OptimSettings`
        Warm-up and schedule.
    steps : int
        Steps of the whole run.
    step : int
        Step, from 1.

    Returns
    -------
    factor : float
        It rises to 1 in the warm-up; "cosine" then ends near 0.
    """
    if step <= optim.warmup:
        return step / optim.warmup
    if optim.schedule == "constant":
        return 1.0
    done = (step - optim.warmup - 1) / max(1, steps - optim.warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


def make_optimizer(model, optim):
    """
    Make AdamW with a group for each learning rate and weight decay.

    Parameters
    ----------
    model : paperclip.training.model.Trainable
        What is trained.
    optim : `~paperclip.training.OptimSettings`
        Rates and the like.

    Returns
    -------
    optimizer : `torch.optim.AdamW`
        Its groups have ``names`` and ``base``, the largest learning rate.
        Biases, norms, embeddings of one dimension and the scale do not decay.
    """
    import torch

    decay, factors = model.settings.layer_decay, layer_factors(model)
    groups = {}
    for name, parameter in model.learnable().items():
        base = _base_rate(name, model, optim) * decay ** factors[name]
        shrink = optim.weight_decay if parameter.ndim > 1 else 0.0
        group = groups.setdefault((base, shrink), ([], []))
        group[0].append(name)
        group[1].append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "names": names,
                "base": base,
                "lr": base,
                "weight_decay": shrink,
            }
            for (base, shrink), (names, parameters) in groups.items()
        ],
        betas=tuple(optim.betas),
        eps=optim.eps,
        fused=all(p.device.type in {"cpu", "cuda"} for p in model.learnable().values()),
    )


def set_rate(optimizer, factor):
    """
    Set the learning rates of a step.

    Parameters
    ----------
    optimizer : `torch.optim.AdamW`
        From `make_optimizer`.
    factor : float
        From `rate`.

    Returns
    -------
    lr : float
        The largest rate of all groups.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * factor
    return max(group["lr"] for group in optimizer.param_groups)


def _base_rate(name, model, optim):
    if name.startswith(model.new) and optim.head_lr is not None:
        return optim.head_lr
    if tower_of(name) == "text" and "logit_" not in name and optim.text_lr is not None:
        return optim.text_lr
    return optim.lr


def layer_factors(model):
    """
    Count the layers above each parameter.

    Parameters
    ----------
    model : paperclip.training.model.Trainable
        What is trained.

    Returns
    -------
    above : dict of str to int
        0 for projections, heads, scale, and what is new; the exponent of the
        layer-wise decay of the learning rate.
    """
    names = list(model.learnable())
    timm = _timm_layers(model)
    levels = {}
    for name in names:
        inner = name.removeprefix("clip.")
        if inner in timm:
            levels[name] = timm[inner]
        elif "logit_" in name or name.startswith(model.new):
            levels[name] = math.inf
        else:
            levels[name] = _level(inner)
    top = {}
    for name, level in levels.items():
        if level is not math.inf:
            top[tower_of(name)] = max(top.get(tower_of(name), 0), level)
    return {
        name: 0 if level is math.inf else top[tower_of(name)] + 1 - level
        for name, level in levels.items()
    }


def _level(name):
    """Return 0 for embeddings, n + 1 for block n, infinity behind the blocks."""
    block = _RESNET.search(name) or _BLOCK.search(name)
    if block:
        return int(block[1]) + 1
    last = name.removeprefix("visual.").removeprefix("text.").removeprefix("trunk.")
    return math.inf if last.startswith(_LAST) or "proj" in last else 0


def _timm_layers(model):
    """Return the layers of a timm tower as timm itself orders them."""
    inner = getattr(model.clip, "clip", model.clip)
    trunk = getattr(inner.visual, "trunk", None)
    if trunk is None or not hasattr(trunk, "group_matcher"):
        return {}
    from timm.models import group_parameters

    groups = group_parameters(trunk, trunk.group_matcher(coarse=False))
    return {
        f"visual.trunk.{name}": int(level)
        for level, names in groups.items()
        for name in names
    }


class Average:
    """
    Running average of everything that training changes.

    Parameters
    ----------
    model : paperclip.training.model.Trainable
        What is trained.
    decay : float
        Weight of the past in each step; smaller in the first ones, so that
        the beginning is forgotten.
    """

    def __init__(self, model, decay):
        self.decay = decay
        self.tensors = {name: t.clone() for name, t in model.changing().items()}

    def update(self, model, step):
        """
        Take the weights after a step in.

        Parameters
        ----------
        model : paperclip.training.model.Trainable
            What is trained.
        step : int
            Step, from 1.
        """
        import torch

        decay = min(self.decay, (1 + step) / (10 + step))
        pairs = [
            (self.tensors[name], tensor) for name, tensor in model.changing().items()
        ]
        floats = [(a, b) for a, b in pairs if a.is_floating_point()]
        with torch.no_grad():
            torch._foreach_lerp_(
                [a for a, _ in floats], [b for _, b in floats], 1 - decay
            )
            for a, b in pairs:
                if not a.is_floating_point():
                    a.copy_(b)

    def swap(self, model):
        """
        Exchange the weights of the model and the average.

        Parameters
        ----------
        model : paperclip.training.model.Trainable
            What is trained. Call it twice to have things as they were.
        """
        import torch

        with torch.no_grad():
            for name, tensor in model.changing().items():
                held = tensor.clone()
                tensor.copy_(self.tensors[name])
                self.tensors[name].copy_(held)


def interpolated(trained, base, share):
    """
    Go part of the way from the base model to the trained one.

    Parameters
    ----------
    trained, base : dict of str to `torch.Tensor`
        Weights by name.
    share : float
        Weight of the trained ones, 0 to 1.

    Returns
    -------
    weights : dict of str to `torch.Tensor`
        ``base + share * (trained - base)``; whole numbers are those of
        ``trained``.

    Notes
    -----
    WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903.
    """
    import torch

    if share == 1:
        return trained
    return {
        name: torch.lerp(base[name], value, share)
        if value.is_floating_point()
        else value
        for name, value in trained.items()
    }
