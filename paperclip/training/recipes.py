# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
The numbers of the recipes, all in this one place.

What a recipe does not name is the default of the settings' class.
"""

__all__ = ["RECIPES"]

RECIPES = {
    # rates chosen on validation pictures of small runs; see the page on recipes
    "default": {
        "model": {"mode": "full", "layer_decay": 0.8, "ema": 0.998},
        "captions": {
            "sources": {"abstract": 0.5, "summary": 0.3, "title": 0.1, "metadata": 0.1},
            "shorten": 0.2,
        },
        "augment": {
            "rotate": "quarter",
            "crop": (0.5, 1.0),
            "brightness": 0.2,
            "contrast": 0.2,
            "grey": 0.2,
        },
        "loss": {"kind": "softmax", "positives": "both"},
        "optim": {
            "lr": 3e-4,
            "head_lr": 1e-3,
            "weight_decay": 0.05,
            "warmup": 100,
            "steps": 2000,
            "schedule": "cosine",
            "batch_size": 64,
        },
        "run": {"patience": 5},
    },
    # the published runs with their faults: Mishra-Sharma et al. 2024,
    # arXiv:2403.08851, and its code
    "paper": {
        "data": {"unique_groups": False, "drop_last": True},
        "captions": {"sources": {"abstract": 1.0}, "window": "words", "category": True},
        "augment": {
            "rotate": "quarter",
            "crop": (0.2, 0.2),
            "crop_shape": "square",
            "shared": True,
        },
        "loss": {"kind": "paper", "positives": "none", "scale_max": 1e4},
        "optim": {
            "lr": 1e-5,
            "betas": (0.9, 0.999),
            "weight_decay": 1e-3,
            "warmup": 2000,
            "steps": 20_000,
            "schedule": "constant",
            "batch_size": 32,
            "clip_norm": None,
        },
    },
    # two small networks on frozen towers: minutes instead of hours
    "head": {
        "model": {"mode": "head", "hidden": 1024},
        "loss": {"kind": "softmax", "positives": "both"},
        "optim": {
            "lr": 1e-3,
            "weight_decay": 0.05,
            "warmup": 50,
            "steps": 1000,
            "batch_size": 128,
        },
        "run": {"patience": 5},
    },
}
