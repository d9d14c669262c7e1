# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Indexes of seeded synthetic rows."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table

from paperclip.index import Index

FINGERPRINT = "5f1d" * 16
DIMENSION = 32


def make_rows(n, *, seed=0, prefix="obs"):
    """Rows with gaps and accents, and vectors that are not normalised."""
    rng = np.random.default_rng(seed)
    place = np.arange(n)
    table = Table()
    table["obs_id"] = [f"{prefix}-{i:04d}" for i in place]
    table["obs_collection"] = np.where(place % 4 == 0, "HST", "JWST")
    table["instrument_name"] = np.where(place % 2 == 0, "NIRCAM", "MIRI")
    names = [f"Galaxie née {i % 7} β'\"" for i in place]
    table["target_name"] = MaskedColumn(names, mask=place % 5 == 0)
    table["s_ra"] = rng.uniform(0, 360, n) * u.deg
    table["s_dec"] = rng.uniform(-90, 90, n) * u.deg
    table["s_dec"][place % 6 == 0] = np.nan
    table["t_min"] = rng.uniform(59000, 60000, n) * u.d
    table["dataURI"] = [f"mast:X/{i}.fits" for i in place]
    return table, rng.normal(size=(n, DIMENSION)) * rng.uniform(0.1, 9, (n, 1))


def brute_force(index, query, rows=None):
    """Row numbers and similarities, best first, in plain float64."""
    query = np.asarray(query) / np.linalg.norm(query)
    similarity = index.vectors().astype(float) @ query
    rows = np.arange(len(index)) if rows is None else np.asarray(rows)
    order = np.argsort(-similarity[rows], kind="stable")
    return rows[order], similarity[rows][order]


def same(a, b):
    """Whether two tables agree in values, masks, units and types."""
    assert a.colnames == b.colnames
    for name in a.colnames:
        x, y = a[name], b[name]
        assert type(x) is type(y), name
        assert x.dtype.kind == y.dtype.kind, name
        assert (x.unit, x.description) == (y.unit, y.description)
        assert x.info.meta == y.info.meta
        mask = np.ma.getmaskarray(x.data) if len(x) else np.zeros(0, bool)
        if len(x):
            np.testing.assert_array_equal(mask, np.ma.getmaskarray(y.data))
        np.testing.assert_array_equal(np.asarray(x)[~mask], np.asarray(y)[~mask])
    return True


@pytest.fixture(name="sample", scope="module")
def fixture_sample(tmp_path_factory):
    """Make an index of 300 rows in three fragments; tests only read it."""
    path = tmp_path_factory.mktemp("sample") / "an index #1 é"
    index = Index.create(path, fingerprint=FINGERPRINT, dimension=DIMENSION)
    table, vectors = make_rows(300)
    for part in (slice(0, 100), slice(100, 250), slice(250, 300)):
        index.append(table[part], vectors[part])
    return SimpleNamespace(index=index, path=path, table=table, vectors=vectors)


@pytest.fixture(name="small")
def fixture_small(tmp_path):
    """Make an index of 20 rows that a test may change."""
    index = Index.create(tmp_path / "ix", fingerprint=FINGERPRINT, dimension=DIMENSION)
    index.append(*make_rows(20))
    return index


@pytest.fixture(name="make_rows")
def fixture_make_rows():
    return make_rows


@pytest.fixture(name="brute_force")
def fixture_brute_force():
    return brute_force


@pytest.fixture(name="same")
def fixture_same():
    return same
