# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Checked fields of settings: each error names the setting, rule and value."""

import math
import os
import reprlib
from collections.abc import Mapping
from dataclasses import field
from difflib import get_close_matches
from numbers import Integral, Real

from paperclip.exceptions import InvalidQueryError

__all__ = [
    "Weights",
    "amount",
    "choice",
    "choices",
    "flag",
    "number",
    "numbers",
    "text",
    "texts",
    "weights",
]

_NONE = ("none", "null", "")  # TOML has no null


class Weights(Mapping):
    """
    Weights by name that cannot change.

    Parameters
    ----------
    values : mapping
        Name to weight.
    """

    __slots__ = ("_values",)

    def __init__(self, values):
        self._values = dict(values)

    def __getitem__(self, name):
        return self._values[name]

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)

    def __hash__(self):
        return hash(frozenset(self._values.items()))

    def __repr__(self):
        return repr(self._values)

    def __reduce__(self):
        return Weights, (self._values,)


def _refuse(name, rule, value):
    """Raise the error of a setting; hostile values are shown in short."""
    msg = f"{name} must be {rule}, got {reprlib.repr(value)}"
    raise InvalidQueryError(msg)


def _is_none(value):
    return value is None or (isinstance(value, str) and value.lower() in _NONE)


def _range(low, high, above):
    side = "above" if above else "from"
    return f"{side} {low} to {high}" if high < math.inf else f"{side} {low} on"


def _number(value, low, high, above, whole):
    """Return a number within limits, or None."""
    kind = Integral if whole else Real
    if isinstance(value, float) and whole and value.is_integer():
        value = int(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        return None
    if not math.isfinite(value) or not low <= value <= high or (above and value == low):
        return None
    return int(value) if whole else float(value)


def number(default, low, high=math.inf, *, above=False, whole=False, optional=False):
    """
    Declare a number.

    Parameters
    ----------
    default : float, int or None
        Value that is used if none is given.
    low, high : float
        Limits, both allowed.
    above : bool
        Whether ``low`` itself is not allowed.
    whole : bool
        Whether it must be an integer.
    optional : bool
        Whether None is allowed, also written "none".

    Returns
    -------
    field : `dataclasses.Field`
        With its check.
    """
    rule = f"{'a whole number' if whole else 'a number'} {_range(low, high, above)}"
    rule += " or none" if optional else ""

    def check(name, value):
        if optional and _is_none(value):
            return None
        found = _number(value, low, high, above, whole)
        return _refuse(name, rule, value) if found is None else found

    return field(default=default, metadata={"check": check})


def numbers(default, low, high, *, order=False):
    """
    Declare a pair of numbers.

    Parameters
    ----------
    default : tuple of float
        Value that is used if none is given.
    low, high : float
        Limits; ``low`` itself is not allowed.
    order : bool
        Whether the second must not be smaller; one number stands for both.

    Returns
    -------
    field : `dataclasses.Field`
        With its check.
    """
    rule = f"two numbers {_range(low, high, True)}" + (" in order" if order else "")

    def check(name, value):
        if order and isinstance(value, Real):
            value = (value, value)
        if not isinstance(value, list | tuple) or len(value) != 2:
            _refuse(name, rule, value)
        found = tuple(_number(x, low, high, True, False) for x in value)
        if None in found or (order and found[0] > found[1]):
            _refuse(name, rule, value)
        return found

    return field(default=default, metadata={"check": check})


def flag(default):
    """
    Declare a switch.

    Parameters
    ----------
    default : bool
        Value that is used if none is given.

    Returns
    -------
    field : `dataclasses.Field`
        With its check.
    """

    def check(name, value):
        return (
            value if isinstance(value, bool) else _refuse(name, "true or false", value)
        )

    return field(default=default, metadata={"check": check})


def amount(default, usual, high):
    """
    Declare a number that may also be given as a switch.

    Parameters
    ----------
    default : int
        Value that is used if none is given.
    usual : int
        What "true" stands for; "false" is 0.
    high : int
        Largest number.

    Returns
    -------
    field : `dataclasses.Field`
        With its check.
    """
    rule = f"true, false or a whole number from 0 to {high}"

    def check(name, value):
        if isinstance(value, bool):
            return usual if value else 0
        found = _number(value, 0, high, False, True)
        return _refuse(name, rule, value) if found is None else found

    return field(default=default, metadata={"check": check})


def choice(default, *allowed):
    """
    Declare one of several words.

    Parameters
    ----------
    default : str
        Value that is used if none is given.
    *allowed : str
        The words.

    Returns
    -------
    field : `dataclasses.Field`
        With its check.
    """

    def check(name, value):
        return value if _one_of(value, allowed) else _refuse_word(name, allowed, value)

    return field(default=default, metadata={"check": check})


def _one_of(value, allowed):
    return isinstance(value, str) and value in allowed


def _refuse_word(name, allowed, value):
    near = get_close_matches(value, allowed, n=1) if isinstance(value, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(repr(word) for word in allowed)
    msg = f"{name} must be one of {listed}, got {reprlib.repr(value)}{hint}"
    raise InvalidQueryError(msg)


def choices(*allowed):
    """
    Declare any number of words, none by default.

    Parameters
    ----------
    *allowed : str
        The words.

    Returns
    -------
    field : `dataclasses.Field`
        With its check; a single word counts as a list of one.
    """

    def check(name, value):
        value = () if _is_none(value) else value
        value = (value,) if isinstance(value, str) else value
        if not isinstance(value, list | tuple):
            _refuse(name, f"a list of words out of {list(allowed)}", value)
        for word in value:
            if not _one_of(word, allowed):
                _refuse_word(name, allowed, word)
        return tuple(dict.fromkeys(value))

    return field(default=(), metadata={"check": check})


def text(default, *, optional=False):
    """
    Declare a text or a path.

    Parameters
    ----------
    default : str or None
        Value that is used if none is given.
    optional : bool
        Whether None is allowed, also written "none".

    Returns
    -------
    field : `dataclasses.Field`
        With its check.
    """
    rule = "a text that is not blank" + (" or none" if optional else "")

    def check(name, value):
        if optional and _is_none(value):
            return None
        return _text(name, rule, value)

    return field(default=default, metadata={"check": check})


def _text(name, rule, value):
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        _refuse(name, rule, value)
    return value


def texts():
    """
    Declare any number of texts or paths, none by default.

    Returns
    -------
    field : `dataclasses.Field`
        With its check; a single text counts as a list of one.
    """
    rule = "a text, or a list of texts, that are not blank"

    def check(name, value):
        if isinstance(value, str | os.PathLike):
            value = (value,)
        if not isinstance(value, list | tuple):
            _refuse(name, rule, value)
        return tuple(_text(name, rule, part) for part in value)

    return field(default=(), metadata={"check": check})


def weights(**default):
    """
    Declare weights by name.

    Parameters
    ----------
    **default : float
        Weights that are used if none are given.

    Returns
    -------
    field : `dataclasses.Field`
        With its check; the weights become `Weights`.
    """
    rule = "names with weights that are not negative, one of them above 0"

    def check(name, value):
        if not isinstance(value, Mapping) or not value:
            _refuse(name, rule, value)
        found = {}
        for key, weight in value.items():
            if not isinstance(key, str) or not key.strip() or "." in key:
                _refuse(name, rule, value)
            found[key] = _number(weight, 0, 1e6, False, False)
            if found[key] is None:
                _refuse(f"{name}.{key}", f"a number {_range(0, 10**6, False)}", weight)
        if not any(found.values()):
            _refuse(name, rule, value)
        return Weights(found)

    return field(default=Weights(default), metadata={"check": check})
