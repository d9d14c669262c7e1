# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Small networks behind frozen towers, which open_clip cannot describe.

A model with heads is in open_clip's layout plus two things: the key
``paperclip_heads`` in ``model_cfg``, at which open_clip itself stops, and the
file ``paperclip_heads.safetensors``. `~paperclip.models.load_encoder` reads both.
"""

import functools
import json
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from paperclip.exceptions import ModelLoadError

__all__ = ["HEADS_KEY", "HEADS_NAME", "attach_heads", "heads_of", "plain_directory"]

HEADS_KEY = "paperclip_heads"
"""Key of ``model_cfg``: ``{"hidden": 1024, "dimension": 512}``."""

HEADS_NAME = "paperclip_heads.safetensors"
"""File with the weights of both heads."""

_LIMIT = 65536


def heads_of(config):
    """
    Read what a configuration says about heads.

    Parameters
    ----------
    config : dict
        Content of ``open_clip_config.json``.

    Returns
    -------
    heads : dict or None
        ``hidden`` and ``dimension``, both int.

    Raises
    ------
    ModelLoadError
        If it is something else.
    """
    heads = config["model_cfg"].get(HEADS_KEY)
    if heads is None:
        return None
    if (
        not isinstance(heads, dict)
        or set(heads) != {"hidden", "dimension"}
        or not all(type(n) is int and 0 < n <= _LIMIT for n in heads.values())
    ):
        msg = (
            f"model_cfg[{HEADS_KEY!r}] must give 'hidden' and 'dimension' from 1 to "
            f"{_LIMIT}, got {heads!r}"
        )
        raise ModelLoadError(msg)
    return heads


def attach_heads(clip, hidden, dimension):
    """
    Put a network of two layers behind each tower.

    Parameters
    ----------
    clip : `torch.nn.Module`
        open_clip's model.
    hidden, dimension : int
        Width of the hidden layer, and length of the vectors of ``clip``.

    Returns
    -------
    model : `torch.nn.Module`
        With ``encode_image`` and ``encode_text`` of open_clip, and the parts
        ``clip``, ``image_head`` and ``text_head``. The heads add something to
        the vectors of the towers that is small at the beginning.
    """
    return _headed_class()(clip, hidden, dimension)


@functools.cache
def _headed_class():
    """Return the class; it is made late, as torch is heavy."""
    from torch import nn

    class Head(nn.Module):
        def __init__(self, dimension, hidden):
            super().__init__()
            self.first = nn.Linear(dimension, hidden)
            self.second = nn.Linear(hidden, dimension)
            self.factor = dimension**0.5
            self.second.weight.data *= 0.1
            self.second.bias.data.zero_()

        def forward(self, x):
            x = nn.functional.normalize(x.float(), dim=-1) * self.factor
            return x + self.second(nn.functional.gelu(self.first(x)))

    class HeadedClip(nn.Module):
        def __init__(self, clip, hidden, dimension):
            super().__init__()
            self.clip = clip
            self.image_head = Head(dimension, hidden)
            self.text_head = Head(dimension, hidden)

        def encode_image(self, image, normalize=False):
            x = self.image_head(self.clip.encode_image(image))
            return nn.functional.normalize(x, dim=-1) if normalize else x

        def encode_text(self, text, normalize=False):
            x = self.text_head(self.clip.encode_text(text))
            return nn.functional.normalize(x, dim=-1) if normalize else x

        visual = property(lambda self: self.clip.visual)
        logit_scale = property(lambda self: self.clip.logit_scale)
        logit_bias = property(lambda self: self.clip.logit_bias)
        vocab_size = property(lambda self: self.clip.vocab_size)
        context_length = property(lambda self: self.clip.context_length)

    return HeadedClip


def read_heads(clip, checked):
    """
    Put the heads of a checked directory behind the towers of its model.

    Parameters
    ----------
    clip : `torch.nn.Module`
        open_clip's model.
    checked : paperclip.models.verify.CheckedModel
        A directory that passed the checks.

    Returns
    -------
    model : `torch.nn.Module`
        ``clip`` itself if there are no heads.

    Raises
    ------
    ModelLoadError
        If the file is missing or does not fit.
    """
    heads = heads_of(checked.config)
    if heads is None:
        return clip
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = checked.directory / HEADS_NAME
    with torch.random.fork_rng(devices=[]):
        model = attach_heads(clip, **heads)
    try:
        tensors = load_file(path)
        for part in ("image_head", "text_head"):
            own = {k: v for k, v in tensors.items() if k.startswith(part + ".")}
            own = {k.removeprefix(part + "."): v for k, v in own.items()}
            getattr(model, part).load_state_dict(own)
    except (OSError, SafetensorError, RuntimeError) as exc:
        msg = f"{path} does not hold the heads that {HEADS_KEY} describes: {exc}"
        raise ModelLoadError(msg) from exc
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        msg = f"{path} holds NaN or infinite values"
        raise ModelLoadError(msg)
    return model.eval().requires_grad_(False)


@contextmanager
def plain_directory(checked):
    """
    Show a directory without its heads, as open_clip can read it.

    Parameters
    ----------
    checked : paperclip.models.verify.CheckedModel
        A directory that passed the checks.

    Yields
    ------
    checked : paperclip.models.verify.CheckedModel
        The same one, or one with links to its files.
    """
    if heads_of(checked.config) is None:
        yield checked
        return
    config = json.loads(json.dumps(checked.config))
    del config["model_cfg"][HEADS_KEY]
    with tempfile.TemporaryDirectory(prefix="paperclip-model-") as folder:
        folder = Path(folder)
        for path in checked.directory.iterdir():
            if path.name != "open_clip_config.json" and path.is_file():
                (folder / path.name).symlink_to(path.resolve())
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        yield replace(
            checked,
            directory=folder,
            config=config,
            weights=folder / checked.weights.name,
        )
