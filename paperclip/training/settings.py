# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The groups of settings of a training run."""

from paperclip.exceptions import InvalidQueryError

from ._fields import (
    amount,
    choice,
    choices,
    flag,
    number,
    numbers,
    text,
    texts,
    weights,
)
from ._groups import Settings, settings

__all__ = [
    "AugmentSettings",
    "CaptionSettings",
    "DataSettings",
    "LossSettings",
    "ModelSettings",
    "OptimSettings",
    "RunSettings",
]

METRICS = {
    "top10": "max",
    "top10_text": "max",
    "top1": "max",
    "recall@1": "max",
    "recall@5": "max",
    "recall@10": "max",
    "median_rank": "min",
    "auc": "max",
    "validation_loss": "min",
}
"""Figures on validation pairs, and whether the largest or the smallest is best."""

_PARTS = ("train", "validation", "test")


@settings("model")
class ModelSettings(Settings):
    """
    Which model is trained, and which part of it.

    Parameters
    ----------
    base : str
        "builtin", a name on the Hugging Face Hub, or a model directory.
    mode : {"full", "head", "lock-image", "lock-text", "linear"}
        "full" trains everything; "head" two small networks on frozen towers;
        "linear" the projections only; the others freeze one tower.
    random_image, random_text : bool
        Whether a tower begins with random weights.
    hidden : int
        Width of the hidden layer of the head.
    layer_decay : float
        Factor on the learning rate from each layer to the one below it.
    ema : float
        Decay of the running average of the weights, per step; 0 is none.
    wise : float
        Share of the trained weights in the result, the rest is the base model
        (WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903); 1 is none of it.
    precision : {"fp32", "bf16"}
        Number format of the computation; weights stay in fp32.
    image_size : int, optional
        Side of the pictures in pixels; None is that of the base model.
    """

    base: str = text("builtin")
    mode: str = choice("full", "full", "head", "lock-image", "lock-text", "linear")
    random_image: bool = flag(False)
    random_text: bool = flag(False)
    hidden: int = number(1024, 1, 65536, whole=True)
    layer_decay: float = number(1.0, 0, 1, above=True)
    ema: float = number(0.0, 0, 0.999999)
    wise: float = number(1.0, 0, 1)
    precision: str = choice("fp32", "fp32", "bf16")
    image_size: int | None = number(None, 16, 4096, whole=True, optional=True)


@settings("data")
class DataSettings(Settings):
    """
    Which pairs are used.

    Parameters
    ----------
    path : tuple of str
        Folder of a data set, or several.
    train, validation : {"train", "validation", "test"}
        Names of the parts of the data set.
    unique_groups : bool
        Whether pairs of a proposal are kept apart in batches.
    drop_last : bool
        Whether all batches have exactly ``optim.batch_size`` pairs.
    max_per_group : int, optional
        Largest number of pairs of a proposal.
    limit : int, optional
        Use this many pairs only, to try things out.
    """

    path: tuple = texts()
    train: str = choice("train", *_PARTS)
    validation: str = choice("validation", *_PARTS)
    unique_groups: bool = flag(True)
    drop_last: bool = flag(False)
    max_per_group: int | None = number(None, 1, whole=True, optional=True)
    limit: int | None = number(None, 1, whole=True, optional=True)


@settings("captions")
class CaptionSettings(Settings):
    """
    Which text of a pair is read.

    Parameters
    ----------
    sources : mapping
        Caption source to weight. The weights of the sources that a pair has
        are its probabilities; given weights replace all of the default ones.
    window : {"sentences", "words"}
        How a long text is shortened: whole sentences that fit the tokens of
        the model, or, as in the paper, up to ``max_words`` words.
    max_words : int
        Words of a chunk, for "words" only.
    shorten : float
        Probability that a window loses some of its sentences.
    category : bool
        Whether "Category: ..." is put in front of abstracts, as in the paper;
        part of the score is then guessing the category.
    """

    sources: dict = weights(abstract=0.5, summary=0.3, title=0.1, metadata=0.1)
    window: str = choice("sentences", "sentences", "words")
    max_words: int = number(77, 1, 10_000, whole=True)
    shorten: float = number(0.0, 0, 1)
    category: bool = flag(False)


