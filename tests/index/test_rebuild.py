# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""An index is built anew beside the old one, which stays until the switch."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from paperclip.exceptions import InvalidQueryError
from paperclip.index import Index, build_index
from paperclip.models import load_encoder

from ..tiny_models import tiny_model_directory
from .build_helpers import draw, failures, ids, same_rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="encoder", scope="module")
def fixture_encoder(tmp_path_factory):
    return load_encoder(tiny_model_directory(tmp_path_factory.mktemp("m") / "a"))


@pytest.fixture(name="other", scope="module")
def fixture_other(tmp_path_factory):
    folder = tmp_path_factory.mktemp("m") / "b"
    return load_encoder(tiny_model_directory(folder, 1, embed_dim=16))


@pytest.fixture(name="folder")
def fixture_folder(tmp_path):
    return draw(tmp_path / "in", [f"p{i:02d}.jpg" for i in range(10)])


def left_over(tmp_path):
    names = {path.name for path in tmp_path.iterdir()}
    beside = {path.name for path in (tmp_path / "ix.build").iterdir()}
    return (names - {"in", "ix", "ix.build"}) | (
        beside - {"build.json", "build.lock", "failures.ecsv"}
    )


def test_another_model_replaces_an_index(folder, encoder, other, tmp_path):
    (folder / "p03.jpg").write_bytes(b"\xff\xd8\xff broken")
    before = build_index(tmp_path / "ix", source=folder, encoder=encoder)
    old = Index.open(tmp_path / "ix")
    (folder / "p09.jpg").unlink()
    options = {"source": folder, "encoder": other, "batch_size": 2}
    report = build_index(tmp_path / "ix", rebuild=True, **options)
    assert (report.n_added, report.n_failed, report.complete) == (8, 1, True)
    assert report.index.uri == before.index.uri
    assert (report.index.dimension, report.index.fingerprint) == (
        16,
        other.fingerprint,
    )
    assert set(failures(report)) == {"p03"}
    (note,) = [note for note in report.notes if "was replaced" in note]
    assert "version 2 was replaced" in note
    assert "1 rows of it are not in the new index, among them 'p09'" in note
    assert not left_over(tmp_path)

    assert old.vectors().shape == (9, 24)  # who reads the old one goes on
    assert len(old.search(np.ones(24), limit=3)) == 3
    old.refresh()
    assert old.dimension == 16
    fresh = build_index(tmp_path / "fresh", **options)
    assert same_rows(fresh.index, report.index)
    again = build_index(tmp_path / "ix", **options)
    assert (again.n_added, again.index.version) == (0, report.index.version)
    added = build_index(tmp_path / "ix", update=True, retry_failed=True, **options)
    assert (added.n_added, added.n_failed) == (0, 1)


def test_same_model_encodes_again(folder, encoder, tmp_path):
    build_index(tmp_path / "ix", source=folder, encoder=encoder)
    draw(folder, ["p00.jpg"], seed=7)
    first = Index.open(tmp_path / "ix").vectors()
    report = build_index(tmp_path / "ix", source=folder, encoder=encoder, rebuild=True)
    cosines = (report.index.vectors() * first).sum(axis=1)
    assert cosines[0] < 0.999 < cosines[1:].min()


def test_rebuild_of_nothing_is_a_build(folder, encoder, tmp_path):
    def stop(state):
        if state.stage == "embedding" and state.done >= 4:
            raise KeyboardInterrupt

    options = {"source": folder, "encoder": encoder, "rebuild": True, "batch_size": 2}
    with pytest.raises(KeyboardInterrupt):
        build_index(tmp_path / "ix", progress=stop, **options)
    report = build_index(tmp_path / "ix", **options)
    assert (report.n_present, report.n_added) == (4, 6)
    assert not left_over(tmp_path)


