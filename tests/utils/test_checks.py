# Licensed under a 3-clause BSD style license - see LICENSE.rst
import numpy as np
import pytest

from paperclip.exceptions import DataSetError, InvalidQueryError
from paperclip.utils.checks import folder_path, whole_number


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_anything_that_counts_as_an_index_is_taken(value):
    number = whole_number("limit", value)
    assert number == 3
    assert type(number) is int


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (0, "limit must be at least 1, got 0"),
        (-3, "limit must be at least 1, got -3"),
        (11, "limit must be at most 10, got 11"),
        (2.0, r"limit must be a whole number, got 2\.0"),
        (True, "limit must be a whole number, got True"),
        ("3", "limit must be a whole number, got '3'"),
        (None, "limit must be a whole number, got None"),
    ],
)
def test_other_values_are_refused(value, match):
    with pytest.raises(InvalidQueryError, match=match):
        whole_number("limit", value, high=10)


@pytest.mark.parametrize("value", [None, "", 3, b"folder", ["folder"]])
def test_folders_are_paths(value):
    with pytest.raises(InvalidQueryError, match="folder must be the path of a folder"):
        folder_path("folder", value)


def test_folders_are_absolute_and_need_not_be_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder_path("folder", "new") == tmp_path / "new"
    assert folder_path("folder", tmp_path) == tmp_path
    (tmp_path / "file").touch()
    with pytest.raises(DataSetError, match="file' is no folder; choose another name"):
        folder_path("folder", "file")