@settings("augment")
class AugmentSettings(Settings):
    """
    How pictures are changed at random.

    Parameters
    ----------
    rotate : {"none", "quarter", "any"}
        Angles: 0, the four quarter turns, which are exact, or any.
    flip : bool
        Whether half of the pictures are mirrored.
    crop : tuple of float
        Smallest and largest share of the picture's area that is kept.
    crop_shape : {"same", "square"}
        Shape of the part: like the picture or square. A square that has the
        area but is longer than the shorter side is made smaller.
    corners : {"inside", "fill"}
        What happens where a turned part does not fit into the picture: it is
        made smaller until it does, or its corners are filled.
    brightness : float
        Largest change of the natural logarithm of the levels.
    contrast : float
        The same of the distances from the mean level.
    grey : float
        Probability that colours are taken away, as in the previews of HST.
    invert : float
        Probability that dark and bright are exchanged.
    noise : float
        Largest standard deviation of added noise, in levels of 255.
    shared : bool
        Whether a whole batch is changed alike, a fault of the paper's code.
    """

    rotate: str = choice("quarter", "none", "quarter", "any")
    flip: bool = flag(True)
    crop: tuple = numbers((0.5, 1.0), 0, 1, order=True)
    crop_shape: str = choice("same", "same", "square")
    corners: str = choice("inside", "inside", "fill")
    brightness: float = number(0.0, 0, 3)
    contrast: float = number(0.0, 0, 3)
    grey: float = number(0.0, 0, 1)
    invert: float = number(0.0, 0, 1)
    noise: float = number(0.0, 0, 255)
    shared: bool = flag(False)

    @property
    def random(self):
        """Whether two looks at a picture may differ."""
        still = self.rotate == "none" and not self.flip
        still = still and self.crop == (1.0, 1.0) and self.crop_shape == "same"
        levels = (self.brightness, self.contrast, self.grey, self.invert, self.noise)
        return not still or any(levels)


@settings("loss")
class LossSettings(Settings):
    """
    What is minimised.

    Parameters
    ----------
    kind : {"softmax", "sigmoid", "paper"}
        Loss of CLIP, of SigLIP, or of the published runs, whose scale was the
        logarithm of what was meant.
    positives : {"group", "text", "both", "none"}
        Which other pairs of a batch are right answers: those of the same
        proposal, with the same caption, either, or none.
    scale_init : float, optional
        Factor on the cosines at the beginning; None is that of the base model.
    scale_min, scale_max : float
        Limits that it is kept in.
    bias_init : float
        Bias at the beginning, for "sigmoid" only.
    label_smoothing : float
        Share of the target that is spread over all texts, for "softmax" only.
    """

    kind: str = choice("softmax", "softmax", "sigmoid", "paper")
    positives: str = choice("both", "group", "text", "both", "none")
    scale_init: float | None = number(None, 0, 1e4, above=True, optional=True)
    scale_min: float = number(1.0, 0, 1e4, above=True)
    scale_max: float = number(100.0, 0, 1e4, above=True)
    bias_init: float = number(-10.0, -100, 100)
    label_smoothing: float = number(0.0, 0, 0.999)

    def _relations(self):
        if self.label_smoothing and self.kind != "softmax":
            msg = (
                f"loss.label_smoothing must be 0 with loss.kind {self.kind!r}, got "
                f"{self.label_smoothing}"
            )
            raise InvalidQueryError(msg)
        if self.scale_min > self.scale_max:
            msg = (
                "loss.scale_min must be at most loss.scale_max, got "
                f"{self.scale_min} and {self.scale_max}"
            )
            raise InvalidQueryError(msg)
        first = self.scale_init
        if first is not None and not self.scale_min <= first <= self.scale_max:
            msg = (
                "loss.scale_init must be from loss.scale_min to loss.scale_max, got "
                f"{first} and {self.scale_min} to {self.scale_max}"
            )
            raise InvalidQueryError(msg)


