# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Which parameters of a model belong to what, and which ones are trained."""

from paperclip.exceptions import InvalidQueryError

__all__ = ["is_scale", "tower_of", "trainable_names"]

_FROZEN = {
    "full": (),
    "head": ("image", "text"),
    "linear": ("image", "text"),
    "lock-image": ("image",),
    "lock-text": ("text",),
}


def trainable_names(clip, settings):
    """
    Tell which parameters of the towers and heads are trained.

    Parameters
    ----------
    clip : `torch.nn.Module`
        The model.
    settings : `~paperclip.training.ModelSettings`
        The mode.

    Returns
    -------
    names : set of str
        Without scale and bias.

    Raises
    ------
    InvalidQueryError
        If the mode is "linear" and a tower has no projection.
    """
    names = [n for n, _ in clip.named_parameters() if not is_scale(n, None)]
    if settings.mode == "head":
        return {n for n in names if n.startswith(("image_head.", "text_head."))}
    if settings.mode == "linear":
        chosen = {n for n in names if _is_projection(n)}
        sides = {tower_of(n) for n in chosen}
        if sides != {"image", "text"}:
            lost = sorted({"image", "text"} - sides)
            msg = (
                f"model.mode 'linear' needs a projection behind each tower; the "
                f"{lost[0]} tower of this model has none. Use 'head' or 'full'"
            )
            raise InvalidQueryError(msg)
        return chosen
    return {n for n in names if tower_of(n) not in _FROZEN[settings.mode]}


def tower_of(name):
    """
    Tell which tower a parameter belongs to.

    Parameters
    ----------
    name : str
        Its name in the model.

    Returns
    -------
    tower : {"image", "text"}
        The tower, heads included.
    """
    name = name.removeprefix("clip.")
    return "image" if name.startswith(("visual.", "image_head.")) else "text"


def _is_projection(name):
    name = name.removeprefix("clip.")
    starts = ("visual.head.", "visual.attnpool.c_proj.", "text.proj.")
    starts += ("text_projection", "text.text_projection")
    return name == "visual.proj" or name.startswith(starts)


def is_scale(name, loss):
    """
    Tell whether a parameter is the scale, or the bias where the loss has one.

    Parameters
    ----------
    name : str
        Its name in the model.
    loss : `~paperclip.training.LossSettings` or None
        None counts the bias in any case.

    Returns
    -------
    answer : bool
        Neither of them belongs to a tower.
    """
    name = name.removeprefix("clip.")
    if loss is None:
        return name in {"logit_scale", "logit_bias"}
    return name == "logit_scale" or (name == "logit_bias" and loss.kind == "sigmoid")
