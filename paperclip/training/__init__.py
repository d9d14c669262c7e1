# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
From an archive to pairs of pictures and texts that a model learns from.

`build_dataset` makes a data set, `DataSet` opens one, `split_proposals` keeps
its parts apart.
"""

from importlib import import_module as _import_module

# public name -> module that defines it (PEP 562, resolved on first access)
_LAZY = {
    "DataSet": ".dataset",
    "Sample": ".shards",
    "Split": ".splits",
    "SplitSettings": ".splits",
    "build_dataset": ".build",
    "split_proposals": ".splits",
}

__all__ = [
    "DataSet",
    "Sample",
    "Split",
    "SplitSettings",
    "build_dataset",
    "split_proposals",
]


def __getattr__(name):
    if name in _LAZY:
        value = getattr(_import_module(_LAZY[name], __name__), name)
        globals()[name] = value
        return value
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__():
    return sorted({*globals(), *_LAZY})
