# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From the name of a model to one that can be trained, part by part."""

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

from paperclip.exceptions import InvalidQueryError

from ._parts import is_scale, tower_of, trainable_names
from ._towers import towers_class

__all__ = ["Trainable", "build_trainable"]


@dataclass
class Trainable:
    """
    A model and what is needed to feed, train and save it.

    Parameters
    ----------
    towers : `torch.nn.Module`
        From uint8 frames (n, height, width, 3) and token ids (n, length) to
        unit rows of pictures and texts; what several processes share.
    clip : `torch.nn.Module`
        open_clip's model inside of it, with heads in the mode "head".
    reader : paperclip.models.text.TextReader
        Its tokenizer.
    preprocessing : paperclip.models.preprocess.Preprocessing
        How pictures become its input.
    trim : bool
        Whether ids may end with the longest text of a batch.
    config : dict
        Content of ``open_clip_config.json`` for the finished model.
    checked : paperclip.models.verify.CheckedModel
        The base model's directory.
    name : str
        What the user called it.
    settings : `~paperclip.training.ModelSettings`
        What is trained.
    new : tuple of str
        Beginnings of the names of layers that did not come from the base.
    """

    towers: Any
    clip: Any
    reader: Any
    preprocessing: Any
    trim: bool
    config: dict
    checked: Any
    name: str
    settings: Any
    new: tuple = ()

    @property
    def log_scale(self):
        """Natural logarithm of the factor on the cosines, a parameter."""
        return self.clip.logit_scale

    @property
    def bias(self):
        """The bias of the logits, a parameter, or None."""
        return self.clip.logit_bias

    @property
    def frozen(self):
        """The towers of which nothing is trained, but for heads (set of str)."""
        names = self.learnable()
        heads = ("image_head.", "text_head.")
        learn = {
            tower_of(name)
            for name in names
            if not name.startswith(heads) and not is_scale(name, None)
        }
        return {"image", "text"} - learn

    def head(self, side):
        """
        Return the network behind a tower.

        Parameters
        ----------
        side : {"image", "text"}
            The tower.

        Returns
        -------
        head : `torch.nn.Module` or None
            None if the model has no heads.
        """
        return getattr(self.clip, f"{side}_head", None)

    def learnable(self):
        """
        Return the parameters that are trained.

        Returns
        -------
        parameters : dict of str to `torch.nn.Parameter`
            By the names that they have in the model.
        """
        named = self.clip.named_parameters()
        return {name: p for name, p in named if p.requires_grad}

    def changing(self):
        """
        Return all tensors that training changes.

        Returns
        -------
        tensors : dict of str to `torch.Tensor`
            Parameters that are trained, and running statistics.
        """
        tensors = {name: p.detach() for name, p in self.learnable().items()}
        kept = self.clip.state_dict()
        buffers = self.clip.named_buffers()
        return tensors | {name: t for name, t in buffers if name in kept}

    def train(self):
        """Put the parts that are trained into training mode, and only those."""
        self.towers.eval()
        for part in (self.clip.visual, *_text_parts(self.clip)):
            if _learns(part):
                part.train()
        if self.settings.mode == "linear":
            # what is below the projections says the same in every step
            for module in self.clip.modules():
                if any(True for _ in module.parameters()) and not _learns(module):
                    module.eval()
        for head in ("image_head", "text_head"):
            if hasattr(self.clip, head):
                getattr(self.clip, head).train()
        for module in self.clip.modules():
            # running statistics of a small batch, or of one process of many,
            # are worse than those that the base model brings
            random = self.settings.random_image and _learns(module)
            if _is_batch_norm(module) and not random:
                module.eval()


def build_trainable(resolved, settings, loss, *, seed=0, device="cpu"):
    """
    Build a model in float32 and decide which of its parameters are trained.

    Parameters
    ----------
    resolved : paperclip.models.hub.ResolvedModel
        The base model.
    settings : `~paperclip.training.ModelSettings`
        Mode, random towers, heads, size of the pictures.
    loss : `~paperclip.training.LossSettings`
        Where the scale and the bias begin.
    seed : int, optional
        Of the weights that are new.
    device : `torch.device` or str, optional
        Where it is put.

    Returns
    -------
    model : Trainable
        Ready for the first step, in evaluation mode.

    Raises
    ------
    ModelLoadError
        If the base model cannot be used.
    InvalidQueryError
        If its architecture does not have what ``settings`` ask for.
    """
    import torch

    from paperclip.models.loading import build_model, build_reader
    from paperclip.models.preprocess import Preprocessing
    from paperclip.models.towers import text_tower
    from paperclip.models.verify import check_directory

    checked = check_directory(resolved.directory)
    config = copy.deepcopy(checked.config)
    clip = build_model(checked)
    preprocessing = Preprocessing.from_config(
        config["preprocess_cfg"], size=clip.visual.image_size
    )
    clip, new = _renewed(clip, checked, config, settings, seed)
    if settings.image_size and preprocessing.size != (settings.image_size,) * 2:
        _resize(clip, checked, config, settings.image_size)
        size = (settings.image_size,) * 2
        preprocessing = dataclasses.replace(preprocessing, size=size)
    _scale_and_bias(clip, config, loss)
    learnable = trainable_names(clip, settings)
    if settings.mode == "linear":
        new += sorted(learnable)
    for name, parameter in clip.named_parameters():
        parameter.requires_grad_(name in learnable or is_scale(name, loss))
    clip.to(device).visual.to(memory_format=torch.channels_last)
    forward, trim = text_tower(clip)
    return Trainable(
        towers=towers_class()(clip, forward, preprocessing).to(device),
        clip=clip,
        reader=build_reader(checked, clip),
        preprocessing=preprocessing,
        trim=trim,
        config=config,
        checked=checked,
        name=resolved.name,
        settings=settings,
        new=tuple(new),
    )


