# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Small helpers that several rooms share; not part of the public API."""

__all__ = []
