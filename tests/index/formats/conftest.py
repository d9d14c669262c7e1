# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""An index of seeded rows with footprints, accents and gaps."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table

from paperclip.index import Index
from paperclip.results import ColumnSpec

FINGERPRINT = "ab12" * 16
N = 400


@pytest.fixture(name="index", scope="module")
def fixture_index(tmp_path_factory):
    """Make an index whose rows have positions; tests only read it."""
    rng = np.random.default_rng(3)
    place = np.arange(N)
    table = Table({"obs_id": [f"obs-{i:04d}" for i in place]})
    table["obs_collection"] = np.where(place % 4 == 0, "HST", "JWST")
    table["instrument_name"] = np.where(place % 2 == 0, "NIRCAM", "MIRI")
    names = [f"Galaxie née {i % 7} β" for i in place]
    table["target_name"] = MaskedColumn(names, mask=place % 5 == 0)
    table["s_ra"] = rng.uniform(0, 360, N) * u.deg
    table["s_dec"] = np.degrees(np.arcsin(rng.uniform(-1, 1, N))) * u.deg
    regions = [
        f"CIRCLE ICRS {a:.5f} {d:.5f} 0.3"
        for a, d in zip(table["s_ra"], table["s_dec"], strict=True)
    ]
    table["s_region"] = MaskedColumn(regions, mask=place % 3 == 0)
    table["t_min"] = rng.uniform(59000, 60000, N) * u.d
    table["dataURI"] = [f"mast:X/product/{i}_i2d.fits" for i in place]
    table["em_min"] = np.where(place % 2 == 0, 1755.0, np.nan)
    table["counts"] = MaskedColumn(place * 3, mask=place % 11 == 0)
    extra = [
        ColumnSpec("em_min", float, u.nm, "Shortest wavelength", "em.wl;stat.min"),
        ColumnSpec("counts", "int32", None, "Sources in the picture"),
    ]
    index = Index.create(
        tmp_path_factory.mktemp("formats") / "ix",
        fingerprint=FINGERPRINT,
        dimension=16,
        model="org/clip",
        extra_columns=extra,
    )
    vectors = rng.normal(size=(N, 16))
    for start in range(0, N, 150):
        index.append(table[start : start + 150], vectors[start : start + 150])
    index.delete(["obs-0007", "obs-0390"])
    return index


@pytest.fixture(name="bits")
def fixture_bits():
    """Return the vectors of an index as integers, by obs_id."""

    def bits(index):
        half = index.vectors().astype(np.float16).view(np.uint16)
        return dict(
            zip(index.to_table()["obs_id"].tolist(), half.tolist(), strict=True)
        )

    return bits
