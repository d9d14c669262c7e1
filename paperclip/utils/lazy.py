# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Public names whose modules are imported when they are first asked for."""

import sys
from importlib import import_module

__all__ = ["lazy_names"]


def lazy_names(package, places):
    """
    Make the functions that a package needs for lazy names (PEP 562).

    Parameters
    ----------
    package : str
        Name of the package, its ``__name__``.
    places : dict of str to str
        Public names and the modules that define them, such as ``".core"``.

    Returns
    -------
    getter, lister : callable
        To be called ``__getattr__`` and ``__dir__`` in the package.
    """

    def getter(name):
        if name in places:
            value = getattr(import_module(places[name], package), name)
            setattr(sys.modules[package], name, value)
            return value
        msg = f"module {package!r} has no attribute {name!r}"
        raise AttributeError(msg)

    def lister():
        return sorted({*vars(sys.modules[package]), *places})

    return getter, lister
