# Licensed under a 3-clause BSD style license - see LICENSE.rst
import sys
import types

import pytest

from paperclip.utils.lazy import lazy_names


@pytest.fixture(name="package")
def fixture_package(monkeypatch):
    package = types.ModuleType("some_package")
    places = {"is_offline": "paperclip.utils.offline"}
    package.__getattr__, package.__dir__ = lazy_names("some_package", places)
    monkeypatch.setitem(sys.modules, "some_package", package)
    return package


def test_names_are_resolved_once(package):
    assert "is_offline" not in vars(package)
    first = package.is_offline
    assert vars(package)["is_offline"] is first
    assert first.__module__ == "paperclip.utils.offline"


def test_names_are_listed_before_they_are_resolved(package):
    assert {"is_offline", "__name__"} <= set(dir(package))


def test_other_names_are_refused(package):
    with pytest.raises(AttributeError, match="'some_package' has no attribute 'no'"):
        _ = package.no
