# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Forward passes of the two towers, in the form that is fast and exact."""

from contextlib import nullcontext

from paperclip.exceptions import InvalidQueryError

__all__ = ["choose_device", "choose_precision", "image_tower", "text_tower"]

PRECISIONS = ("auto", "float32", "bfloat16")


def image_tower(model, device, dtype):
    """
    Bring the image tower into its fast form.

    Parameters
    ----------
    model : `torch.nn.Module`
        open_clip's model in float32; its image tower is changed in place.
    device : `torch.device`
        Where it runs.
    dtype : `torch.dtype`
        ``torch.float32`` or ``torch.bfloat16``. On a CPU the weights take
        this type; on CUDA they stay and autocast chooses per operation.

    Returns
    -------
    forward : callable
        From (n, 3, height, width) to (n, dimension).
    """
    import torch

    model.visual.to(memory_format=torch.channels_last)
    lower = dtype != torch.float32
    if lower and device.type != "cuda":
        model.visual.to(dtype)

    def forward(batch):
        context = (
            torch.autocast("cuda", dtype=dtype)
            if lower and device.type == "cuda"
            else nullcontext()
        )
        with context:
            return model.encode_image(batch)

    return forward


def text_tower(model):
    """
    Choose how texts go through the text tower.

    Parameters
    ----------
    model : `torch.nn.Module`
        open_clip's model.

    Returns
    -------
    forward : callable
        From token ids (n, length) to (n, dimension).
    trim : bool
        Whether the ids may end with the longest text of the batch. If not
        they must be padded to the context length.

    Notes
    -----
    Padding can be left out where it cannot reach the result: in a causal
    tower that is read at the end-of-text token, and in a Hugging Face tower,
    which masks padding. Towers that attend to padding or are read at the last
    position were trained with it and keep it.
    """
    from open_clip.hf_model import HFTextEncoder

    if hasattr(model, "text_head"):  # paperclip.models.heads
        inner, trim = text_tower(model.clip)
        return (lambda ids: model.text_head(inner(ids))), trim
    tower = getattr(model, "text", model)
    if isinstance(tower, HFTextEncoder):
        return model.encode_text, True
    pool = getattr(tower, "pool_type", getattr(tower, "text_pool_type", None))
    if (
        getattr(tower, "attn_mask", None) is None
        or getattr(tower, "cls_emb", None) is not None
        or getattr(tower, "output_tokens", False)
        or pool not in {"argmax", "eos"}
    ):
        return model.encode_text, False
    end = getattr(tower, "eos_id", getattr(tower, "text_eos_id", None))

    def forward(ids):
        return _causal(tower, ids, pool, end)

    return forward, True


def _causal(tower, ids, pool, end):
    """
    Encode with a causal tower, in the length that the ids have.

    The steps of ``TextTransformer.forward`` of open_clip, which itself only
    accepts ids as long as its mask.
    """
    from open_clip.transformer import text_global_pool

    length = ids.shape[1]
    x = tower.token_embedding(ids) + tower.positional_embedding[:length]
    x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
    x = text_global_pool(x, ids, pool, eos_token_id=end)
    x = tower.ln_final(x)
    projection = tower.text_projection
    if projection is None:
        return x
    return projection(x) if callable(projection) else x @ projection


def choose_device(device):
    """
    Turn the name of a device into a device that exists.

    Parameters
    ----------
    device : str or None
        "auto" (CUDA when there is one), "cpu", "cuda", "cuda:1" or "mps".
        None is ``paperclip.conf.device``.

    Returns
    -------
    device : `torch.device`
        The device.

    Raises
    ------
    InvalidQueryError
        If there is no such device here.
    """
    import torch

    from paperclip import conf

    name = conf.device if device is None else str(device)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    there = {
        "cpu": lambda: 1,
        "cuda": torch.cuda.device_count,
        "mps": lambda: int(torch.backends.mps.is_available()),
    }
    if kind not in there or (number and not number.isdigit()):
        msg = f"device must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', got {name!r}"
        raise InvalidQueryError(msg)
    if int(number or 0) >= there[kind]():
        msg = f"device {name!r} does not exist here; use 'auto' or 'cpu'"
        raise InvalidQueryError(msg)
    return torch.device(name)


def choose_precision(precision, device):
    """
    Choose the number format of the image tower.

    Parameters
    ----------
    precision : {'auto', 'float32', 'bfloat16'}
        "auto" is bfloat16 on processors that calculate in it (AVX512-BF16,
        AMX) and on CUDA devices that do, and float32 elsewhere.
    device : `torch.device`
        Where the model runs.

    Returns
    -------
    dtype : `torch.dtype`
        ``torch.bfloat16`` or ``torch.float32``.

    Raises
    ------
    InvalidQueryError
        If ``precision`` is none of the three.
    """
    import torch

    if precision not in PRECISIONS:
        msg = f"precision must be one of {PRECISIONS}, got {precision!r}"
        raise InvalidQueryError(msg)
    if precision != "auto":
        return getattr(torch, precision)
    if device.type == "cuda":
        pays = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # processors without these instructions emulate bfloat16, slowly
        tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        pays = device.type == "cpu" and any(
            getattr(torch.cpu, name, bool)() for name in tests
        )
    return torch.bfloat16 if pays else torch.float32
