# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What several tests of builds share."""

import os
import time

import numpy as np
from astropy.table import Table
from PIL import Image

__all__ = ["SlowEncoder", "draw", "failures", "ids", "same_rows"]


def draw(folder, names, *, seed=0):
    """Write small pictures of different shapes."""
    rng = np.random.default_rng(seed)
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (30 + number % 7, 40, 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return folder


def ids(index):
    """Return the ids of an index in the order of its rows."""
    return index.to_table(["obs_id"])["obs_id"].tolist()


def failures(report):
    """Return status and reason of what failed, by id."""
    table = Table.read(report.failures, format="ascii.ecsv")
    return {row["obs_id"]: (row["status"], row["reason"]) for row in table}


def same_rows(one, two):
    """Whether two indexes have the same rows, whatever their order."""
    a, b = one.to_table(), two.to_table()
    first, second = np.argsort(a["obs_id"]), np.argsort(b["obs_id"])
    for name in a.colnames:
        x, y = a[name][first], b[name][second]
        mask = np.ma.getmaskarray(np.ma.asarray(x))
        np.testing.assert_array_equal(mask, np.ma.getmaskarray(np.ma.asarray(y)))
        np.testing.assert_array_equal(np.asarray(x)[~mask], np.asarray(y)[~mask])
    difference = one.vectors()[first] - two.vectors()[second]
    assert np.abs(difference).max() < 1e-3
    return True


class SlowEncoder:
    """
    An encoder of mean colours that takes its time and tells its process.

    It is not a test module's, so that the nodes of a cluster can import it.
    """

    fingerprint = "slow"
    dimension = 12

    def __init__(self, notes, seconds=0.0, poison=None):
        self._notes = notes
        self._seconds = seconds
        self._poison = poison

    def encode_images(self, images, **_options):
        (self._notes / str(os.getpid())).touch()
        time.sleep(self._seconds * len(images))
        parts = [
            part.mean(axis=(0, 1)) for rgb in images for part in np.array_split(rgb, 4)
        ]
        if self._poison is not None:
            raise self._poison
        return np.reshape(parts, (len(images), 12)) + 1.0

    def encode_texts(self, texts, **_options):
        return np.ones((len(texts), 12))