@settings("optim")
class OptimSettings(Settings):
    """
    AdamW, its schedule, and how long it runs.

    Parameters
    ----------
    lr : float
        Largest learning rate.
    head_lr, text_lr : float, optional
        That of new layers and of the text tower; None is ``lr``.
    betas : tuple of float
        Decay of the two running averages.
    eps : float
        Added to the denominator.
    weight_decay : float
        Decoupled weight decay; biases, norms and the scale have none.
    warmup : int
        Steps in which the rate rises from 0.
    steps : int, optional
        Updates of the weights; 2,000 if ``epochs`` is not given either.
    epochs : float, optional
        Passes over the training pairs, instead of ``steps``.
    schedule : {"cosine", "constant"}
        The rate after the warm-up.
    batch_size : int
        Pairs per update and per loss, over all processes.
    accumulate : int
        Parts in which a batch is worked on, to save memory.
    clip_norm : float, optional
        Largest norm of the gradient; None does not clip.
    """

    lr: float = number(1e-4, 0, 10, above=True)
    head_lr: float | None = number(None, 0, 10, above=True, optional=True)
    text_lr: float | None = number(None, 0, 10, optional=True)
    betas: tuple = numbers((0.9, 0.98), 0, 0.9999999)
    eps: float = number(1e-8, 0, 1, above=True)
    weight_decay: float = number(0.05, 0, 10)
    warmup: int = number(100, 0, 10**9, whole=True)
    steps: int | None = number(None, 1, 10**9, whole=True, optional=True)
    epochs: float | None = number(None, 0, 10**6, above=True, optional=True)
    schedule: str = choice("cosine", "cosine", "constant")
    batch_size: int = number(64, 2, 10**6, whole=True)
    accumulate: int = number(1, 1, 10**6, whole=True)
    clip_norm: float | None = number(1.0, 0, 1e6, above=True, optional=True)

    def _relations(self):
        if self.steps is None and self.epochs is None:
            object.__setattr__(self, "steps", 2000)
        if self.steps is not None and self.epochs is not None:
            msg = (
                "give either optim.steps or optim.epochs, got "
                f"{self.steps} and {self.epochs}; set the other one to none"
            )
            raise InvalidQueryError(msg)
        if self.steps is not None and self.warmup > self.steps:
            msg = (
                f"optim.warmup must be at most optim.steps, {self.steps}, got "
                f"{self.warmup}"
            )
            raise InvalidQueryError(msg)
        if self.accumulate > self.batch_size:
            msg = (
                f"optim.accumulate must be at most optim.batch_size, "
                f"{self.batch_size}, got {self.accumulate}"
            )
            raise InvalidQueryError(msg)


@settings("run")
class RunSettings(Settings):
    """
    Where and how a run goes, and when it stops.

    Parameters
    ----------
    output : str, optional
        Directory of checkpoints and records.
    seed : int
        Seed of everything that is random; 0 is a seed.
    workers : int
        Threads that read and change pictures ahead of the model; 0 does it
        between the steps.
    eval_every, save_every : int
        Steps between evaluations and between checkpoints.
    keep : int
        Best checkpoints that are kept.
    metric : str
        What the best one is told by: "top10" (share of validation pictures
        whose own caption is among the best 10 % of all), "top10_text" (the
        other way round), "top1", "recall@1", "recall@5", "recall@10",
        "median_rank", "auc" or "validation_loss".
    metric_mode : {"max", "min"}
        Whether larger or smaller is better: "min" for "median_rank" and
        "validation_loss".
    patience : int, optional
        Evaluations without a better one after which the run stops.
    shuffle_pairs : bool
        Whether texts are given to wrong pictures: a control that must end at
        chance.
    log : tuple of {"tensorboard", "wandb"}
        Where the curves also go.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    cache_features : int or bool
        How many variants of each picture a frozen tower is shown: their
        features are kept on disk and used again in later epochs. 0 or False
        keeps none, True 8. Pictures that are not changed at random have one.
    """

    output: str | None = text(None, optional=True)
    seed: int = number(0, 0, 2**63 - 1, whole=True)
    workers: int = number(2, 0, 1024, whole=True)
    eval_every: int = number(200, 1, 10**9, whole=True)
    save_every: int = number(200, 1, 10**9, whole=True)
    keep: int = number(1, 1, 1000, whole=True)
    metric: str = choice("top10", *METRICS)
    metric_mode: str = choice("max", "max", "min")
    patience: int | None = number(None, 1, 10**6, whole=True, optional=True)
    shuffle_pairs: bool = flag(False)
    log: tuple = choices("tensorboard", "wandb")
    device: str = text("auto")
    cache_features: int = amount(0, 8, 1000)

    def _relations(self):
        better = METRICS[self.metric]
        if self.metric_mode != better:
            what = "larger" if better == "max" else "smaller"
            msg = (
                f"run.metric_mode must be {better!r} with run.metric {self.metric!r}, "
                f"of which {what} ones are better, got {self.metric_mode!r}"
            )
            raise InvalidQueryError(msg)
