# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Import optional dependencies late, and say how to get them."""

from importlib import import_module

from paperclip.exceptions import MissingDependencyError

__all__ = ["import_optional"]


def import_optional(name, *, extra, purpose):
    """
    Import an optional dependency or explain how to install it.

    Parameters
    ----------
    name : str
        Module to import, for example ``"matplotlib"``.
    extra : str
        Extra of this package that installs it, for example ``"plot"``.
    purpose : str
        What the caller wanted to do; it starts the error message.

    Returns
    -------
    module : module
        The imported module.

    Raises
    ------
    MissingDependencyError
        If ``name`` itself is not installed. An `ImportError` from *inside*
        an installed ``name`` is a broken installation and is not hidden.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.split(".")[0] != name.split(".")[0]:
            raise
        msg = (
            f"{purpose} needs {name!r}, which is not installed. "
            f"Install it with: pip install 'astro-paperclip[{extra}]'"
        )
        raise MissingDependencyError(msg, name=name) from exc
