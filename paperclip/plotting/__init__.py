# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pictures of results: a mosaic of what was found, bars of what is described."""

from .bars import show_description
from .mosaic import show_results

__all__ = ["show_description", "show_results"]
