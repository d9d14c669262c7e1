# Licensed under a 3-clause BSD style license - see LICENSE.rst
import pytest

from ..mast_server import mast_server, small_archive


@pytest.fixture(name="mast")
def fixture_mast(tmp_path):
    """A small archive that ``paperclip.conf`` points to, and an empty cache."""
    archive = small_archive(n_proposals=24, size=48)
    with mast_server(archive) as mast, mast.conf(cache_dir=str(tmp_path / "cache")):
        yield mast
