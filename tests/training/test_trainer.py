# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Runs from their first step to the finished model."""

import errno
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from paperclip.exceptions import (
    CheckpointError,
    CheckpointWriteError,
    DataSetError,
    FailedRowsWarning,
    InvalidQueryError,
    TrainingError,
    TrainingWarning,
)
from paperclip.models import load_encoder
from paperclip.training import (
    Pair,
    PairList,
    TrainingConfig,
    TrainingResult,
    finetune,
    read_pairs,
    synthetic_pairs,
    write_pairs,
)
from paperclip.training.metrics import summary

from ..tiny_models import tiny_model_directory
from .tiny_runs import tiny_config, tiny_pairs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", name="base")
def fixture_base(tmp_path_factory):
    return tiny_model_directory(tmp_path_factory.mktemp("model") / "base")


def weights(directory):
    from safetensors.torch import load_file

    return load_file(directory / "model" / "open_clip_model.safetensors")


def start(*arguments, **env):
    """Start a run in a process of its own."""
    import os

    program = [sys.executable, "-m", "tests.training.tiny_runs", *map(str, arguments)]
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        program,
        cwd=ROOT,
        env={**os.environ, **quiet, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(folder, steps):
    """Start a run that two processes share."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    env = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        start(folder, steps, 0, RANK=rank, LOCAL_RANK=rank, **env)
        for rank in ("0", "1")
    ]


def finish(process, code=0):
    """Wait for a process."""
    _, errors = process.communicate(timeout=180)
    assert process.returncode == code, errors


# -- a run ------------------------------------------------------------------
def test_run_writes_what_it_promises(base, tmp_path):
    seen = []
    config = tiny_config(base, tmp_path / "run")
    result = finetune(
        config,
        pairs=tiny_pairs(),
        validation=tiny_pairs(16, 1),
        callbacks=[seen.append],
    )
    assert isinstance(result, TrainingResult)
    assert [p.step for p in seen] == list(range(1, 13))
    assert seen[-1].seconds_left == 0
    assert set(seen[5].metrics) == set(result.metrics) == set(seen[11].metrics)
    assert seen[4].metrics == {}
    run = tmp_path / "run"
    names = {path.name for path in run.iterdir()}
    assert names == {
        ".paperclip-lock",
        "captions.parquet",
        "checkpoints",
        "config.toml",
        "environment.json",
        "history.parquet",
        "model",
    }
    assert TrainingConfig.from_file(run / "config.toml") == config
    history = Table.read(run / "history.parquet", format="parquet")
    assert history["step"].tolist() == list(range(1, 13))
    assert np.isfinite(history["loss"]).all()
    assert np.isfinite(np.ma.filled(result.history["top10"], np.nan)).sum() == 2
    captions = Table.read(run / "captions.parquet", format="parquet")
    assert len(captions) == 12 * 8
    assert set(captions["source"]) <= {"abstract", "title", "metadata"}
    facts = json.loads((run / "environment.json").read_text())
    assert facts["seed"] == 0
    assert facts["finished"] == {"step": 12, "best": result.best}
    assert facts["packages"]["torch"]
    encoder = load_encoder(result.model)
    assert encoder.encode_texts(["a spiral galaxy"]).shape == (1, 24)
    assert encoder.fingerprint != load_encoder(base).fingerprint


def test_model_learns(base, tmp_path):
    changes = {"optim.steps": 80, "optim.lr": 2e-3, "optim.warmup": 10}
    changes |= {"captions.sources": {"title": 1.0}, "run.save_every": 1000}
    changes |= {"augment.rotate": "none", "augment.flip": False, "augment.crop": 1.0}
    changes |= {"model.layer_decay": 1.0, "model.ema": 0.0}
    result = finetune(tiny_config(base, tmp_path, changes), pairs=tiny_pairs())
    loss = result.history["loss"]
    assert np.mean(loss[-10:]) < 0.6 * np.mean(loss[:5])
    assert result.best == 80
    assert result.metrics == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"model.mode": "head", "model.hidden": 16},
        {"model.mode": "linear"},
        {"model.mode": "lock-image"},
        {"model.mode": "lock-text"},
        {"model.random_image": True},
        {"model.random_text": True},
        {"model.random_image": True, "model.random_text": True},
        {"model.precision": "bf16"},
        {"loss.kind": "sigmoid"},
        {"optim.accumulate": 3},
        {"model.image_size": 48},
        {"run.shuffle_pairs": True},
        {"model.wise": 0.5, "model.ema": 0.9},
        {"run.keep": 2, "run.workers": 0},
        {"optim.steps": None, "optim.epochs": 1.5},
    ],
    ids=lambda changes: ",".join(f"{k}={v}" for k, v in changes.items()),
)
def test_modes(base, tmp_path, changes):
    config = tiny_config(base, tmp_path, {"optim.steps": 4}, changes)
    result = finetune(config, pairs=tiny_pairs(), validation=tiny_pairs(16, 1))
    assert np.isfinite(result.history["loss"]).all()
    encoder = load_encoder(result.model, precision="float32")
    vectors = encoder.encode_images([pair.picture for pair in tiny_pairs(4)])
    assert np.isfinite(vectors).all()
    if "model.image_size" in changes:
        assert encoder.image_size == 48


def test_recipe_paper_has_its_faults(base, tmp_path):
    config = tiny_config(base, tmp_path, {"optim.steps": 4}, recipe="paper")
    result = finetune(config, pairs=tiny_pairs())
    # ln(scale) as the factor: a loss near that of no preference at all
    assert result.history["loss"][0] == pytest.approx(np.log(8), abs=0.5)
    captions = Table.read(tmp_path / "captions.parquet", format="parquet")
    assert set(captions["source"]) == {"abstract"}


def test_text_tower_of_hugging_face(tmp_path):
    base = tiny_model_directory(tmp_path / "base", kind="bert")
    config = tiny_config(base, tmp_path / "run", {"model.random_text": True})
    result = finetune(config, pairs=tiny_pairs())
    assert load_encoder(result.model).encode_texts(["a star"]).shape == (1, 24)


def test_head_is_refused_by_open_clip_itself(base, tmp_path):
    import open_clip

    config = tiny_config(base, tmp_path, {"model.mode": "head", "optim.steps": 2})
    result = finetune(config, pairs=tiny_pairs())
    with pytest.raises(TypeError, match="paperclip_heads"):
        open_clip.create_model(f"local-dir:{result.model}")
    # towers stay as they were
    old = weights(tmp_path)
    trained = load_encoder(base, precision="float32").model.state_dict()
    name = "visual.conv1.weight"
    assert (old[name] == trained[name].float()).all()


def test_no_interpolation_is_the_base_model(base, tmp_path):
    config = tiny_config(base, tmp_path, {"model.wise": 0.0, "optim.steps": 3})
    finetune(config, pairs=tiny_pairs())
    before = load_encoder(base, precision="float32").model.state_dict()
    for name, tensor in weights(tmp_path).items():
        if name != "logit_scale":
            np.testing.assert_allclose(tensor, before[name], atol=1e-7)


def test_figures_are_those_of_the_result(base, tmp_path):
    """Between base and trained weights they are not those of the step."""
    from paperclip.training._facts import recorded_metrics

    changes = {"model.wise": 0.5, "optim.steps": 4, "optim.lr": 1e-2}
    config = tiny_config(base, tmp_path, changes, {"model.layer_decay": 1.0})
    result = finetune(config, pairs=tiny_pairs(), validation=tiny_pairs(16, 1))
    encoder = load_encoder(result.model, precision="float32")
    held = tiny_pairs(16, 1)
    texts = list(dict.fromkeys(pair.texts["abstract"][0] for pair in held))
    found = summary(
        encoder.encode_images([pair.picture for pair in held]),
        encoder.encode_texts(texts),
        np.array([texts.index(pair.texts["abstract"][0]) for pair in held]),
        groups=held.groups,
        log_scale=np.log(encoder.logit_scale),
    )
    assert result.metrics["validation_loss"] == pytest.approx(found["loss"], abs=2e-4)
    step = result.history["validation_loss"][result.best - 1]
    assert abs(step - found["loss"]) > 1e-3
    assert recorded_metrics(tmp_path) == result.metrics


def test_parts_of_a_batch_give_the_gradient_of_the_whole(base, tmp_path):
    losses = {}
    for parts in (1, 4):
        changes = {"optim.accumulate": parts, "optim.steps": 8}
        config = tiny_config(base, tmp_path / str(parts), changes)
        result = finetune(config, pairs=tiny_pairs())
        losses[parts] = result.history["loss"], result.history["grad_norm"]
    np.testing.assert_allclose(losses[1], losses[4], rtol=2e-4)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model.mode": "head"}, "model.wise must be 1 with the heads .*, got 0.5"),
        ({"model.random_text": True}, "model.wise must be 1 with a random tower"),
    ],
)
def test_nothing_is_between_random_and_trained_weights(base, tmp_path, changes, match):
    config = tiny_config(base, tmp_path, {"model.wise": 0.5}, changes)
    with pytest.raises(InvalidQueryError, match=match):
        finetune(config, pairs=tiny_pairs())


@pytest.mark.parametrize("workers", [0, 3])
def test_workers_do_not_change_the_result(base, tmp_path, workers):
    reference = tiny_config(base, tmp_path / "one", {"optim.steps": 6})
    other = tiny_config(
        base, tmp_path / "other", {"optim.steps": 6, "run.workers": workers}
    )
    first = finetune(reference, pairs=tiny_pairs()).history["loss"]
    assert finetune(other, pairs=tiny_pairs()).history["loss"].tolist() == list(first)


def test_global_random_state_is_left_alone(base, tmp_path):
    import torch

    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    finetune(tiny_config(base, tmp_path, {"optim.steps": 2}), pairs=tiny_pairs())
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_patience_ends_a_run(base, tmp_path):
    changes = {"run.eval_every": 1, "run.patience": 2, "optim.steps": 30}
    changes |= {"run.metric": "median_rank", "run.metric_mode": "min"}
    changes |= {"optim.lr": 1e-9, "optim.head_lr": 1e-9}
    config = tiny_config(base, tmp_path, changes)
    result = finetune(config, pairs=tiny_pairs(), validation=tiny_pairs(16, 1))
    assert result.stopped == "patience"
    assert result.steps < 30
    again = finetune(config, pairs=tiny_pairs(), validation=tiny_pairs(16, 1))
    assert (again.steps, again.best) == (result.steps, result.best)


class Kill(BaseException):
    """What ends a run in the middle."""


def interrupted(config, step):
    """Make a run that is killed behind a step and goes on."""

    def kill(progress):
        if progress.step == step:
            raise Kill

    with pytest.raises(Kill):
        finetune(config, pairs=tiny_pairs(), callbacks=[kill])
    return finetune(config, pairs=tiny_pairs())


def test_curves_go_to_tensorboard(base, tmp_path):
    """Each step once, also those that a killed run does again."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny_config(base, tmp_path, {"run.log": ["tensorboard"]})
    result = interrupted(config, 7)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    curve = events.Scalars("train/loss")
    assert [event.step for event in curve] == list(range(1, 13))
    losses = [event.value for event in curve]
    np.testing.assert_allclose(losses, result.history["loss"], rtol=1e-6)


def test_curves_go_to_one_run_of_wandb(base, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    interrupted(tiny_config(base, tmp_path, {"run.log": ["wandb"]}), 7)
    names = {path.name for path in (tmp_path / "wandb").rglob("run-*.wandb")}
    assert len(names) == 1


def test_best_checkpoints_are_kept(base, tmp_path):
    changes = {"run.eval_every": 2, "run.keep": 2, "optim.steps": 10}
    config = tiny_config(base, tmp_path, changes)
    result = finetune(config, pairs=tiny_pairs(), validation=tiny_pairs(16, 1))
    kept = sorted(p.name for p in (tmp_path / "checkpoints").glob("step-*"))
    assert len(kept) in {2, 3}
    assert kept[-1] == "step-000010"
    assert f"step-{result.best:06d}" in kept
    assert (tmp_path / "checkpoints/last").read_text() == "step-000010\n"


# -- resume -----------------------------------------------------------------
def test_killed_and_resumed_run_is_the_same_run(base, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        (folder / "base").symlink_to(base)
    processes = [start(whole, 20), start(killed, 20, 7)]
    finish(processes[0])
    finish(processes[1], -signal.SIGKILL)
    for step in (11, 13):
        finish(start(killed, 20, step), -signal.SIGKILL)
    finish(start(killed, 20))
    histories = [
        Table.read(folder / "run/history.parquet", format="parquet")
        for folder in (whole, killed)
    ]
    assert histories[0]["loss"].tolist() == histories[1]["loss"].tolist()
    one, other = weights(whole / "run"), weights(killed / "run")
    assert all((one[name] == other[name]).all() for name in one)
    logs = [
        Table.read(folder / "run/captions.parquet", format="parquet")
        for folder in (whole, killed)
    ]
    assert logs[0].as_array().tolist() == logs[1].as_array().tolist()


def test_kill_at_any_moment(base, tmp_path):
    """Killed from outside, also while it writes; it always comes to its end."""
    import time

    (tmp_path / "base").symlink_to(base)
    rng = np.random.default_rng(5)
    changes = "run.save_every=1"
    for _ in range(3):
        process = start(tmp_path, 40, 0, changes)
        checkpoints = tmp_path / "run/checkpoints"
        deadline = time.monotonic() + 60
        before = len(list(checkpoints.glob("step-*")))
        while time.monotonic() < deadline and process.poll() is None:
            names = {p.name for p in checkpoints.glob("*")}
            if len(names) > before and any(n.startswith("step") for n in names):
                break
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 0.3)))
        process.kill()
        process.communicate()
    result = finetune(
        tiny_config(tmp_path / "base", tmp_path / "run", "optim.steps=40", changes),
        pairs=tiny_pairs(),
        validation=tiny_pairs(16, 1),
    )
    assert result.history["step"].tolist() == list(range(1, 41))
    assert not list((tmp_path / "run/checkpoints").glob(".part*"))


