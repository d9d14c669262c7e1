# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Pictures from FITS images, arrays and archive previews.

The work is done by `to_rgb` and `load_picture`; `ImageConversion` holds the
settings and `read_preview` reads the pictures that archives offer.
"""

from .convert import Picture, load_picture, to_rgb
from .preview import read_preview
from .settings import ImageConversion

__all__ = ["ImageConversion", "Picture", "load_picture", "read_preview", "to_rgb"]
