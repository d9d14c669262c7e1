# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Footprints and areas on the sky: what overlaps, exactly and on the sphere."""

from .area import SkyArea, sky_area
from .observed import Footprints
from .parse import Circle, Polygon, parse_s_region

__all__ = [
    "Circle",
    "Footprints",
    "Polygon",
    "SkyArea",
    "parse_s_region",
    "sky_area",
]
