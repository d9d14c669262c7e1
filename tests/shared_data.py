# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find the optional folder of real pictures and FITS files."""

import os
from pathlib import Path

import pytest

__all__ = ["require_shared_data", "shared_data"]


def shared_data():
    """Return the folder of real data, or None when it is not there."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    path = Path(os.environ.get("PAPERCLIP_SHARED_DATA") or default)
    return path if path.is_dir() else None


def require_shared_data(name=""):
    """Return a path inside the folder of real data, or skip the test."""
    folder = shared_data()
    if folder is None or not (folder / name).exists():
        pytest.skip(f"real data {name!r} not found; set PAPERCLIP_SHARED_DATA")
    return folder / name
