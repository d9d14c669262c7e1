# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The table of controls, small."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from paperclip.training import synthetic_pairs, write_pairs

from ..tiny_models import tiny_model_directory

TOOL = Path(__file__).parents[2] / "tools" / "controls.py"


@pytest.fixture(scope="module", name="controls")
def fixture_controls():
    spec = importlib.util.spec_from_file_location("controls", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_cells_make_a_table_and_are_kept(controls, tmp_path, capsys):
    data = write_pairs(synthetic_pairs(64, seed=1, size=32), tmp_path / "data")
    base = tiny_model_directory(tmp_path / "base")
    words = f"--data {data} --work {tmp_path / 'w'} --base {base} --steps 1 --seeds 2"
    words = f"{words} --batch 8 --evaluations 2 --device cpu".split()
    cells = controls.main(words)
    assert {name: len(records) for name, records in cells.items()} == dict.fromkeys(
        controls.CONTROLS, 2
    )
    out = capsys.readouterr().out
    assert "shuffled 1: step 10 of 10" in out
    table = (tmp_path / "w" / "controls.md").read_text()
    for title in controls.TITLES.values():
        assert f"| {title} | 2 | " in table
    assert 'recipe "default" minus recipe "paper": ' in table
    assert (tmp_path / "w" / "controls.rst").read_text().count("    * - ") == 7
    controls.main(words)
    assert ": step " not in capsys.readouterr().out  # nothing is trained again
    assert (tmp_path / "w" / "controls.md").read_text() == table


def test_intervals_are_over_groups(controls):
    rng = np.random.default_rng(0)
    group = np.repeat([f"g{n}" for n in range(40)], 5)
    hits = np.repeat(rng.random(40) < 0.5, 5).astype(float)
    record = {"hits": hits, "group": group, "source": np.full(200, "x"), "minutes": 1}
    head, rows, _ = controls.make_table({"base": [record]})
    assert head == ["training", "seeds", "all", "minutes"]
    value, low, high = (float(w.strip("()")) for w in rows[0][2].split() if w != "to")
    assert value == pytest.approx(hits.mean(), abs=1e-3)
    # 40 groups, not 200 pictures, decide how wide it is
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(40), rel=0.2)
