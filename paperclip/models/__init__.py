# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""CLIP models: from a name to unit vectors of pictures and texts."""

from .encoder import Encoder
from .hub import fetch
from .loading import load_encoder

__all__ = ["Encoder", "fetch", "load_encoder"]
