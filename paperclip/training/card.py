# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The model card: what a model is, what it saw, how good it is, where it fails."""

import json
import math
import re
from collections.abc import Mapping
from numbers import Real

import numpy as np

from paperclip.exceptions import InvalidQueryError

from ._cardtable import figure_table, main_rows, plain_cell

__all__ = ["metric_rows", "model_card"]

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_LIMITS = (
    "A similarity is a hint where to look, not a measurement.",
    "Pictures of other instruments, filters or scalings than those of the data may "
    "be judged wrongly.",
    "English only; names of objects and numbers of programmes mean little to it.",
)
_RECIPE = (
    ("base", "model.base"),
    ("mode", "model.mode"),
    ("recipe", "recipe"),
    ("loss", "loss.kind"),
    ("right answers of a batch", "loss.positives"),
    ("learning rate", "optim.lr"),
    ("weight decay", "optim.weight_decay"),
    ("batch", "optim.batch_size"),
    ("steps", "optim.steps"),
    ("epochs", "optim.epochs"),
    ("warm-up", "optim.warmup"),
    ("schedule", "optim.schedule"),
    ("running average", "model.ema"),
    ("share of the trained weights", "model.wise"),
    ("captions", "captions.sources"),
    ("seed", "run.seed"),
)
_KNOWN = ("value", "low", "high", "chance")
_SPLITS = ("train", "validation", "test")


def check_licence(licence):
    """
    Check the name of a licence.

    Parameters
    ----------
    licence : str
        As the Hugging Face Hub names them: "cc-by-4.0", "apache-2.0", "mit",
        "other".

    Returns
    -------
    licence : str
        In lower case.

    Raises
    ------
    InvalidQueryError
        If it is no such name.
    """
    name = licence.strip().lower() if isinstance(licence, str) else ""
    if not _LICENCE.fullmatch(name):
        msg = (
            "licence must be the short name of a licence, such as 'cc-by-4.0', "
            f"'apache-2.0' or 'other', got {licence!r}"
        )
        raise InvalidQueryError(msg)
    return name


def metric_rows(metrics):
    """
    Bring figures into one form.

    Parameters
    ----------
    metrics : mapping, `~astropy.table.Table`, object with a ``metrics``, or None
        A mapping of names to numbers, to (value, low, high), or to mappings
        with ``value``, ``low``, ``high`` and ``chance``; a table with the
        columns ``metric`` (or ``name``), ``value``, ``low``, ``high`` and
        ``chance``; or anything whose ``metrics`` is one of these, such as an
        evaluation.

    Returns
    -------
    rows : list of dict
        ``name``, ``value``, ``low``, ``high``, ``chance``; None if not known.

    Raises
    ------
    InvalidQueryError
        If a value is not a finite number, or an interval ends before it begins.
    """
    if metrics is None:
        return []
    if hasattr(metrics, "metrics"):
        metrics = metrics.metrics
    if hasattr(metrics, "colnames"):
        metrics = _of_table(metrics)
    if not isinstance(metrics, Mapping):
        msg = f"metrics must be a mapping or a Table, got {type(metrics).__name__}"
        raise InvalidQueryError(msg)
    return [_metric(str(name), given) for name, given in metrics.items()]


def _of_table(table):
    label = next((n for n in ("metric", "name") if n in table.colnames), None)
    if label is None or "value" not in table.colnames:
        msg = (
            "a table of metrics must have the columns metric and value, got "
            f"{', '.join(table.colnames)}"
        )
        raise InvalidQueryError(msg)
    extra = [n for n in ("subset",) if n in table.colnames]
    found = {}
    for row in table:
        name = ", ".join(str(row[n]) for n in (label, *extra) if str(row[n]) != "--")
        if _number(row["value"]) is not None:  # figures may be missing in a table
            found[name] = {key: row[key] for key in _KNOWN if key in table.colnames}
    return found


def _metric(name, given):
    if isinstance(given, Mapping):
        values = [given.get(key) for key in _KNOWN]
    elif isinstance(given, Real):
        values = [given, None, None, None]
    else:
        values = [*[*given, None, None][:3], None]
    value, low, high, chance = map(_number, values)
    if value is None:
        msg = f"metrics[{name!r}] must be a finite number, got {values[0]!r}"
        raise InvalidQueryError(msg)
    if low is None or high is None:
        low = high = None
    elif low > high:
        msg = f"metrics[{name!r}] must have low <= high, got {low:g} and {high:g}"
        raise InvalidQueryError(msg)
    return {"name": name, "value": value, "low": low, "high": high, "chance": chance}


