# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write a model directory in open_clip's layout."""

import json
import os
import shutil
from pathlib import Path

__all__ = ["write_model"]

_COPIED = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_COPIED += ("added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "config.json")


def write_model(model, target):
    """
    Write a model so that `~paperclip.models.load_encoder` reads it.

    Parameters
    ----------
    model : paperclip.training.model.Trainable
        The finished model.
    target : path-like
        Directory to make; an older one is replaced when the new one is whole.

    Raises
    ------
    OSError
        If it cannot be written; an older one stays.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from paperclip.models.heads import HEADS_NAME

    target = Path(target)
    part = target.with_name(f".part-{os.getpid()}-{target.name}")
    old = target.with_name(f".part-{os.getpid()}-old-{target.name}")
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in model.clip.state_dict().items()
    }
    heads = {n: t for n, t in tensors.items() if n.startswith(("image_h", "text_h"))}
    plain = {n.removeprefix("clip."): t for n, t in tensors.items() if n not in heads}
    config = json.loads(json.dumps(model.config))
    vision = config["model_cfg"]["vision_cfg"]
    if vision.get("timm_model_name"):
        vision["timm_model_pretrained"] = False
    try:
        part.mkdir(parents=True)
        save_file(plain, part / "open_clip_model.safetensors")
        if heads:
            save_file(heads, part / HEADS_NAME)
        text = json.dumps(config, indent=2) + "\n"
        (part / "open_clip_config.json").write_text(text, encoding="utf-8")
        source = model.checked.directory
        for name in (*_COPIED, *(p.name for p in source.glob("*.model"))):
            if (source / name).is_file():
                shutil.copyfile(source / name, part / name)
        for path in part.iterdir():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        if target.is_dir():
            target.rename(old)
        part.rename(target)
    except SafetensorError as exc:
        raise OSError(str(exc)) from exc
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
