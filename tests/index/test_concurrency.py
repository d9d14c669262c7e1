# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Writers and readers at once must not meet errors, lose or repeat rows."""

import os

import pytest

from .hammer import crowd

SECONDS = float(os.environ.get("PAPERCLIP_CROWD_SECONDS", "300"))


def test_writers_and_readers_for_some_seconds(tmp_path):
    figures = crowd(tmp_path / "ix", 8, writers=3, readers=2)
    assert figures["steps"] > 3
    assert figures["looks"] >= 2


@pytest.mark.slow
def test_four_writers_and_four_readers_for_minutes(tmp_path, record_property):
    figures = crowd(tmp_path / "ix", SECONDS)
    record_property("figures", figures)
    assert figures["steps"] > SECONDS / 10
