# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""MAST: observations, proposals, previews and products."""

from importlib import import_module as _import_module

__all__ = [
    "ANY_PREVIEW",
    "JWST",
    "PAPER_HST",
    "SCIENCE",
    "MastClient",
    "PictureStore",
    "PreviewRecipe",
    "cache_dir",
    "check_data_file",
    "choose_previews",
    "clear_cache",
    "download_products",
    "get_previews",
    "get_product_list",
    "get_proposals",
    "list_cached",
    "list_previews",
    "observation_ids",
    "parse_cycles",
    "proposals_of_cycles",
    "query_criteria",
    "query_object",
    "query_region",
    "read_abstracts",
    "read_programme",
    "recipe_for",
    "safe_name",
]

# public name -> module that defines it (PEP 562, resolved on first access)
_LAZY = {
    "ANY_PREVIEW": ".recipes",
    "cache_dir": ".cache",
    "check_data_file": ".filecheck",
    "choose_previews": "._choice",
    "clear_cache": ".cache",
    "download_products": ".datafiles",
    "get_previews": ".previews",
    "get_product_list": ".products",
    "get_proposals": ".proposals",
    "JWST": ".recipes",
    "list_cached": ".cache",
    "list_previews": ".previews",
    "MastClient": ".client",
    "observation_ids": ".products",
    "PAPER_HST": ".recipes",
    "parse_cycles": ".proposals",
    "PictureStore": ".manifest",
    "PreviewRecipe": ".recipes",
    "proposals_of_cycles": ".proposals",
    "query_criteria": ".observations",
    "query_object": ".observations",
    "query_region": ".observations",
    "read_abstracts": ".abstracts",
    "read_programme": ".programmes",
    "recipe_for": ".recipes",
    "safe_name": ".names",
    "SCIENCE": ".recipes",
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