def test_killed_before_the_best_is_marked(base, tmp_path, monkeypatch):
    """The checkpoint is there and is the best, only the mark still names another."""
    from paperclip.training import checkpoint

    changes = {"run.eval_every": 2, "optim.steps": 6, "optim.lr": 1e-3}
    changes |= {"run.metric": "validation_loss", "run.metric_mode": "min"}
    config = tiny_config(base, tmp_path, changes, {"model.ema": 0.0})
    parts = {"pairs": tiny_pairs(), "validation": tiny_pairs(16, 1)}

    def kill(folder, found):
        if found.step == 6:
            raise Kill
        real(folder, found)

    with monkeypatch.context() as patch:
        real = checkpoint.mark_best
        patch.setattr(checkpoint, "mark_best", kill)
        with pytest.raises(Kill):
            finetune(config, **parts)
    result = finetune(config, **parts)
    losses = result.history["validation_loss"].compressed()
    assert losses.argmin() == 2
    assert result.best == 6


def test_finished_run_is_only_read(base, tmp_path):
    config = tiny_config(base, tmp_path, {"optim.steps": 3})
    first = finetune(config, pairs=tiny_pairs())
    again = finetune(config, pairs=tiny_pairs(), callbacks=[pytest.fail])
    assert again.history["loss"].tolist() == first.history["loss"].tolist()


