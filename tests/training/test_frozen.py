# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Features of frozen towers that are kept on disk."""

import json
import signal

import numpy as np
import pytest
from astropy.table import Table

from paperclip.exceptions import (
    CheckpointError,
    CheckpointWriteError,
    InvalidQueryError,
)
from paperclip.training import TrainingConfig, finetune
from paperclip.training import _frozen as module
from paperclip.training._featurefile import FeatureFile

from ..tiny_models import tiny_model_directory
from .test_trainer import finish, start
from .tiny_runs import tiny_config, tiny_pairs

STILL = {"augment.rotate": "none", "augment.flip": False, "augment.crop": 1.0}
STILL |= {"augment.brightness": 0, "augment.contrast": 0, "augment.grey": 0}
HEAD = {"model.mode": "head", "model.hidden": 16, "optim.steps": 16}


@pytest.fixture(scope="module", name="base")
def fixture_base(tmp_path_factory):
    return tiny_model_directory(tmp_path_factory.mktemp("model") / "base")


def run(base, folder, *changes, **options):
    config = tiny_config(base, folder, *changes)
    options = {"pairs": tiny_pairs(), "validation": tiny_pairs(16, 1)} | options
    return finetune(config, **options)


class Kill(BaseException):
    pass


def kill_at(step):
    def callback(progress):
        if progress.step == step:
            raise Kill

    return [callback]


# -- what comes out ---------------------------------------------------------
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model.mode": "lock-image"},
        {"model.mode": "lock-text"},
        {"optim.accumulate": 3},
        {"run.workers": 0},
    ],
    ids=lambda changes: ",".join(f"{k}={v}" for k, v in changes.items()) or "head",
)
def test_without_augmentation_nothing_changes(base, tmp_path, changes):
    changes = HEAD | STILL | changes
    plain = run(base, tmp_path / "plain", changes)
    cached = run(base, tmp_path / "cached", changes, "run.cache_features=true")
    for name in ("loss", "grad_norm", "logit_scale"):
        expected, found = (np.asarray(r.history[name]) for r in (plain, cached))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(
        cached.history["loss"], plain.history["loss"], rtol=0, atol=1e-6
    )
    assert cached.best == plain.best
    assert cached.metrics == pytest.approx(plain.metrics, abs=1e-5)


def test_first_pass_over_the_variants_is_that_of_a_run_without(base, tmp_path):
    plain = run(base, tmp_path / "plain", HEAD)
    cached = run(base, tmp_path / "cached", HEAD, "run.cache_features=2")
    epoch = np.asarray(plain.history["epoch"])
    losses = [np.asarray(r.history["loss"]) for r in (plain, cached)]
    early = epoch < 2
    np.testing.assert_allclose(losses[1][early], losses[0][early], atol=1e-6)
    assert np.abs(losses[1] - losses[0])[~early].max() > 1e-4


def test_pictures_are_read_once(base, tmp_path):
    reads, plain = {}, tiny_pairs()

    def reader(pair):
        def read():
            reads[pair.key] = reads.get(pair.key, 0) + 1
            return pair.picture

        return read

    import dataclasses

    from paperclip.training import PairList

    pairs = PairList(dataclasses.replace(p, picture=reader(p)) for p in plain)
    changes = HEAD | STILL | {"optim.steps": 60, "run.workers": 0}
    run(base, tmp_path, changes, "run.cache_features=1", pairs=pairs, validation=None)
    assert set(reads.values()) == {1}


def test_features_are_removed_behind_the_last_step(base, tmp_path):
    run(base, tmp_path, HEAD, "run.cache_features=2")
    assert not (tmp_path / "features").exists()


def test_text_that_needs_several_windows_is_not_kept(base, tmp_path):
    """The head follows every window, and their mean is taken behind it."""
    import dataclasses

    from paperclip.training import PairList

    long = " ".join(f"galaxy {n}." for n in range(60))
    held = PairList(
        dataclasses.replace(p, texts={"abstract": long + p.texts["abstract"][0]})
        for p in tiny_pairs(16, 1)
    )
    plain = run(base, tmp_path / "plain", HEAD | STILL, validation=held)
    cached = run(
        base,
        tmp_path / "cached",
        HEAD | STILL,
        "run.cache_features=1",
        validation=held,
    )
    assert cached.metrics == pytest.approx(plain.metrics, abs=1e-5)


