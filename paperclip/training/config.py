# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The configuration of a training run: one object, checked, kept with results."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path

from paperclip.exceptions import InvalidQueryError
from paperclip.utils.files import atomic_path

from . import _configfile
from ._groups import check_names, settings
from .recipes import RECIPES
from .settings import (
    AugmentSettings,
    CaptionSettings,
    DataSettings,
    LossSettings,
    ModelSettings,
    OptimSettings,
    RunSettings,
)

__all__ = ["LOGISTICS", "TrainingConfig"]

_GROUPS = {
    "model": ModelSettings,
    "data": DataSettings,
    "captions": CaptionSettings,
    "augment": AugmentSettings,
    "loss": LossSettings,
    "optim": OptimSettings,
    "run": RunSettings,
}
# settings of which only one can be given: naming one puts the other back
_EITHER = {"steps": "epochs", "epochs": "steps"}
LOGISTICS = ("output", "workers", "save_every", "keep", "log", "device")
"""Settings of the run that do not change the weights that come out."""


def _group(name):
    return field(default_factory=_GROUPS[name])


@settings("")
class TrainingConfig:
    """
    Everything that decides how a model is trained.

    Each group is an object of its class, or a mapping of its settings. Without
    arguments this is what the classes of the groups have as defaults; tuned
    numbers come from `TrainingConfig.recipe`.

    Parameters
    ----------
    recipe_name : str
        The recipe that this began as, for the record.
    model : `ModelSettings`
        Which model is trained, and which part of it.
    data : `DataSettings`
        Which pairs are used.
    captions : `CaptionSettings`
        Which text of a pair is read.
    augment : `AugmentSettings`
        How pictures are changed at random.
    loss : `LossSettings`
        What is minimised.
    optim : `OptimSettings`
        The optimizer, its schedule, and how long it runs.
    run : `RunSettings`
        Where and how the run goes, and when it stops.

    Raises
    ------
    InvalidQueryError
        If a name is unknown or a value is of the wrong type or out of range;
        the message has the dotted name, the rule and the value.

    Examples
    --------
    >>> from paperclip.training import TrainingConfig
    >>> config = TrainingConfig.recipe("paper").replace("optim.steps=100",
    ...                                                 "optim.warmup=10")
    >>> config.optim.steps, config.optim.lr
    (100, 1e-05)
    >>> TrainingConfig.from_dict(config.to_dict()) == config
    True
    """

    recipe_name: str = "default"
    model: ModelSettings = _group("model")
    data: DataSettings = _group("data")
    captions: CaptionSettings = _group("captions")
    augment: AugmentSettings = _group("augment")
    loss: LossSettings = _group("loss")
    optim: OptimSettings = _group("optim")
    run: RunSettings = _group("run")

    def __post_init__(self):
        _recipe(self.recipe_name)
        for name, kind in _GROUPS.items():
            value = getattr(self, name)
            if isinstance(value, Mapping):
                object.__setattr__(self, name, kind(**_strings(name, value)))
            elif not isinstance(value, kind):
                got = type(value).__name__
                msg = f"{name} must be a {kind.__name__} or a mapping, got {got}"
                raise InvalidQueryError(msg)
        paper = self.loss.kind == "paper"
        if paper and self.loss.positives != "none":
            msg = (
                "loss.positives must be 'none' with loss.kind 'paper', got "
                f"{self.loss.positives!r}"
            )
            raise InvalidQueryError(msg)
        if self.run.cache_features:
            self._check_cache()

    def _check_cache(self):
        """Refuse a cache of features that change, or that depend on batches."""
        frozen = ("head", "lock-image", "lock-text")
        if self.model.mode not in frozen:
            msg = (
                f"run.cache_features must be 0 with model.mode {self.model.mode!r}, "
                f"got {self.run.cache_features}; only frozen towers can be cached: "
                f"{', '.join(frozen)}"
            )
            raise InvalidQueryError(msg)
        if self.augment.shared and self.model.mode != "lock-text":
            msg = (
                "run.cache_features must be 0 with augment.shared, got "
                f"{self.run.cache_features}; its pictures depend on their batch"
            )
            raise InvalidQueryError(msg)

    @classmethod
    def recipe(cls, name="default"):
        """
        Return the settings of a recipe.

        Parameters
        ----------
        name : {"default", "paper", "head"}
            "default" is what was measured to work best here; "paper" repeats
            the published PAPERCLIP runs with their faults; "head" trains two
            small networks on frozen towers.

        Returns
        -------
        config : TrainingConfig
            To be changed by `TrainingConfig.replace`.

        Raises
        ------
        InvalidQueryError
            If there is no such recipe.
        """
        return cls(recipe_name=name, **_recipe(name))

    @classmethod
    def from_dict(cls, values):
        """
        Make a configuration from plain values, on top of a recipe.

        Parameters
        ----------
        values : mapping
            ``{"recipe": "default", "optim": {"lr": 1e-4}, ...}``. What is not
            given comes from the recipe, "default" if none is named.

        Returns
        -------
        config : TrainingConfig
            The checked configuration.

        Raises
        ------
        InvalidQueryError
            If a name is unknown or a value cannot be used.
        """
        if not isinstance(values, Mapping):
            msg = f"a configuration must be a mapping, got {type(values).__name__}"
            raise InvalidQueryError(msg)
        check_names(values, ["recipe", *_GROUPS])
        name = values.get("recipe", "default")
        merged = {key: dict(part) for key, part in _recipe(name).items()}
        for group, part in values.items():
            if group != "recipe":
                merged[group] = _merged(group, merged.get(group, {}), part)
        return cls(recipe_name=name, **merged)

    @classmethod
    def from_file(cls, path):
        """
        Read a configuration.

        Parameters
        ----------
        path : path-like
            A ``.toml``, ``.yaml``, ``.yml`` or ``.json`` file, laid out as for
            `TrainingConfig.from_dict`.

        Returns
        -------
        config : TrainingConfig
            The checked configuration.

        Raises
        ------
        InvalidQueryError
            If the file cannot be read or holds something else; the message
            begins with its name.
        """
        values = _configfile.read(path)
        try:
            return cls.from_dict({} if values is None else values)
        except InvalidQueryError as exc:
            msg = f"{Path(path)}: {exc}"
            raise InvalidQueryError(msg) from exc

    def to_file(self, path):
        """
        Write the whole configuration, in one piece or not at all.

        Parameters
        ----------
        path : path-like
            A ``.toml``, ``.yaml``, ``.yml`` or ``.json`` file.

        Raises
        ------
        InvalidQueryError
            If the suffix is another one.
        """
        content = _configfile.compose(self.to_dict(), path)
        with atomic_path(path) as part:
            part.write_text(content, encoding="utf-8")

    def to_dict(self):
        """
        Return all settings as plain values.

        Returns
        -------
        values : dict
            `TrainingConfig.from_dict` makes an equal configuration of it.
        """
        groups = {name: getattr(self, name).to_dict() for name in _GROUPS}
        return {"recipe": self.recipe_name, **groups}

    def to_toml(self):
        """
        Return all settings as TOML.

        Returns
        -------
        text : str
            None is written as ``"none"``, as TOML has no null.
        """
        return _configfile.compose(self.to_dict(), "config.toml")

    def to_json(self):
        """
        Return all settings as JSON.

        Returns
        -------
        text : str
            With line breaks.
        """
        return _configfile.compose(self.to_dict(), "config.json")

    def replace(self, *changes):
        """
        Return a copy with some settings changed.

        Parameters
        ----------
        *changes : str or mapping
            ``"optim.lr=1e-4"``, or a mapping of dotted names to values. Lists
            are written as ``data.path=["a", "b"]``, one weight of captions as
            ``captions.sources.title=0.2``. Giving ``optim.epochs`` takes
            ``optim.steps`` away and the other way round.

        Returns
        -------
        config : TrainingConfig
            The checked copy.

        Raises
        ------
        InvalidQueryError
            If a name is unknown or a value cannot be used.
        """
        values = self.to_dict()
        del values["recipe"]
        given = {}
        for change in changes:
            pairs = change if isinstance(change, Mapping) else _parsed(change)
            for dotted, value in pairs.items():
                _put(given, values, dotted, value)
        for group, part in given.items():
            values[group] = _merged(group, values[group], part)
        return type(self)(recipe_name=self.recipe_name, **values)

    @property
    def hash(self):
        """
        Short hash of the settings that shape the result.

        Where files go, how often they are written, and what reads the pictures
        is left out: runs with the same hash, data and packages agree.
        """
        values = self.to_dict()
        del values["recipe"]
        for name in LOGISTICS:
            del values["run"][name]
        if not self.run.cache_features:  # runs that began before it existed
            del values["run"]["cache_features"]
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _recipe(name):
    """Return the numbers of a recipe."""
    if not isinstance(name, str) or name not in RECIPES:
        check_names([name], list(RECIPES), prefix="recipe ")
    return RECIPES[name]