def test_other_settings_are_refused(base, tmp_path):
    config = tiny_config(base, tmp_path, {"optim.steps": 3})
    finetune(config, pairs=tiny_pairs())
    with pytest.raises(CheckpointError, match=r"optim.lr \(0.0001 then, 0.01 now\)"):
        finetune(config.replace("optim.lr=0.01"), pairs=tiny_pairs())
    with pytest.raises(CheckpointError, match=r"the training pairs \(48 then, 40 now"):
        finetune(config, pairs=tiny_pairs(40))
    with pytest.raises(CheckpointError, match="holds a run of 3 steps already"):
        finetune(config, pairs=tiny_pairs(), resume=False)
    other = tiny_model_directory(tmp_path / "other", seed=1)
    changed = config.replace({"model.base": str(other)})
    with pytest.raises(CheckpointError, match=r"model\.base .* then.*the weights of"):
        finetune(changed, pairs=tiny_pairs())
    with pytest.raises(CheckpointError, match="validation pairs, which choose the st"):
        finetune(config, pairs=tiny_pairs(), validation=tiny_pairs(16, 1))
    # what does not shape the result may change
    finetune(config.replace("run.workers=2"), pairs=tiny_pairs())


# -- several processes ------------------------------------------------------
def test_two_runs_in_one_directory(base, tmp_path):
    (tmp_path / "base").symlink_to(base)
    errors = []

    def meanwhile(progress):
        if progress.step == 5:
            errors.append(start(tmp_path, 12).communicate(timeout=180)[1])

    config = tiny_config(tmp_path / "base", tmp_path / "run")
    pairs = {"pairs": tiny_pairs(), "validation": tiny_pairs(16, 1)}
    result = finetune(config, **pairs, callbacks=[meanwhile])
    assert re.search(
        r"CheckpointError: run\.output must belong to one process at a time, and "
        r"another one trains in .*run; wait until it ends, .* name another run\.output",
        errors[0],
    )
    assert result.history["step"].tolist() == list(range(1, 13))
    finish(start(tmp_path, 12))  # after the end it may go on


