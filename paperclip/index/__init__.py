# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Vectors and observations in one table, searched by similarity."""

from paperclip.index.build import build_index
from paperclip.index.report import BuildReport, Progress
from paperclip.index.store import Index

__all__ = ["BuildReport", "Index", "Progress", "build_index"]