def test_interrupted_rebuild_goes_on(folder, encoder, other, tmp_path):
    build_index(tmp_path / "ix", source=folder, encoder=encoder)

    def stop(state):
        if state.stage == "embedding" and state.done >= 4:
            raise KeyboardInterrupt

    options = {"source": folder, "encoder": other, "rebuild": True, "batch_size": 2}
    with pytest.raises(KeyboardInterrupt):
        build_index(tmp_path / "ix", progress=stop, **options)
    assert Index.open(tmp_path / "ix").dimension == 24
    # the old one may be used and grow meanwhile
    draw(folder, ["new.jpg"])
    build_index(tmp_path / "ix", source=folder, encoder=encoder, update=True)
    for name in ("p00", "p01", "p02", "p03"):
        (folder / f"{name}.jpg").write_bytes(b"would fail if it were read")
    report = build_index(tmp_path / "ix", **options)
    assert (report.n_added, report.n_failed) == (11, 0)
    assert not left_over(tmp_path)


def test_another_mind_drops_what_was_begun(folder, encoder, other, tmp_path):
    build_index(tmp_path / "ix", source=folder, encoder=encoder)

    def stop(state):
        if state.stage == "embedding":
            raise KeyboardInterrupt

    options = {"source": folder, "rebuild": True, "batch_size": 2}
    with pytest.raises(KeyboardInterrupt):
        build_index(tmp_path / "ix", progress=stop, encoder=other, **options)
    report = build_index(tmp_path / "ix", encoder=encoder, **options)
    assert report.index.fingerprint == encoder.fingerprint
    assert not left_over(tmp_path)


def test_update_and_rebuild_exclude_each_other(folder, tmp_path):
    with pytest.raises(InvalidQueryError, match="update=True adds to an index and"):
        build_index(tmp_path / "ix", source=folder, update=True, rebuild=True)


REBUILDER = """
import json, os, sys
import lance, open_clip, PIL.Image, torch
import paperclip.imaging, paperclip.models, paperclip.index

torch.set_num_threads(1)
encoders = [paperclip.models.load_encoder(name) for name in sys.argv[1:]]
print("ready", flush=True)
for line in sys.stdin:  # a copy of this process does the work and may be killed
    child = os.fork()
    if not child:
        options = json.loads(line)
        encoder = encoders[options.pop("model")]
        paperclip.index.build_index(encoder=encoder, rebuild=True, **options)
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()  # until then its number belongs to nobody else
    status = os.waitpid(child, 0)[1]
    print("killed" if os.WIFSIGNALED(status) else "ended", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_rebuilds_leave_one_of_both(encoder, other, tmp_path):
    names = [f"{i:02d}" for i in range(24)]
    folder = draw(tmp_path / "in", [f"{name}.jpg" for name in names])
    place = tmp_path / "ix"
    build_index(place, source=folder, encoder=encoder)
    models = (encoder, other)
    expected = {
        model.fingerprint: build_index(
            tmp_path / f"plain{n}", source=folder, encoder=model
        ).index
        for n, model in enumerate(models)
    }
    rng = np.random.default_rng(3)
    wanted, kills, switches = 1, 0, 0
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", REBUILDER, *(model.name for model in models)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as builder:
        assert builder.stdout.readline() == "ready\n"
        limit = 0.4
        while kills < 20 or switches < 2:
            options = {"uri": str(place), "source": str(folder), "model": wanted}
            options |= {"batch_size": 4, "commit_rows": 8, "workers": 1}
            builder.stdin.write(json.dumps(options) + "\n")
            builder.stdin.flush()
            child = int(builder.stdout.readline())
            time.sleep(rng.uniform(0, limit))
            os.kill(child, signal.SIGKILL)
            builder.stdin.write("\n")
            builder.stdin.flush()
            killed = builder.stdout.readline() == "killed\n"
            kills += killed
            limit *= 1.05 if killed else 0.7
            index = Index.open(place)
            assert same_rows(index, expected[index.fingerprint])
            if index.fingerprint == models[wanted].fingerprint:
                switches += 1
                if not killed:
                    assert (
                        not left_over(tmp_path)
                        - {"plain0", "plain1"}
                        - {
                            "plain0.build",
                            "plain1.build",
                        }
                    )
                wanted = 1 - wanted
        builder.stdin.close()
    options = {"source": folder, "encoder": models[wanted], "rebuild": True}
    last = build_index(place, **options)
    assert same_rows(last.index, expected[models[wanted].fingerprint])
    assert sorted(ids(last.index)) == names