def test_lock_of_several_processes(base, tmp_path):
    """The main process holds it, and none of them goes on without."""
    from filelock import FileLock

    (tmp_path / "base").symlink_to(base)
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".paperclip-lock"):
        processes = start_two(tmp_path, 10)
        errors = [process.communicate(timeout=180)[1] for process in processes]
    assert "another one trains in" in errors[0]
    assert "CheckpointError: the main process cannot begin in run.output" in errors[1]
    assert not (tmp_path / "run" / "checkpoints").exists()
    for process in start_two(tmp_path, 10):
        finish(process)


def test_file_system_without_locks(base, tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(TrainingWarning, match="has no locks .*start no other run there"):
        result = finetune(tiny_config(base, tmp_path), pairs=tiny_pairs())
    assert result.steps == 12


def test_two_processes_learn_like_one(base, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        (folder / "base").symlink_to(base)
    for process in [start(one, 10), *start_two(two, 10)]:
        finish(process)
    histories = [
        Table.read(folder / "run/history.parquet", format="parquet")
        for folder in (one, two)
    ]
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], atol=1e-4)
    norms = [history["grad_norm"] for history in histories]
    np.testing.assert_allclose(*norms, rtol=1e-3)
    a, b = weights(one / "run"), weights(two / "run")
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=1e-4)


