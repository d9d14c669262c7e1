# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What a run is given: pairs, and settings that it may have had before."""

import warnings
from difflib import get_close_matches

from paperclip.exceptions import (
    CheckpointError,
    DataSetError,
    InvalidQueryError,
    TrainingWarning,
)

from ._validate import warn_of_no_figures
from .augment import Augmentation
from .captions import CaptionMixer
from .config import LOGISTICS
from .loader import Loader
from .pairs import PairList
from .sampler import Batches
from .tables import SOURCES, read_pairs

__all__ = [
    "check_sources",
    "make_batches",
    "make_loader",
    "pair_list",
    "read_parts",
    "refuse_other_run",
]

_NAMED = 3
# what may differ when a run goes on
_FREE = {"recipe", *(f"run.{name}" for name in LOGISTICS)}


def pair_list(name, pairs):
    """Return pairs as a list of pairs."""
    if isinstance(pairs, PairList):
        return pairs
    if isinstance(pairs, str | bytes):
        msg = f"{name} must be a PairList, got {type(pairs).__name__}"
        raise InvalidQueryError(msg)
    return PairList(pairs)


def check_sources(pairs, sources):
    """
    Refuse caption sources that are misspelt, and pairs without a text.

    Parameters
    ----------
    pairs : `~paperclip.training.PairList`
        What a run is trained on.
    sources : mapping
        Caption source to weight.

    Raises
    ------
    InvalidQueryError
        If no pair has a source, and it is none of the usual ones.
    DataSetError
        If there are too few groups or a pair has no text of the sources.
    """
    wanted = [name for name, weight in sources.items() if weight]
    there = pairs.sources()
    known = [*there, *(name for name in (*SOURCES, "metadata") if name not in there)]
    for name in wanted:
        if pairs and name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            msg = (
                f"captions.sources names {name!r}, which no pair has{hint} There are "
                f"{list(there)}"
            )
            raise InvalidQueryError(msg)
    pairs.check(min_groups=2, sources=wanted)


def read_parts(settings, *, validation=True):
    """
    Read what a run is trained and compared on.

    Parameters
    ----------
    settings : `~paperclip.training.DataSettings`
        Data sets or tables, and the names of two of their parts.
    validation : bool, optional
        Whether the second one is wanted.

    Returns
    -------
    pairs, validation : `~paperclip.training.PairList` or None
        None for validation pairs that are not wanted or not there.

    Raises
    ------
    InvalidQueryError
        If nothing is named, or something that is no table of pairs.
    DataSetError
        If there is no such data set, or nothing to train on.

    Warns
    -----
    TrainingWarning
        If there are no validation pairs, or groups are in both parts.
    """
    if not settings.path:
        msg = "name a data set or a table in data.path, or give pairs"
        raise InvalidQueryError(msg)
    pairs = _joined(settings.path, settings.train)
    if not validation:
        return pairs, None
    try:
        held = _joined(settings.path, settings.validation)
    except (DataSetError, InvalidQueryError) as exc:
        warn_of_no_figures(exc, stacklevel=6)
        return pairs, None
    both = set(pairs.groups) & set(held.groups)
    if both:
        named = ", ".join(sorted(both)[:_NAMED])
        msg = (
            f"{len(both)} groups are in training and in validation ({named}); figures "
            "will look better than they are"
        )
        warnings.warn(msg, TrainingWarning, stacklevel=5)
    return pairs, held


def _joined(paths, split):
    parts = [read_pairs(path, split) for path in paths]
    return parts[0] if len(parts) == 1 else PairList(p for part in parts for p in part)


def make_batches(config, pairs):
    """
    Return the batches of a run.

    Parameters
    ----------
    config : `~paperclip.training.TrainingConfig`
        Settings.
    pairs : `~paperclip.training.PairList`
        Pairs that can be read.

    Returns
    -------
    batches : `~paperclip.training.Batches`
        Of all processes together.

    Raises
    ------
    DataSetError
        If there are fewer pairs than ``optim.batch_size``, or one group only.
    """
    size = config.optim.batch_size
    if len(pairs) < size:
        msg = (
            f"optim.batch_size must be at most the number of pairs, {len(pairs)}, got "
            f"{size}; lower it or add pairs"
        )
        raise DataSetError(msg)
    return Batches(
        pairs.groups,
        size,
        config.run.seed,
        unique_groups=config.data.unique_groups,
        drop_last=config.data.drop_last,
        may_meet=config.loss.positives in ("group", "both"),
    )


def make_loader(config, model, pairs, order, frozen):
    """
    Make what reads the batches of a run.

    Parameters
    ----------
    config : `~paperclip.training.TrainingConfig`
        Settings.
    model : paperclip.training.model.Trainable
        Has the tokenizer and the size of the pictures.
    pairs : `~paperclip.training.PairList`
        What it is trained on.
    order : `~paperclip.training.Batches`
        The part of this process.
    frozen : paperclip.training._frozen.FrozenFeatures or None
        Knows pictures that need not be read again.

    Returns
    -------
    loader : paperclip.training.loader.Loader
        Ready to begin anywhere.
    """
    size = model.preprocessing.size
    mixer = CaptionMixer(
        config.captions,
        lambda text: len(model.reader.ids(text)),
        model.reader.context_length,
    )
    augmentation = Augmentation(
        config.augment,
        size=size[0] if size[0] == size[1] else None,
        fill=model.preprocessing.fill,
    )
    return Loader(
        pairs,
        order,
        mixer,
        augmentation,
        model.reader,
        model.preprocessing,
        seed=config.run.seed,
        trim=model.trim,
        workers=config.run.workers,
        frozen=frozen,
    )


def refuse_other_run(found, now):
    """
    Refuse a checkpoint of another run, and say what differs.

    Parameters
    ----------
    found : paperclip.training.checkpoint.Checkpoint
        The last one of the directory.
    now : dict
        Settings and identities of this start, by their names in its state.

    Raises
    ------
    CheckpointError
        With every difference.
    """
    then = found.state
    odd = []
    if then["config_hash"] != now["config_hash"]:
        odd += _differences(then["config"], now["config"])
    if then["base"] != now["base"]:
        odd.append(f"the weights of model.base {now['config']['model']['base']!r}")
    if then["data_hash"] != now["data_hash"]:
        odd.append(f"the training pairs ({then['pairs']} then, {now['pairs']} now)")
    held = now["validation_hash"]
    if then.get("validation_hash", held) != held:  # older runs did not note it
        odd.append("the validation pairs, which choose the step")
    if odd:
        msg = (
            f"{found.path} belongs to another run, these differ: "
            f"{'; '.join(odd)}. Name another run.output, or put them back"
        )
        raise CheckpointError(msg)


def _differences(then, now, prefix=""):
    """Name settings that differ, with both values."""
    found = []
    for name in sorted({*then, *now}):
        a, b = then.get(name), now.get(name)
        if name not in then and not b:
            continue  # a switch that did not exist then, and is off
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{name}.")
        elif a != b and f"{prefix}{name}" not in _FREE:
            found.append(f"{prefix}{name} ({a!r} then, {b!r} now)")
    return found