def _strings(group, part):
    """Check that a group is a mapping with texts as names."""
    if not isinstance(part, Mapping):
        msg = f"{group} must be a mapping of settings, got {type(part).__name__}"
        raise InvalidQueryError(msg)
    known = [item.name for item in fields(_GROUPS[group])]
    check_names(part, known, prefix=f"{group}.")
    return part


def _merged(group, base, part):
    """Put given settings over others, those that exclude each other included."""
    part = _strings(group, part)
    base = dict(base)
    if group == "optim":
        for name, other in _EITHER.items():
            if part.get(name) not in (None, "none") and other not in part:
                base[other] = None
    return base | dict(part)


def _parsed(change):
    """Split ``name=value``; values are JSON, or texts as they stand."""
    if not isinstance(change, str) or "=" not in change:
        msg = f"a change must read 'group.name=value', got {change!r}"
        raise InvalidQueryError(msg)
    name, _, value = change.partition("=")
    value = value.strip()
    try:
        return {name.strip(): json.loads(value)}
    except ValueError:
        words = {"True": True, "False": False, "None": None}
        return {name.strip(): words.get(value, value)}


def _put(given, values, dotted, value):
    """Enter a value under its dotted name."""
    group, _, name = str(dotted).partition(".")
    name, _, rest = name.partition(".")
    if not name or group not in _GROUPS:
        known = [f"{g}.{item.name}" for g in _GROUPS for item in fields(_GROUPS[g])]
        check_names([dotted], known)
    part = given.setdefault(group, {})
    if not rest:
        part[name] = value
        return
    inside = part.get(name, values[group].get(name))
    if not isinstance(inside, Mapping):
        check_names([f"{name}.{rest}"], list(values[group]), prefix=f"{group}.")
    part[name] = {**inside, rest: value}
