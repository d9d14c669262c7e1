# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
From an archive to pairs of pictures and texts that a model learns from.

`build_dataset` makes a data set, `DataSet` opens one, `split_proposals` keeps
its parts apart.
"""

from importlib import import_module as _import_module

# public name -> module that defines it (PEP 562, resolved on first access)
_LAZY = {
    "AugmentSettings": ".settings",
    "Augmentation": ".augment",
    "Backend": ".backends",
    "Batches": ".sampler",
    "Caption": ".captions",
    "CaptionMixer": ".captions",
    "CaptionSettings": ".settings",
    "DataSet": ".dataset",
    "DataSettings": ".settings",
    "Evaluation": ".evaluation",
    "LossSettings": ".settings",
    "ModelSettings": ".settings",
    "OptimSettings": ".settings",
    "PROMPT_VERSION": ".prompts",
    "Pair": ".pairs",
    "PairList": ".pairs",
    "Progress": ".trainer",
    "PushedModel": ".push",
    "RunSettings": ".settings",
    "Sample": ".shards",
    "SavedModel": ".publish",
    "Split": ".splits",
    "SplitSettings": ".splits",
    "TrainingConfig": ".config",
    "TrainingResult": ".trainer",
    "View": ".augment",
    "build_dataset": ".build",
    "caption_table": ".captions",
    "clamp_log_scale": ".losses",
    "classify": ".summaries",
    "count_dataset": ".build",
    "evaluate": ".evaluator",
    "finetune": ".trainer",
    "gather_features": ".losses",
    "group_codes": ".sampler",
    "judge": ".summaries",
    "load_backend": ".backends",
    "paper_loss": ".losses",
    "plot_cosines": ".figures",
    "plot_pictures": ".figures",
    "plot_retrieval": ".figures",
    "plot_terms": ".figures",
    "positive_mask": ".losses",
    "push_model": ".push",
    "read_pairs": ".tables",
    "sample_rng": ".sampler",
    "save_model": ".publish",
    "sigmoid_loss": ".losses",
    "softmax_loss": ".losses",
    "split_proposals": ".splits",
    "stable_codes": ".sampler",
    "summarize": ".summaries",
    "summary_texts": ".summaries",
    "synthetic_pairs": ".synthetic",
    "write_pairs": ".tables",
}

__all__ = [
    "PROMPT_VERSION",
    "AugmentSettings",
    "Augmentation",
    "Backend",
    "Batches",
    "Caption",
    "CaptionMixer",
    "CaptionSettings",
    "DataSet",
    "DataSettings",
    "Evaluation",
    "LossSettings",
    "ModelSettings",
    "OptimSettings",
    "Pair",
    "PairList",
    "Progress",
    "PushedModel",
    "RunSettings",
    "Sample",
    "SavedModel",
    "Split",
    "SplitSettings",
    "TrainingConfig",
    "TrainingResult",
    "View",
    "build_dataset",
    "caption_table",
    "clamp_log_scale",
    "classify",
    "count_dataset",
    "evaluate",
    "finetune",
    "gather_features",
    "group_codes",
    "judge",
    "load_backend",
    "paper_loss",
    "plot_cosines",
    "plot_pictures",
    "plot_retrieval",
    "plot_terms",
    "positive_mask",
    "push_model",
    "read_pairs",
    "sample_rng",
    "save_model",
    "sigmoid_loss",
    "softmax_loss",
    "split_proposals",
    "stable_codes",
    "summarize",
    "summary_texts",
    "synthetic_pairs",
    "write_pairs",
]


def __getattr__(name):
    if name in _LAZY:
        value = getattr(_import_module(_LAZY[name], __name__), name)
        globals()[name] = value
        return value
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__():
    return sorted({*globals(), *_LAZY})