# -- what goes wrong --------------------------------------------------------
def test_loss_that_is_not_finite(base, tmp_path):
    changes = {"optim.lr": 10.0, "optim.clip_norm": None, "loss.scale_max": 1e4}
    changes |= {"optim.warmup": 0, "run.save_every": 1, "optim.steps": 200}
    changes |= {"optim.weight_decay": 10.0, "model.precision": "bf16"}
    config = tiny_config(base, tmp_path, changes)
    with pytest.raises(TrainingError, match=r"step \d+: the .* is .*last good") as seen:
        finetune(config, pairs=tiny_pairs())
    assert seen.value.step > 1
    assert set(seen.value.keys) <= set(tiny_pairs().keys)
    kept = sorted((tmp_path / "checkpoints").glob("step-*"))
    assert kept[-1].name == f"step-{seen.value.step - 1:06d}"
    assert str(kept[-1]) in str(seen.value)


@pytest.mark.parametrize(
    "changes", [{}, {"model.mode": "head", "run.cache_features": True}]
)
def test_validation_vectors_that_are_not_finite(base, tmp_path, changes):
    from paperclip.training._run import Run

    config = tiny_config(base, tmp_path, changes, {"model.ema": 0.0})
    run = Run(config, tiny_pairs(), tiny_pairs(16, 1), resume=True)
    try:
        run.open()
        run.step = 3
        run.evaluate()
        run.save({})
        for tensor in run.model.changing().values():
            tensor.fill_(np.nan)
        run.step = 4
        match = r"step 4: no figures on the validation pairs.*optim\.lr.*last good"
        with pytest.raises(TrainingError, match=match) as seen:
            run.evaluate()
    finally:
        run.close()
    assert seen.value.step == 4
    assert str(tmp_path / "checkpoints" / "step-000003") in str(seen.value)


def test_full_disk_while_saving(base, tmp_path, monkeypatch):
    from paperclip.training import _ckptfiles, checkpoint

    config = tiny_config(base, tmp_path, {"run.save_every": 2, "optim.steps": 6})
    real, calls = _ckptfiles.sync, []

    def sync(path):
        calls.append(path)
        if len(calls) > 9:
            raise OSError(28, "No space left on device")
        real(path)

    with monkeypatch.context() as patch:
        for module in (_ckptfiles, checkpoint):
            patch.setattr(module, "sync", sync)
        with pytest.raises(
            CheckpointWriteError, match=r"No space left.*last checkpoint"
        ):
            finetune(config, pairs=tiny_pairs())
    assert not list((tmp_path / "checkpoints").glob(".part*"))
    result = finetune(config, pairs=tiny_pairs())
    assert result.steps == 6


