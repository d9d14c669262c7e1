# Licensed under a 3-clause BSD style license - see LICENSE.rst
import shutil
import warnings

import numpy as np
import pytest

from paperclip.exceptions import (
    ExportError,
    IndexExistsError,
    InvalidQueryError,
    InvalidRowsError,
    MissingDependencyError,
    ModelMismatchError,
)
from paperclip.index import Index
from paperclip.index.formats import export_hats, import_hats, lazy_catalog

hats = pytest.importorskip("hats")
lsdb = pytest.importorskip("lsdb")


@pytest.fixture(name="folder", scope="module")
def fixture_folder(index, tmp_path_factory):
    return export_hats(index, tmp_path_factory.mktemp("h") / "cat", rows_per_file=40)


@pytest.fixture(autouse=True)
def _quiet(recwarn):
    """LSDB warns of its own future and of catalogues without margins."""
    warnings.simplefilter("ignore", FutureWarning)
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="lsdb")
    warnings.filterwarnings("ignore", category=UserWarning, module="lsdb")
    warnings.filterwarnings("ignore", category=ResourceWarning)


def test_it_is_a_valid_catalogue(index, folder):
    from hats.io.validation import is_valid_catalog

    assert is_valid_catalog(folder, strict=True)
    info = hats.read_hats(folder).catalog_info
    assert (info.total_rows, info.ra_column, info.dec_column) == (398, "s_ra", "s_dec")
    assert info.hats_max_rows <= 40
    assert (folder / "skymap.fits").is_file()


def test_lsdb_reads_vectors_to_the_bit(index, folder, bits):
    frame = lsdb.open_catalog(folder).compute(progress_bar=False)
    expected = bits(index)
    assert len(frame) == len(expected)
    for name, vector in zip(frame["obs_id"], frame["vector"], strict=True):
        half = np.asarray(vector, dtype=np.float16).view(np.uint16)
        assert half.tolist() == expected[name]


@pytest.mark.parametrize("kind", ["written", "lazy"])
def test_cross_match_with_a_second_catalogue(index, folder, kind):
    """Half of the rows have a neighbour at 0.5 arcsec, the others at 5."""
    import pandas as pd

    table = index.to_table()
    shift = np.where(np.arange(len(table)) % 2, 0.5, 5.0) / 3600
    dec = np.asarray(table["s_dec"])
    other = pd.DataFrame(
        {
            "source": table["obs_id"].tolist(),
            "ra": np.asarray(table["s_ra"]),
            "dec": dec - np.sign(dec) * shift,
        }
    )
    second = lsdb.from_dataframe(
        other, ra_column="ra", dec_column="dec", catalog_name="second"
    )
    if kind == "written":
        first = lsdb.open_catalog(folder)
    else:
        first = lazy_catalog(index, rows_per_file=70)
    found = first.crossmatch(
        second,
        radius_arcsec=1,
        suffixes=("", "_2"),
        suffix_method="overlapping_columns",
    ).compute(progress_bar=False)
    assert set(found["obs_id"]) == set(table["obs_id"][1::2].tolist())
    assert (found["obs_id"] == found["source"]).all()
    np.testing.assert_allclose(found["_dist_arcsec"].astype(float), 0.5, atol=1e-6)


def test_round_trip(index, folder, tmp_path, same, bits):
    again = import_hats(folder, tmp_path / "ix")
    assert bits(again) == bits(index)
    first, second = index.to_table(), again.to_table()
    second.sort("obs_id")
    first.sort("obs_id")
    assert same(second, first)
    assert (again.fingerprint, again.model) == (index.fingerprint, "org/clip")


def test_catalogues_of_lsdb(tmp_path):
    import pandas as pd

    frame = pd.DataFrame(
        {"id": ["a", "b", "c"], "ra": [1.0, 100, 200], "dec": [0.0, 50, -50]}
    )
    frame["emb"] = list(np.eye(3, 4, dtype=np.float32))
    catalog = lsdb.from_dataframe(frame, ra_column="ra", dec_column="dec")
    catalog.write_catalog(
        tmp_path / "c", catalog_name="c", as_collection=False, progress_bar=False
    )
    options = {"vector": "emb", "rename": {"id": "obs_id"}}
    with pytest.raises(InvalidQueryError, match="does not say which model"):
        import_hats(tmp_path / "c", tmp_path / "ix", **options)
    index = import_hats(tmp_path / "c", tmp_path / "ix", fingerprint="f", **options)
    table = index.to_table()
    table.sort("obs_id")
    assert table["s_ra"].tolist() == [1, 100, 200]
    with pytest.raises(InvalidRowsError, match="no column 'vector' of vectors"):
        import_hats(tmp_path / "c", tmp_path / "i2", fingerprint="f")


