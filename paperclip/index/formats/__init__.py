# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Indexes in the formats of astronomy, and back."""

from paperclip.index.formats._coverage import coverage, export_moc, read_coverage
from paperclip.index.formats._dispatch import FORMATS, export
from paperclip.index.formats._fromtables import import_table
from paperclip.index.formats._hats import export_hats, import_hats
from paperclip.index.formats._lsdb import lazy_catalog
from paperclip.index.formats._obscore import export_obscore, obscore
from paperclip.index.formats._pages import write_pages
from paperclip.index.formats._parquet import export_parquet, import_parquet
from paperclip.index.formats._tables import (
    export_csv,
    export_ecsv,
    export_fits,
    export_votable,
)

__all__ = [
    "FORMATS",
    "coverage",
    "export",
    "export_csv",
    "export_ecsv",
    "export_fits",
    "export_hats",
    "export_moc",
    "export_obscore",
    "export_parquet",
    "export_votable",
    "import_hats",
    "import_parquet",
    "import_table",
    "lazy_catalog",
    "obscore",
    "read_coverage",
    "write_pages",
]
