# Licensed under a 3-clause BSD style license - see LICENSE.rst
import pytest

from paperclip import conf
from paperclip.utils.offline import is_offline


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("true", True), ("0", False), ("", False)]
)
def test_the_environment_is_asked(monkeypatch, value, expected):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert is_offline() is expected
    assert is_offline(False) is False


def test_the_configuration_is_asked(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with conf.set_temp("offline", True):
        assert is_offline()
    assert not is_offline()