# -- resume -----------------------------------------------------------------
def test_killed_run_goes_on_with_its_features(base, tmp_path):
    changes = "run.cache_features=2", "model.mode=head", "model.hidden=16"
    changes += ("optim.batch_size=10",)
    folders = tmp_path / "whole", tmp_path / "killed"
    for folder in folders:
        folder.mkdir()
        (folder / "base").symlink_to(base)
    processes = start(folders[0], 20, 0, *changes), start(folders[1], 20, 7, *changes)
    finish(processes[0])
    finish(processes[1], -signal.SIGKILL)
    rows = folders[1] / "run/features/process-0/image.journal"
    assert rows.stat().st_size > 0
    finish(start(folders[1], 20, 14, *changes), -signal.SIGKILL)
    finish(start(folders[1], 20, 0, *changes))
    one, other = (
        Table.read(folder / "run/history.parquet", format="parquet")["loss"].tolist()
        for folder in folders
    )
    assert one == other


def test_resume_reads_no_picture_again(base, tmp_path):
    changes = HEAD | STILL | {"run.cache_features": 1}
    with pytest.raises(Kill):
        run(base, tmp_path, changes, callbacks=kill_at(11))
    for damage in ("no", "tail"):
        file = tmp_path / "features/process-0/image.journal"
        if damage == "tail":
            with file.open("ab") as stream:
                stream.write(b"PCF1 and then the power went")
        with pytest.raises(Kill):
            run(base, tmp_path, changes, callbacks=kill_at(10))
    whole = run(base, tmp_path / "whole", changes)
    again = run(base, tmp_path, changes)
    assert again.history["loss"].tolist() == whole.history["loss"].tolist()


@pytest.mark.parametrize(
    ("changes", "n", "match"),
    [
        ({"augment.flip": True}, 48, "these differ: augment, run.seed"),
        ({"model.precision": "bf16"}, 48, "these differ: model.precision"),
        ({"model.mode": "lock-image"}, 48, "these differ: towers"),
        ({}, 40, "these differ: training pairs"),
    ],
)
def test_foreign_features_are_refused(base, tmp_path, changes, n, match):
    before = HEAD | STILL | {"run.cache_features": 1}
    with pytest.raises(Kill):  # before there is a checkpoint
        run(base, tmp_path, before, callbacks=kill_at(2))
    with pytest.raises(CheckpointError, match=f"features of another run, {match}"):
        run(base, tmp_path, before | changes, pairs=tiny_pairs(n))
    other = tiny_model_directory(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match=r"these differ: model\.base"):
        run(other, tmp_path, before)
    about = tmp_path / "features/process-0/about.json"
    assert len(json.loads(about.read_text())["hash"]) == 64
    about.write_text("{")
    with pytest.raises(CheckpointError, match=r"about.json is damaged; remove"):
        run(base, tmp_path, before)


def test_runs_from_before_the_cache_go_on(base, tmp_path):
    """A setting that did not exist then, and is off, makes no other run."""
    config = tiny_config(base, tmp_path, {"optim.steps": 3})
    run(base, tmp_path, {"optim.steps": 3})
    (state,) = (tmp_path / "checkpoints").glob("step-000003/state.json")
    content = json.loads(state.read_text())
    del content["config"]["run"]["cache_features"]
    state.write_text(json.dumps(content))
    assert finetune(config, pairs=tiny_pairs(), validation=tiny_pairs(16, 1)).steps == 3
    with pytest.raises(CheckpointError, match=r"differ: optim.lr \(0.0001 then"):
        run(base, tmp_path, {"optim.steps": 3, "optim.lr": 0.01})


# -- what goes wrong --------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"run.cache_features": True}, "run.cache_features must be 0 with model.mode"),
        (
            {"run.cache_features": 2, "model.mode": "linear"},
            "with model.mode 'linear', got 2; only frozen towers",
        ),
        (
            {"run.cache_features": 2, "model.mode": "head", "augment.shared": True},
            "must be 0 with augment.shared, got 2",
        ),
        ({"run.cache_features": -1}, "true, false or a whole number from 0 to 1000"),
        ({"run.cache_features": "many"}, "true, false or a whole number"),
    ],
)
def test_settings_that_cannot_be(changes, match):
    with pytest.raises(InvalidQueryError, match=match):
        TrainingConfig.recipe("default").replace(changes)


