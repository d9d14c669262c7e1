# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Make small, real model directories in the layout of the Hub."""

import json
from pathlib import Path

__all__ = ["tiny_model_directory", "write_weights"]

_WORDS = """
a an the of in with and its from to for is are we two near deep image images show
galaxy galaxies spiral barred elliptical face on edge arms nebula planetary star
stars cluster globular open supernova remnant dust lane disk jet quasar merger
telescope hubble webb field survey red blue young old bright faint lens ring
"""
_MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def tiny_model_directory(
    path, seed=0, kind="native", *, image_size=32, context_length=32, embed_dim=24
):
    """
    Write a model directory with random weights that any caller can load.

    Parameters
    ----------
    path : path-like
        Directory to make.
    seed : int
        Of the weights; other weights give another fingerprint.
    kind : {'native', 'bert'}
        Text tower of open_clip with CLIP's own tokenizer, or a Hugging Face
        BERT with a tokenizer of about 80 words.
    image_size, context_length, embed_dim : int
        Sizes of the model.

    Returns
    -------
    path : `~pathlib.Path`
        The directory.
    """
    import torch
    from open_clip.model import CustomTextCLIP
    from safetensors.torch import save_file

    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    text = {"context_length": context_length}
    if kind == "native":
        text |= {"vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    else:
        text |= _write_bert(path, context_length)
    model_cfg = {
        "embed_dim": embed_dim,
        "vision_cfg": {
            "image_size": image_size,
            "patch_size": 8,
            "width": 32,
            "layers": 1,
            "head_width": 16,
        },
        "text_cfg": text,
    }
    built = json.loads(json.dumps(model_cfg))
    if kind == "bert":
        built["text_cfg"] |= {"hf_model_name": str(path), "hf_model_pretrained": False}
    state = torch.random.get_rng_state()
    try:
        model = CustomTextCLIP(**built)
    finally:
        torch.random.set_rng_state(state)
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, tensor in model.state_dict().items():
        if tensor.ndim > 1 or "embedding" in name:
            scale = tensor.shape[-1] ** -0.5
            tensor = scale * torch.randn(tensor.shape, generator=generator)
        elif name.endswith("bias"):
            tensor = torch.zeros_like(tensor)
        tensors[name] = tensor.half().contiguous()
    save_file(tensors, path / "open_clip_model.safetensors")
    preprocess = {
        "size": image_size,
        "mode": "RGB",
        "mean": [0.45, 0.4, 0.5],
        "std": [0.25, 0.3, 0.2],
        "interpolation": "bicubic",
        "resize_mode": "longest",
        "fill_color": 0,
    }
    config = {
        "model_cfg": {**model_cfg, "custom_text": True},
        "preprocess_cfg": preprocess,
    }
    (path / "open_clip_config.json").write_text(json.dumps(config, indent=2))
    return path


def write_weights(path, change):
    """
    Rewrite the weights of a model directory.

    Parameters
    ----------
    path : `~pathlib.Path`
        The directory.
    change : callable
        Gets the dict of tensors and alters it.
    """
    from safetensors.torch import load, save

    file = path / "open_clip_model.safetensors"
    tensors = load(file.read_bytes())
    change(tensors)
    file.write_bytes(save(tensors))


def _write_bert(path, context_length):
    """Write config.json and the tokenizer; return the text_cfg."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = [*_MARKS, *dict.fromkeys([*_WORDS.split(), *letters, *".,;!?-0123456789"])]
    words += [f"##{letter}" for letter in letters]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(path / "tokenizer.json"))
    marks = dict(zip(("pad", "unk", "cls", "sep"), _MARKS, strict=True))
    settings = {f"{key}_token": mark for key, mark in marks.items()}
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    bert = {
        "model_type": "bert",
        "vocab_size": len(words),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": context_length,
        "pad_token_id": 0,
    }
    (path / "config.json").write_text(json.dumps(bert))
    return {
        "hf_model_name": "somewhere/bert",
        "hf_tokenizer_name": "somewhere/bert",
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "linear",
        "vocab_size": len(words),
    }
