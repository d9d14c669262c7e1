# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Builds on a Ray cluster give what one machine gives, whatever dies."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
from astropy.table import Table

from paperclip.exceptions import (
    ImageConversionError,
    InvalidQueryError,
    MissingDependencyError,
    RemoteServiceError,
)
from paperclip.index import Index, build_index

from ..tiny_models import tiny_model_directory
from .build_helpers import SlowEncoder, draw, failures, ids, same_rows
from .test_build import sky_image

ROOT = Path(__file__).parents[2]
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or os.name != "posix",
    reason="ray is not installed (extra ray), or there are no signals",
)
HEAD = {
    "num_cpus": 1,
    "object_store_memory": 80 * 2**20,
    "include_dashboard": False,
    # a node of one processor would end and start its processes all the time
    "_system_config": {"num_workers_soft_limit": 4},
}


@contextmanager
def cluster_of(nodes):
    """Start nodes on this machine, as processes, and end them all."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # Ray leaves pipes and files to the end of the process
        warnings.simplefilter("ignore")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import psutil
        from ray.cluster_utils import Cluster

        before = {process.pid for process in psutil.process_iter()}
        cluster = Cluster(initialize_head=True, head_node_args=HEAD)
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        address = cluster.gcs_address
        try:
            yield cluster
        finally:
            cluster.shutdown()
        left = [
            process
            for process in psutil.process_iter(["cmdline"])
            if process.pid not in before
            and address in " ".join(process.info["cmdline"] or [])
        ]
        assert not psutil.wait_procs(left, timeout=20)[1]


@pytest.fixture(name="notes")
def fixture_notes(tmp_path):
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


def mixed_folder(folder, n=12):
    draw(folder, [f"p{i:03d}.jpg" for i in range(n)])
    sky_image(folder / "sky.fits")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (folder / "text.fits").write_text("no FITS at all")
    return folder


@needs_ray
def test_cluster_gives_what_one_machine_gives(notes, tmp_path):
    folder = mixed_folder(tmp_path / "in")
    known = Table({"file": ["p003.jpg", "sky.fits"], "target_name": ["NGC 1", "é"]})
    options = {"source": folder, "encoder": SlowEncoder(notes), "metadata": known}
    here = build_index(tmp_path / "here", **options)
    options |= {"batch_size": 4, "workers": 1, "commit_rows": 6}
    with cluster_of(1) as cluster:
        states = []
        report = build_index(
            tmp_path / "ix", ray=cluster.address, progress=states.append, **options
        )
        assert (report.n_added, report.n_failed, report.complete) == (13, 2, True)
        assert same_rows(here.index, report.index)
        assert failures(report) == failures(here)
        assert (states[-1].stage, states[-1].done) == ("embedding", 15)
        draw(folder, ["new.jpg"])
    again = build_index(tmp_path / "ix", ray=cluster.address, **options)
    assert (again.n_added, again.n_new) == (0, 1)  # needs no cluster


@needs_ray
@pytest.mark.slow
def test_cluster_of_two_nodes_with_a_model(tmp_path):
    folder = mixed_folder(tmp_path / "in", 40)
    model = str(tiny_model_directory(tmp_path / "tiny"))
    options = {"source": folder, "batch_size": 4, "commit_rows": 8}
    here = build_index(tmp_path / "here", encoder=model, **options)
    with cluster_of(2) as cluster:
        report = build_index(
            tmp_path / "ix", encoder=model, ray=cluster.address, **options
        )
        assert (report.n_added, report.n_failed) == (41, 2)
        assert same_rows(here.index, report.index)
        draw(folder, ["new1.jpg", "new2.jpg"])
        other = str(tiny_model_directory(tmp_path / "other", 1, embed_dim=16))
        options |= {"ray": cluster.address}
        more = build_index(tmp_path / "ix", encoder=model, update=True, **options)
        assert (more.n_added, more.n_present) == (2, 41)
        new = build_index(tmp_path / "ix", encoder=other, rebuild=True, **options)
        assert (new.n_added, new.index.dimension) == (43, 16)


@needs_ray
@pytest.mark.slow
def test_encoder_that_raises(notes, tmp_path):
    folder = draw(tmp_path / "in", ["a.jpg"])
    poison = ImageConversionError("no colours")
    with (
        cluster_of(1) as cluster,
        pytest.raises(ImageConversionError, match="no colours"),
    ):
        build_index(
            tmp_path / "ix",
            source=folder,
            encoder=SlowEncoder(notes, poison=poison),
            ray=cluster.address,
        )


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("victim", ["actor", "node"])
def test_something_dies_in_the_middle(notes, tmp_path, victim):
    n = 120
    folder = draw(tmp_path / "in", [f"p{i:03d}.jpg" for i in range(n)])
    struck = []
    with cluster_of(2) as cluster:

        def strike(state):
            if state.stage != "embedding" or struck or state.done < n // 6:
                return
            struck.append(state.done)
            if victim == "node":
                (node,) = cluster.worker_nodes
                cluster.remove_node(node, allow_graceful=False)
            else:
                os.kill(int(next(notes.iterdir()).name), signal.SIGKILL)

        report = build_index(
            tmp_path / "ix",
            source=folder,
            encoder=SlowEncoder(notes, 0.1),
            ray=cluster.address,
            batch_size=4,
            commit_rows=8,
            progress=strike,
        )
    assert struck
    assert struck[0] < n
    assert report.n_added == n
    assert sorted(ids(report.index)) == [f"p{i:03d}" for i in range(n)]
    here = build_index(tmp_path / "h", source=folder, encoder=SlowEncoder(notes))
    assert same_rows(here.index, report.index)


DRIVER = """
import sys
from pathlib import Path
from paperclip.index import build_index
from tests.index.build_helpers import SlowEncoder