def _number(value):
    """Return a finite float, or None for what is missing."""
    if np.ma.is_masked(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def model_card(manifest, *, description="", limits=(), credit=""):
    """
    Write the card of a model.

    Parameters
    ----------
    manifest : mapping
        Content of ``training.json``; see `paperclip.training.save_model`.
    description : str, optional
        What the model is for.
    limits : sequence of str, optional
        Where it fails, beside what is said of every model.
    credit : str, optional
        Whom to thank or to cite.

    Returns
    -------
    text : str
        Markdown with a YAML header, as the Hugging Face Hub reads it.
    """
    name = manifest["name"]
    parts = [
        _header(manifest),
        f"# {plain_cell(name)}\n",
        f"{description.strip() or _what(manifest)}\n",
        _usage(manifest),
        _data(manifest.get("data") or {}),
        _figures(manifest),
        _recipe(manifest),
        _limits([*limits, *_LIMITS]),
        _record(manifest),
    ]
    if credit.strip():
        parts.append(f"## Credit\n\n{credit.strip()}\n")
    return "\n".join(part for part in parts if part)


def _header(manifest):
    """Return the YAML; quoted as JSON, which is YAML too."""
    data = manifest.get("data") or {}
    lines = [
        "---",
        f"license: {manifest['licence']}",
        "library_name: open_clip",
        "pipeline_tag: zero-shot-image-classification",
        "language: en",
        "tags: [astronomy, clip, paperclip]",
    ]
    if manifest["metrics"]:
        entry = {
            "name": manifest["name"],
            "results": [
                {
                    "task": {"type": "image-text-retrieval", "name": "retrieval"},
                    "dataset": {
                        "name": str(data.get("name") or "not named"),
                        "type": "other",
                        "split": str(manifest.get("evaluated_on") or "test"),
                    },
                    "metrics": [
                        {
                            "type": row["name"],
                            "name": row["name"],
                            "value": float(f"{row['value']:.4g}"),
                        }
                        for row in main_rows(manifest["metrics"])
                    ],
                }
            ],
        }
        lines += [f"model-index: {json.dumps([entry], ensure_ascii=False)}"]
    return "\n".join([*lines, "---", ""])


def _what(manifest):
    model = manifest["model"]
    return (
        "A CLIP model that puts pictures of the sky and English texts into one space "
        f"of {model['dimension']} dimensions, trained with paperclip. The method is "
        "that of PAPERCLIP (arXiv:2403.08851)."
    )


def _usage(manifest):
    place = manifest.get("repo") or "PLACE"
    hub = manifest.get("repo") is not None
    said = "" if hub else "`PLACE` is this directory, or its name on the Hub.\n\n"
    address = f"hf-hub:{place}" if hub else "local-dir:PLACE"
    return (
        f"## How to use it\n\n{said}With paperclip:\n\n```python\n"
        "from paperclip.models import load_encoder\n\n"
        f'encoder = load_encoder("{place}")\n'
        "pictures = encoder.encode_images([picture])  # uint8, (ny, nx, 3)\n"
        'texts = encoder.encode_texts(["face-on spiral galaxy"])\n'
        "similarity = pictures @ texts.T\n```\n\n"
        "With open_clip alone:\n\n```python\nimport open_clip\n\n"
        "model, preprocess = open_clip.create_model_from_pretrained(\n"
        f'    "{address}"\n)\n'
        f'tokenizer = open_clip.get_tokenizer("{address}")\n```\n'
        + _for_paperclip_only(manifest)
    )


def _for_paperclip_only(manifest):
    reason = manifest["model"].get("only_paperclip")
    return f"\nopen_clip alone cannot open this model: {reason}\n" if reason else ""


def _data(data):
    lines = ["## Data\n"]
    title = data.get("name")
    if title:
        licence = data.get("licence") or data.get("license")
        said = f", licence {plain_cell(licence)}." if licence else "."
        lines.append(plain_cell(title) + said)
    if data.get("description"):
        lines.append(f"\n{str(data['description']).strip()}")
    splits = data.get("splits") or {}
    if splits:
        lines += ["", "| split | pairs | groups |", "|---|---|---|"]
        for split in [*_SPLITS, *(s for s in splits if s not in _SPLITS)]:
            if split in splits:
                row = splits[split]
                pairs, groups = (_shown(row.get(key)) for key in ("pairs", "groups"))
                lines.append(f"| {plain_cell(split)} | {pairs} | {groups} |")
        if data.get("apart"):
            lines += ["", "No group (such as a proposal) is in two splits."]
    if data.get("hash"):
        lines.append(f"\nHash of the pairs: `{data['hash']}`.")
    if len(lines) == 1:
        return "## Data\n\nNothing is recorded about the data.\n"
    return "\n".join(lines) + "\n"


def _figures(manifest):
    rows = manifest["metrics"]
    if not rows:
        return "## How good it is\n\nIt was not evaluated.\n"
    lines = ["## How good it is\n"]
    if manifest.get("evaluated_on"):
        lines += [f"Split: {plain_cell(manifest['evaluated_on'])}.", ""]
    lines += figure_table(rows)
    return "\n".join(lines) + "\n"


def _recipe(manifest):
    config = manifest["training"].get("config")
    if not config:
        return ""
    lines = ["## How it was trained\n", "| setting | value |", "|---|---|"]
    for label, dotted in _RECIPE:
        group, _, key = dotted.partition(".")
        value = config.get(group)
        if key:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None and value != "none":
            lines.append(f"| {label} | {plain_cell(_shown(value))} |")
    return "\n".join(lines) + "\n\nAll settings are in `training.json`.\n"


def _limits(limits):
    return "## Limits\n\n" + "".join(f"- {line.strip()}\n" for line in limits)


def _record(manifest):
    model, packages = manifest["model"], manifest["packages"]
    half = model.get("half")
    said = [
        f"- fingerprint `{model['fingerprint']}`",
        f"- {model['parameters'] / 1e6:.3g} million numbers, {model['precision']}",
        "- " + ", ".join(f"{name} {version}" for name, version in packages.items()),
    ]
    if half:
        said.insert(
            2,
            "- halving the precision changed no component of a unit vector by more "
            f"than {half['max_difference']:.2g}; lowest cosine "
            f"{half['lowest_cosine']:.6f}",
        )
    return "## Record\n\n" + "\n".join(said) + "\n"


def _shown(value):
    if value is None:
        return "not known"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {number:g}" for key, number in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
