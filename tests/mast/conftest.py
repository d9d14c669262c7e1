# Licensed under a 3-clause BSD style license - see LICENSE.rst
import pytest

from ..mast_server import mast_server, small_archive


@pytest.fixture(name="mast")
def fixture_mast():
    """A small archive that ``paperclip.conf`` points to."""
    with mast_server(small_archive()) as mast, mast.conf():
        yield mast
