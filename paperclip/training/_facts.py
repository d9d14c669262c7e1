# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What the manifest of a published model says about run, data and packages."""

import json
import os
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np

from paperclip.exceptions import InvalidQueryError, ModelLoadError
from paperclip.models.hub import CONFIG_NAME, resolve

from ._configfile import read as read_config
from ._records import data_hash
from .settings import METRICS

__all__ = [
    "data_facts",
    "find_model",
    "read_object",
    "recorded_metrics",
    "training_facts",
    "versions",
    "without_places",
]

_PACKAGES = ("astro-paperclip", "open_clip_torch", "torch", "transformers", "numpy")
_RECORDED = ("machine", "device", "processes", "base", "finished", "packages")
_PLACE = re.compile(r"(?:[\\/]|~|[A-Za-z]:[\\/]|file:)")


def find_model(source):
    """
    Find the model of a run.

    Parameters
    ----------
    source : path-like, str or object with a ``directory``
        A run, its directory, or a model.

    Returns
    -------
    run : `~pathlib.Path` or None
        Directory of the run, if it is one.
    model : `~pathlib.Path`
        Directory of the model.

    Raises
    ------
    ModelLoadError
        If the run is not finished, or it is neither.
    """
    place = getattr(source, "directory", source)
    if not isinstance(place, str | os.PathLike):
        msg = (
            "source must be a run, its directory or a model, got "
            f"{type(source).__name__}"
        )
        raise InvalidQueryError(msg)
    path = Path(place).expanduser()
    if (path / "model" / CONFIG_NAME).is_file():
        return path, path / "model"
    if path.is_dir() and not (path / CONFIG_NAME).is_file():
        unfinished = (path / "checkpoints").is_dir() or (path / "config.toml").is_file()
        msg = (
            f"the run in {path} has no model yet; finish it with 'paperclip train'"
            if unfinished
            else f"{path} holds neither a run nor a model ({CONFIG_NAME})"
        )
        raise ModelLoadError(msg)
    run = path.parent if path.is_dir() and path.name == "model" else None
    return run, resolve(place).directory


def training_facts(run):
    """Return settings, seed and machine that a run wrote down."""
    if run is None:
        return {}
    facts = {}
    config = next((p for p in sorted(run.glob("config.*")) if p.is_file()), None)
    if config is not None:
        from .config import TrainingConfig

        values = read_config(config)
        facts["config"] = values
        facts["seed"] = (values.get("run") or {}).get("seed")
        facts["config_hash"] = TrainingConfig.from_file(config).hash
    environment = read_object(run / "environment.json")
    facts |= {name: environment[name] for name in _RECORDED if name in environment}
    if environment.get("left_out"):
        facts["left_out"] = len(environment["left_out"])
    return facts


def _recorded_data(run):
    """Say what a run wrote about its pairs."""
    environment = {} if run is None else read_object(run / "environment.json")
    if "data_hash" not in environment:
        return {}
    config = next((p for p in sorted(run.glob("config.*")) if p.is_file()), None)
    paths = [] if config is None else read_config(config).get("data", {}).get("path")
    names = ", ".join(Path(path).name for path in paths or ())
    train = {name: environment.get(name) for name in ("pairs", "groups")}
    splits = {"train": train}
    if environment.get("validation_pairs"):
        held = {"pairs": environment["validation_pairs"]}
        splits["validation"] = held | {"groups": environment.get("validation_groups")}
    named = {"name": names} if names else {}
    return {**named, "hash": environment["data_hash"], "splits": splits}


def recorded_metrics(run):
    """Return the figures of the model, as the run wrote them."""
    environment = {} if run is None else read_object(run / "environment.json")
    finished = environment.get("finished") or {}
    best = finished.get("best")
    if "metrics" in finished:  # of a result that is between base and that step
        return {n: v for n, v in finished["metrics"].items() if np.isfinite(v)}
    if best is None or not (run / "history.parquet").is_file():
        return {}
    from astropy.table import Table

    table = Table.read(run / "history.parquet", format="parquet")
    row = table[np.asarray(table["step"]) == best]
    return {
        name: float(row[name][0])
        for name in METRICS
        if name in table.colnames and len(row) and np.isfinite(row[name][0])
    }


def data_facts(data, run):
    """Return what is known about the data, in the form of the manifest."""
    if data is None:
        return _recorded_data(run)
    if isinstance(data, str):
        return {"name": data}
    if isinstance(data, Mapping) and any(hasattr(v, "groups") for v in data.values()):
        return _of_splits(data)
    if isinstance(data, Mapping):
        return dict(data)
    if hasattr(data, "groups"):
        return _of_splits({"train": data})
    if hasattr(data, "splits"):
        from .pairs import PairList

        parts = {name: PairList.from_dataset(data, name) for name in data.splits}
        return {"name": data.folder.name, **_of_splits(parts)}
    msg = f"data must be a str, a mapping or pairs, got {type(data).__name__}"
    raise InvalidQueryError(msg)


def _of_splits(parts):
    splits = {
        split: {"pairs": len(pairs), "groups": len(set(pairs.groups))}
        for split, pairs in parts.items()
    }
    train = parts.get("train")
    digest = {} if train is None else {"hash": data_hash(train)}
    groups = [set(pairs.groups) for pairs in parts.values()]
    apart = sum(map(len, groups)) == len(set().union(*groups))
    return {**digest, "splits": splits, "apart": apart and len(groups) > 1}


def versions():
    """Return versions of the packages that make vectors."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "python": platform.python_version()}


def without_places(value):
    """Shorten paths of this machine to their last part."""
    if isinstance(value, Mapping):
        return {str(key): without_places(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(item) for item in value]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and "\n" not in value and _PLACE.match(value):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return value


def read_object(path):
    """Return a JSON object, or an empty one if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