def test_damaged_checkpoint_is_passed_over(base, tmp_path):
    from paperclip.exceptions import TrainingWarning

    config = tiny_config(base, tmp_path, {"optim.steps": 8, "run.keep": 9})
    whole = finetune(config, pairs=tiny_pairs())
    file = tmp_path / "checkpoints/step-000008/weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-10] ^= 255
    file.write_bytes(content)
    with pytest.warns(TrainingWarning, match="damaged.*goes on from step-000004"):
        again = finetune(config, pairs=tiny_pairs())
    assert again.history["loss"].tolist() == whole.history["loss"].tolist()


@pytest.mark.parametrize("name", ["history", "captions"])
def test_damaged_records_are_named(base, tmp_path, name):
    """Weights are worth more than a curve: a run goes on without it."""
    config = tiny_config(base, tmp_path, {"optim.steps": 8, "run.keep": 9})
    finetune(config, pairs=tiny_pairs())
    (tmp_path / f"{name}.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(CheckpointError, match=f"{name}.parquet is damaged .*remove it"):
        finetune(config, pairs=tiny_pairs())
    (tmp_path / f"{name}.parquet").unlink()
    assert finetune(config, pairs=tiny_pairs()).steps == 8


def test_unreadable_pictures(base, tmp_path):
    import io

    from PIL import Image

    stream = io.BytesIO()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(
        stream, "JPEG"
    )
    whole = stream.getvalue()
    odd = [b"no picture at all", whole[: len(whole) // 2]]
    pairs = list(tiny_pairs(40))
    for n, picture in enumerate(odd):
        pairs.append(
            Pair(key=f"odd{n}", picture=picture, texts={"title": ["x"]}, group=f"o{n}")
        )
    config = tiny_config(base, tmp_path, {"optim.steps": 12})
    with pytest.warns(FailedRowsWarning) as seen:
        result = finetune(config, pairs=PairList(pairs))
    said = [str(w.message) for w in seen]
    assert "1 of 42 pictures cannot be read and are left out: 'odd0'" in said[0]
    assert "'odd1'" in said[1]
    assert len(said) == 2
    assert 1 <= result.history["failed"].sum() <= 3
    facts = json.loads((tmp_path / "environment.json").read_text())
    assert list(facts["left_out"]) == ["odd0"]


def test_mostly_unreadable_pictures(base, tmp_path):
    pairs = [
        Pair(key=str(n), picture=b"nothing", texts={"title": ["x"]}, group=str(n))
        for n in range(20)
    ]
    with pytest.raises(DataSetError, match="20 of 20 pictures cannot be read: '0'"):
        finetune(tiny_config(base, tmp_path), pairs=PairList(pairs))


@pytest.mark.parametrize(
    ("changes", "n", "error", "match"),
    [
        ({"run.output": None}, 48, InvalidQueryError, "run.output must name"),
        ({"run.metric": "top11"}, 48, InvalidQueryError, "run.metric must be one of"),
        ({"optim.batch_size": 64}, 48, DataSetError, "optim.batch_size must be at"),
        ({}, 2, DataSetError, "at least 2 groups"),
        (
            {"captions.sources": {"abstrct": 1.0, "title": 0.5}},
            48,
            InvalidQueryError,
            "names 'abstrct', which no pair has; did you mean 'abstract'",
        ),
        (
            {"optim.steps": None, "optim.epochs": 0.1},
            48,
            InvalidQueryError,
            "optim.warmup must be at most",
        ),
    ],
)
def test_what_cannot_be_trained(base, tmp_path, changes, n, error, match):
    with pytest.raises(error, match=match):
        finetune(tiny_config(base, tmp_path, changes), pairs=tiny_pairs(n))


def test_file_in_the_place_of_a_run(base, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InvalidQueryError, match=r"run\.output must be a directory"):
        finetune(tiny_config(base, tmp_path / "run"), pairs=tiny_pairs())


def test_no_pairs_and_no_path(base, tmp_path):
    with pytest.raises(InvalidQueryError, match=r"name a data set or a table in data"):
        finetune(tiny_config(base, tmp_path))
    with pytest.raises(InvalidQueryError, match="config must be a TrainingConfig"):
        finetune(3)


def test_tables_and_folders_are_read_from_data_path(base, tmp_path):
    """One way for both, the one of the command."""
    table = write_pairs(synthetic_pairs(48, seed=1, size=32), tmp_path / "mine")
    config = tiny_config(base, tmp_path / "run", {"data.path": str(table)})
    config = config.replace({"optim.steps": 4, "optim.batch_size": 4})
    result = finetune(config)
    assert "top10" in result.metrics
    given = finetune(
        config.replace({"run.output": str(tmp_path / "given")}),
        pairs=read_pairs(table, "train"),
        validation=read_pairs(table, "validation"),
    )
    assert result.history["loss"].tolist() == given.history["loss"].tolist()
    with pytest.raises(InvalidQueryError, match="there is no such data set or table"):
        finetune(config.replace({"data.path": str(tmp_path / "none.csv")}))


@pytest.mark.parametrize(
    ("split", "match"),
    [
        (["train"] * 32, "no figures while training, and the last step is the result"),
        (["train", "validation"] * 16, "8 groups are in training and in validation"),
    ],
)
def test_validation_pairs_that_are_not_or_do_not_count(base, tmp_path, split, match):
    table = write_pairs(synthetic_pairs(32, seed=1, size=32), tmp_path / "mine")
    rows = Table.read(table, format="ascii.csv")
    rows["split"] = split
    rows.write(table, format="ascii.csv", overwrite=True)
    config = tiny_config(base, tmp_path / "run", {"data.path": str(table)})
    with pytest.warns(TrainingWarning, match=match):
        finetune(config.replace({"optim.steps": 2, "optim.batch_size": 4}))


def odd_pairs(**parts):
    """Return validation pairs that differ from good ones in some part."""
    import dataclasses

    return PairList(dataclasses.replace(p, **parts) for p in tiny_pairs(8, 1))


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"group": "g"}, "no figures .*at least 2 proposals, got 1"),
        ({"texts": {"title": "same"}}, "no figures .*at least 2 distinct captions"),
        ({"texts": {}, "meta": {}}, "8 of 8 validation pairs have no text .*'1-000'"),
        ({"picture": b"none"}, "8 of 8 validation pictures cannot be read"),
    ],
)
def test_validation_pairs_that_tell_nothing(base, tmp_path, parts, match):
    """They do not choose a step, and the run comes to its end."""
    config = tiny_config(base, tmp_path, {"optim.steps": 3, "run.eval_every": 1})
    with pytest.warns((TrainingWarning, FailedRowsWarning)) as seen:
        result = finetune(config, pairs=tiny_pairs(), validation=odd_pairs(**parts))
    said = " | ".join(str(w.message) for w in seen)
    assert re.search(match, said)
    assert "the last step is the result" in said
    assert (result.best, result.metrics) == (3, {})