place, source, notes, address = sys.argv[1:]
build_index(
    place, source=source, encoder=SlowEncoder(Path(notes), 0.1), ray=address,
    batch_size=4, commit_rows=8, commit_seconds=0,
    progress=lambda state: print(state.stage, state.done, flush=True),
)
"""


@needs_ray
@pytest.mark.slow
def test_driver_dies_in_the_middle(notes, tmp_path):
    n = 120
    folder = draw(tmp_path / "in", [f"p{i:03d}.jpg" for i in range(n)])
    place = tmp_path / "ix"
    with cluster_of(2) as cluster:
        words = [str(place), str(folder), str(notes), cluster.address]
        with subprocess.Popen(
            [sys.executable, "-c", DRIVER, *words], stdout=subprocess.PIPE, text=True
        ) as driver:
            for line in driver.stdout:
                stage, done = line.split()
                if stage == "embedding" and int(done) >= n // 4:
                    break
            driver.kill()
        partly = ids(Index.open(place))
        assert 0 < len(partly) < n
        assert len(set(partly)) == len(partly)
        for name in partly:
            (folder / f"{name}.jpg").write_bytes(b"would fail if it were read")
        time.sleep(1)
        report = build_index(
            place,
            source=folder,
            encoder=SlowEncoder(notes),
            ray=cluster.address,
            batch_size=4,
        )
    assert (report.n_present, report.n_added) == (len(partly), n - len(partly))
    assert report.n_failed == 0
    assert sorted(ids(report.index)) == [f"p{i:03d}" for i in range(n)]


@needs_ray
def test_no_cluster(notes, tmp_path):
    folder = draw(tmp_path / "in", ["a.jpg"])
    with pytest.raises(RemoteServiceError, match="start one with 'ray start --head'"):
        build_index(
            tmp_path / "ix", source=folder, encoder=SlowEncoder(notes), ray="auto"
        )


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="there is ray")
def test_ray_is_not_installed(notes, tmp_path):
    folder = draw(tmp_path / "in", ["a.jpg"])
    with pytest.raises(MissingDependencyError, match=r"astro-paperclip\[ray\]"):
        build_index(
            tmp_path / "ix", source=folder, encoder=SlowEncoder(notes), ray="auto"
        )


@pytest.mark.parametrize("address", ["", 5, True])
def test_bad_address(tmp_path, address):
    with pytest.raises(InvalidQueryError, match='ray must be "auto" or the address'):
        build_index(tmp_path / "ix", source=tmp_path, ray=address)
