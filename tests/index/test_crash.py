# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Writers that are killed must not harm what was acknowledged."""

import signal

import pytest

from .hammer import crash

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


def test_ten_killed_writers_lose_and_repeat_nothing(tmp_path):
    figures = crash(tmp_path, 10)
    assert figures["kills"] == 10
    assert figures["steps"] > 0


@pytest.mark.slow
def test_a_hundred_killed_writers_lose_and_repeat_nothing(tmp_path, record_property):
    figures = crash(tmp_path, 100, seed=1)
    record_property("figures", figures)
    assert sum(n for what, n in figures.items() if what.startswith("in ")) >= 50
