# Licensed under a 3-clause BSD style license - see LICENSE.rst
import hashlib

import pytest

from paperclip import conf
from paperclip.utils.files import atomic_path, cache_directory, sha256_of


def write_half(target):
    with atomic_path(target) as part:
        part.write_text("half")
        raise RuntimeError("interrupted")


def test_failure_keeps_the_old_file_and_leaves_no_rubbish(tmp_path):
    target = tmp_path / "a.fits"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="interrupted"):
        write_half(target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.fits"]


def test_success_replaces_and_keeps_the_suffix(tmp_path):
    with atomic_path(tmp_path / "new" / "a.fits") as part:
        assert part.suffix == ".fits"
        part.write_text("whole")
    assert (tmp_path / "new" / "a.fits").read_text() == "whole"


def test_sha256_of_a_file_larger_than_a_block(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"x" * (2**20 + 7))
    assert sha256_of(path) == hashlib.sha256(b"x" * (2**20 + 7)).hexdigest()


def test_cache_directory_follows_the_configuration(tmp_path):
    with conf.set_temp("cache_dir", str(tmp_path / "mine")):
        assert cache_directory() == tmp_path / "mine"
        assert (tmp_path / "mine").is_dir()
    assert cache_directory() != tmp_path / "mine"