def test_conditions_choose_rows(index, tmp_path):
    path = export_hats(index, tmp_path / "c", instrument_name="MIRI", vectors=False)
    catalog = lsdb.open_catalog(path)
    frame = catalog.compute(progress_bar=False)
    assert set(frame["instrument_name"]) == {"MIRI"}
    assert "vector" not in frame.columns
    with pytest.raises(InvalidRowsError, match="no column 'vector' of vectors"):
        import_hats(path, tmp_path / "ix")


def test_lazy_view_stays_at_its_version(small):
    place = "s_ra IS NOT NULL AND s_dec IS NOT NULL"
    view = lazy_catalog(small, where=place, columns=["target_name"])
    before = set(view.compute(progress_bar=False)["obs_id"])
    small.delete(sorted(before)[:3])
    assert set(view.compute(progress_bar=False)["obs_id"]) == before
    assert "vector" in view.columns
    assert "t_min" not in view.columns


def test_lazy_views_of_other_rows_stay_apart_in_one_graph(index):
    """Views of as many partitions were taken for the same task."""
    views = [lazy_catalog(index, instrument_name=n) for n in ("NIRCAM", "MIRI")]
    assert len({len(view.get_healpix_pixels()) for view in views}) == 1
    pairs = views[0].crossmatch(
        views[1], radius_arcsec=3600 * 20, suffixes=("_1", "_2"), n_neighbors=1
    )
    found = pairs.compute(progress_bar=False)
    assert set(found["instrument_name_1"]) == {"NIRCAM"}
    assert set(found["instrument_name_2"]) == {"MIRI"}


def test_rows_without_position_are_refused(small, tmp_path):
    with pytest.raises(InvalidRowsError, match=r"rows have no position.* where='s_ra"):
        export_hats(small, tmp_path / "c")
    with pytest.raises(InvalidRowsError, match=r"there are no rows.* look after the c"):
        export_hats(small, tmp_path / "c", where="s_ra > 1000")
    assert not (tmp_path / "c").exists()


def test_nothing_is_replaced_unasked(index, folder, tmp_path):
    path = tmp_path / "c"
    shutil.copytree(folder, path)
    with pytest.raises(ExportError, match="is there already"):
        export_hats(index, path)
    export_hats(index, path, obs_collection="HST", overwrite=True)
    assert hats.read_hats(path).catalog_info.total_rows == 100
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(ExportError, match=r"not a folder with 'hats\.properties'"):
        export_hats(index, tmp_path / "mine", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "mine"]


def test_bad_folders(index, folder, tmp_path):
    with pytest.raises(InvalidRowsError, match="there is no HATS catalogue"):
        import_hats(tmp_path / "nothing", tmp_path / "ix")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRowsError, match="is no HATS catalogue that can be read"):
        import_hats(tmp_path / "empty", tmp_path / "ix")
    with pytest.raises(ModelMismatchError, match="not by 'g'"):
        import_hats(folder, tmp_path / "ix", fingerprint="g")
    with pytest.raises(IndexExistsError, match="choose another place"):
        import_hats(folder, tmp_path)
    assert not (tmp_path / "ix").exists()


def test_a_truncated_file_leaves_nothing(folder, tmp_path):
    path = tmp_path / "c"
    shutil.copytree(folder, path)
    file = sorted(path.rglob("Npix=*.parquet"))[-1]
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(InvalidRowsError, match="cannot be read"):
        import_hats(path, tmp_path / "ix")
    assert not (tmp_path / "ix").exists()


def test_what_to_install_is_said(index, tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("paperclip.utils.optional.import_module", missing)
    message = r"pip install 'astro-paperclip\[hats\]'"
    with pytest.raises(MissingDependencyError, match=message):
        export_hats(index, tmp_path / "c")
    with pytest.raises(MissingDependencyError, match=message):
        import_hats(tmp_path / "c", tmp_path / "ix")
    with pytest.raises(MissingDependencyError, match=message):
        lazy_catalog(index)


def test_opening_the_result(folder, tmp_path):
    import_hats(folder, tmp_path / "ix")
    assert len(Index.open(tmp_path / "ix").search(np.ones(16), limit=5)) == 5
