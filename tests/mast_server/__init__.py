# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
An archive on this machine: MAST's services, files, and its bad days.

``with mast_server(small_archive()) as mast, mast.conf(): ...``
"""

from .archive import Archive, big_products
from .drawing import fits_file, picture
from .faults import KINDS, Faults
from .samples import shared_archive, small_archive
from .server import MastServer, Request, mast_server

__all__ = [
    "KINDS",
    "Archive",
    "Faults",
    "MastServer",
    "Request",
    "big_products",
    "fits_file",
    "mast_server",
    "picture",
    "shared_archive",
    "small_archive",
]