def test_switch_is_a_number():
    config = TrainingConfig.recipe("head")
    assert config.run.cache_features == 0
    assert config.replace("run.cache_features=true").run.cache_features == 8
    assert config.replace("run.cache_features=false").hash == config.hash
    assert config.replace("run.cache_features=3").hash != config.hash


def test_full_disk(base, tmp_path, monkeypatch):
    import errno
    import os

    plain, left = os.pwrite, [6]

    def full(descriptor, content, offset):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return plain(descriptor, content, offset)

    changes = HEAD | STILL | {"run.cache_features": 1}
    with monkeypatch.context() as context:
        context.setattr("os.pwrite", full)
        with pytest.raises(CheckpointWriteError, match=r"features.*No space left"):
            run(base, tmp_path, changes)
    whole, again = run(base, tmp_path / "whole", changes), run(base, tmp_path, changes)
    assert again.history["loss"].tolist() == whole.history["loss"].tolist()


def test_full_file_is_passed_by(base, tmp_path, monkeypatch):
    """Rows that have no room are computed in every epoch."""
    changes = HEAD | STILL
    plain = run(base, tmp_path / "plain", changes)
    monkeypatch.setattr(module, "_TEXTS", 5)
    monkeypatch.setattr("paperclip.training._featurefile._ROOM", 4 * 24 * 10)
    cached = run(base, tmp_path / "cached", changes, "run.cache_features=1")
    np.testing.assert_allclose(
        cached.history["loss"], plain.history["loss"], rtol=0, atol=1e-6
    )


# -- the file ---------------------------------------------------------------
def test_file_keeps_rows(tmp_path):
    rows = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    file = FeatureFile(tmp_path / "image", 5, 6)
    file.add([3, 1, 2**62], rows[:3])
    file.sync()
    file.add([4, 5, 6, 7], rows[3:])  # one too many
    assert len(file) == 6
    assert 7 not in file
    file.close()
    file = FeatureFile(tmp_path / "image", 5, 6)
    np.testing.assert_array_equal(file.read([6, 3, 2**62]), rows[[5, 0, 2]])
    file.add([8], rows[:1])
    assert 8 not in file
    assert file.read([]).shape == (0, 5)
    file.close()


@pytest.mark.parametrize("name", ["image.journal", "image.f32"])
def test_damage_ends_the_file_before_it(tmp_path, name):
    rows = np.arange(30, dtype=np.float32).reshape(6, 5)
    file = FeatureFile(tmp_path / "image", 5, 10)
    file.add([0, 1], rows[:2])
    end = len((tmp_path / "image.journal").read_bytes())
    file.add([2, 3], rows[2:4])
    file.add([4, 5], rows[4:])
    file.close()
    path = tmp_path / name
    good = path.read_bytes()
    start = end if name.endswith("journal") else 2 * 5 * 4
    for place in range(start, start + 30):
        bad = bytearray(good)
        bad[place] ^= 0x40
        path.write_bytes(bad)
        journal = (tmp_path / "image.journal").read_bytes()
        file = FeatureFile(tmp_path / "image", 5, 10)
        assert len(file) == 2
        np.testing.assert_array_equal(file.read([1, 0]), rows[[1, 0]])
        file.close()
        (tmp_path / "image.journal").write_bytes(journal)


def test_journal_cut_anywhere(tmp_path):
    rows = np.arange(30, dtype=np.float32).reshape(6, 5)
    file = FeatureFile(tmp_path / "image", 5, 10)
    ends = []
    for n in range(3):
        file.add([2 * n, 2 * n + 1], rows[2 * n : 2 * n + 2])
        ends.append((tmp_path / "image.journal").stat().st_size)
    file.close()
    content = (tmp_path / "image.journal").read_bytes()
    held = (tmp_path / "image.f32").read_bytes()
    for cut in range(len(content) + 1):
        (tmp_path / "image.journal").write_bytes(content[:cut])
        (tmp_path / "image.f32").write_bytes(held)
        file = FeatureFile(tmp_path / "image", 5, 10)
        assert len(file) == 2 * sum(end <= cut for end in ends)
        file.add([9], rows[:1])
        file.close()
        file = FeatureFile(tmp_path / "image", 5, 10)
        np.testing.assert_array_equal(file.read([9]), rows[:1])
        file.close()