def _renewed(clip, checked, config, settings, seed):
    """Draw what does not come from the base; return the model and its names."""
    import torch

    from paperclip.models.heads import HEADS_KEY, attach_heads, heads_of

    new = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if settings.random_image or settings.random_text:
            new += _randomise(clip, checked, settings)
        if settings.mode == "head" and heads_of(config) is None:
            width = config["model_cfg"]["embed_dim"]
            config["model_cfg"][HEADS_KEY] = {
                "hidden": settings.hidden,
                "dimension": width,
            }
            clip = attach_heads(clip, settings.hidden, width)
            new += ["image_head.", "text_head."]
    _check_share(settings, new)
    return clip, new


def _check_share(settings, new):
    """Refuse to go part of the way back to weights that the base does not have."""
    if new and settings.wise < 1:
        heads = new[-1].startswith("text_head.")
        what = "the heads" if heads else "a random tower"
        msg = (
            f"model.wise must be 1 with {what} that the base model does not have, got "
            f"{settings.wise}; there is nothing between random and trained weights"
        )
        raise InvalidQueryError(msg)


def _text_parts(clip):
    inner = getattr(clip, "clip", clip)
    if hasattr(inner, "text"):
        return [inner.text]
    return [inner.transformer, inner.token_embedding, inner.ln_final]


def _is_batch_norm(module):
    from torch.nn.modules.batchnorm import _BatchNorm

    return isinstance(module, _BatchNorm)


def _learns(module):
    return any(p.requires_grad for p in module.parameters())


def _fresh(clip, checked, **vision):
    """Build the same architecture with weights as it draws them."""
    from open_clip.model import CLIP, CustomTextCLIP

    from paperclip.models.heads import HEADS_KEY

    model = copy.deepcopy(checked.config["model_cfg"])
    for key in (HEADS_KEY, "custom_text"):
        model.pop(key, None)
    model["vision_cfg"] |= {"timm_model_pretrained": False, **vision}
    if model["text_cfg"].get("hf_model_name"):
        model["text_cfg"]["hf_model_name"] = str(checked.directory)
        model["text_cfg"]["hf_model_pretrained"] = False
    inner = getattr(clip, "clip", clip)
    return (CustomTextCLIP if hasattr(inner, "text") else CLIP)(**model)


def _randomise(clip, checked, settings):
    """Give towers new weights; return the names of their parameters."""
    sides = {"image"} if settings.random_image else set()
    sides |= {"text"} if settings.random_text else set()
    inner = getattr(clip, "clip", clip)
    tensors = {
        name: tensor
        for name, tensor in _fresh(clip, checked).state_dict().items()
        if tower_of(name) in sides and not is_scale(name, None)
    }
    inner.load_state_dict(tensors, strict=False)
    prefix = "clip." if inner is not clip else ""
    return [prefix + name for name in tensors]


def _resize(clip, checked, config, size):
    """Let the image tower read pictures of another size."""
    from open_clip.model import resize_pos_embed

    inner = getattr(clip, "clip", clip)
    vision = config["model_cfg"]["vision_cfg"]
    if hasattr(inner.visual, "trunk"):
        if hasattr(inner.visual.trunk, "pos_embed"):
            msg = (
                "model.image_size must be that of the base model, "
                f"{vision.get('image_size')}, for a timm tower with positions, got "
                f"{size}"
            )
            raise InvalidQueryError(msg)
        inner.visual.image_size = (size, size)
    else:
        new, held = _fresh(clip, checked, image_size=size), inner.state_dict()
        resize_pos_embed(held, new)
        new.load_state_dict(held)
        inner.visual = new.visual.eval()
    vision["image_size"] = size
    config["preprocess_cfg"]["size"] = size


def _scale_and_bias(clip, config, loss):
    """Set where the scale and the bias begin."""
    import math

    import torch

    inner = getattr(clip, "clip", clip)
    with torch.no_grad():
        if loss.scale_init is not None:
            inner.logit_scale.fill_(math.log(loss.scale_init))
        inner.logit_scale.clamp_(math.log(loss.scale_min), math.log(loss.scale_max))
    if loss.kind == "sigmoid" and inner.logit_bias is None:
        start = torch.full_like(inner.logit_scale, loss.bias_init)
        inner.logit_bias = torch.nn.Parameter(start)
        config["model_cfg"]["init_logit_bias"] = loss.bias_init
