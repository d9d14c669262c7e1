# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Settings for every test, doctests included (they precede any import)."""

import os
import tempfile

# astropy remembers where its configuration lives on first use, so a fixture
# would come too late: redirect it before anything is imported.
_home = tempfile.mkdtemp(prefix="paperclip-tests-")
for _name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HF_HOME"):
    os.environ[_name] = _home
os.environ["MPLBACKEND"] = "agg"

from astropy.utils import iers
from pytest_astropy_header.display import PYTEST_HEADER_MODULES, TESTED_VERSIONS

iers.conf.auto_download = False


def pytest_configure(config):
    """Show the versions that matter in the header of the report."""
    from paperclip import __version__

    PYTEST_HEADER_MODULES.clear()
    for title, module in {
        "astropy": "astropy",
        "numpy": "numpy",
        "Pillow": "PIL",
        "torch": "torch",
        "open_clip": "open_clip",
        "lance": "lance",
    }.items():
        PYTEST_HEADER_MODULES[title] = module
    TESTED_VERSIONS["astro-paperclip"] = __version__
