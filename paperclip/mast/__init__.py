# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""MAST: observations, proposals, previews and products."""

from importlib import import_module as _import_module

__all__ = [
    "MastClient",
    "cache_dir",
    "clear_cache",
    "get_proposals",
    "list_cached",
    "parse_cycles",
    "proposals_of_cycles",
    "read_abstracts",
    "read_programme",
]

# public name -> module that defines it (PEP 562, resolved on first access)
_LAZY = {
    "MastClient": ".client",
    "cache_dir": ".cache",
    "clear_cache": ".cache",
    "get_proposals": ".proposals",
    "list_cached": ".cache",
    "parse_cycles": ".proposals",
    "proposals_of_cycles": ".proposals",
    "read_abstracts": ".abstracts",
    "read_programme": ".programmes",
}


def __getattr__(name):
    if name in _LAZY:
        value = getattr(_import_module(_LAZY[name], __name__), name)
        globals()[name] = value
        return value
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__():
    return sorted({*globals(), *_LAZY})