def test_validation_reads_what_training_reads(base, tmp_path):
    """Captions from metadata alone are compared, not texts of no weight."""
    changes = {"captions.sources": {"metadata": 1.0}, "optim.steps": 2}
    config = tiny_config(base, tmp_path, changes)
    seen = []
    for texts in ("one", "other"):
        output = {"run.output": str(tmp_path / texts)}
        result = finetune(
            config.replace(output),
            pairs=tiny_pairs(),
            validation=odd_pairs(texts={"abstract": f"The {texts} abstract."}),
        )
        seen.append(result.metrics)
    assert seen[0] == seen[1]
    assert seen[0]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(240, id="quick"),
        pytest.param(2000, id="long", marks=pytest.mark.slow),
    ],
)
def test_memory_does_not_grow(base, tmp_path, steps):
    psutil = pytest.importorskip("psutil")
    process, sizes = psutil.Process(), []
    every = steps // 40

    def watch(progress):
        if progress.step % every == 0:
            sizes.append(process.memory_info().rss)

    changes = {"optim.steps": steps, "optim.batch_size": 4, "run.workers": 1}
    changes |= {"run.save_every": steps, "run.eval_every": steps}
    finetune(
        tiny_config(base, tmp_path, changes), pairs=tiny_pairs(), callbacks=[watch]
    )
    half = sizes[len(sizes) // 4 :]
    slope = np.polyfit(np.arange(len(half)) * every, half, 1)[0]
    # a batch held on to would be 12 kB; in few steps the allocator's pages count
    most = 2048 if steps == 2000 else 8192
    assert slope < most, f"{slope:.0f} bytes per step"
