# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Groups of settings: frozen dataclasses that refuse unknown names."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches

from paperclip.exceptions import InvalidQueryError

__all__ = ["Settings", "check_names", "settings"]


def check_names(given, known, *, prefix=""):
    """
    Refuse names of settings that do not exist.

    Parameters
    ----------
    given : iterable
        Names to check.
    known : sequence of str
        Names that exist.
    prefix : str
        Group of the settings with a dot, for the message.

    Raises
    ------
    InvalidQueryError
        With the nearest name that exists.
    """
    for name in given:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {prefix + near[0]!r}?" if near else "."
            shown = f"{prefix}{name}"[:100]
            msg = f"unknown setting {shown!r}{hint} Choose from {list(known)}"
            raise InvalidQueryError(msg)


class Settings:
    """Base class of groups of settings: checks at construction."""

    _group = ""

    def __post_init__(self):
        for item in fields(self):
            name = f"{self._group}.{item.name}"
            value = item.metadata["check"](name, getattr(self, item.name))
            object.__setattr__(self, item.name, value)
        self._relations()

    def _relations(self):
        """Check settings that depend on each other."""

    def to_dict(self):
        """
        Return the settings as plain values.

        Returns
        -------
        values : dict
            Numbers, texts, lists, mappings and None.
        """
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}


def _plain(value):
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def settings(group):
    """
    Make a frozen dataclass of a group, which refuses unknown names.

    Parameters
    ----------
    group : str
        Name of the group in a configuration, blank for the whole; it starts
        every message.

    Returns
    -------
    decorator : callable
        For a class whose fields were declared by this module.
    """

    def decorate(cls):
        cls = dataclass(frozen=True, kw_only=True)(cls)
        cls._group = group
        known = [item.name for item in fields(cls)]
        plain, prefix = cls.__init__, f"{group}." if group else ""

        @functools.wraps(plain)
        def __init__(self, **values):
            check_names(values, known, prefix=prefix)
            plain(self, **values)

        cls.__init__ = __init__
        return cls

    return decorate
