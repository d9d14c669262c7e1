# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Options of ``paperclip query`` that choose observations."""

import csv

import numpy as np
import pytest
from astropy.table import Table

from paperclip.cli import main
from paperclip.index import Index
from paperclip.models import load_encoder

from ..tiny_models import tiny_model_directory

DS9 = """# Region file format: DS9
galactic
circle(96.337272,-60.188558,3)
"""


@pytest.fixture(name="places", scope="module")
def fixture_places(tmp_path_factory):
    model = str(tiny_model_directory(tmp_path_factory.mktemp("model") / "tiny"))
    encoder = load_encoder(model)
    index = Index.create(
        tmp_path_factory.mktemp("index") / "ix",
        fingerprint=encoder.fingerprint,
        dimension=encoder.dimension,
    )
    table = Table({"obs_id": ["a", "b", "c", "d"]})
    table["obs_collection"] = ["HST", "JWST", "JWST", "HST"]
    table["instrument_name"] = ["ACS/WFC", "NIRCAM/IMAGE", "MIRI/IMAGE", "WFC3/IR"]
    table["filters"] = ["F814W", "F200W", "F770W", "F160W"]
    table["target_name"] = ["M31", "NGC-1", "NGC-2", "50%"]
    table["proposal_id"] = ["1", "2", "2", "3"]
    table["s_ra"], table["s_dec"] = [359.9, 0.1, 0.1, 10.0], [0.0, 0.0, 1.0, 2.0]
    table["t_min"] = [53000.0, 59700.0, 59800.0, 55000.0]
    table["t_max"] = [53000.1, 59700.1, 59800.1, 55000.1]
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (40, 50, 3), dtype=np.uint8) for _ in range(4)]
    index.append(table, encoder.encode_images(pictures))
    return ["--model", model, "--index", index.uri]


@pytest.fixture(name="found")
def fixture_found(places, capfd, monkeypatch, tmp_path):
    """Return the names of the observations that a command finds, in one text."""
    monkeypatch.chdir(tmp_path)

    def found(*words, fails=None):
        words = ["query", "x", "--format", "csv", *map(str, words), *places]
        code = main(words)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        if fails is not None:
            assert code != 0
            assert fails in err
            return None
        assert code == 0, err
        return "".join(sorted(r["obs_id"] for r in csv.DictReader(out.splitlines())))

    return found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--collection", "hst"], "ad"),
        (["--instrument", "nircam*", "--instrument", "MIRI/image"], "bc"),
        (["--filters", "f?70w"], "c"),
        (["--proposal", "2", "--target", "*-1"], "b"),
        (["--target", "50%"], "d"),
        (["--after", "2022-05-01", "--before", "59750"], "b"),
        (["--before", "2010-01-01T00:00"], "ad"),
        (["--region", "0 0", "--radius", "0.2"], "ab"),
        (["--region", "00h00m00s +00d30m", "--radius", "36 arcmin"], "abc"),
        (["--region", "0 0", "--radius", "2 deg", "--collection", "JWST"], "bc"),
        (["--where", "s_dec > 0.5", "--collection", "JWST"], "c"),
    ],
)
def test_what_is_found(found, words, expected):
    assert found(*words) == expected


def test_region_of_ds9(found, tmp_path):
    (tmp_path / "my.reg").write_text(DS9)
    assert found("--region", "my.reg") == "abc"


def test_region_of_a_moc(found, tmp_path):
    mocpy = pytest.importorskip("mocpy")
    moc = mocpy.MOC.from_string("9/" + " ".join(map(str, mocs_cells())))
    moc.save(tmp_path / "my.fits", format="fits")
    assert found("--region", "my.fits") == "d"


def mocs_cells():
    from paperclip.footprints.cells import cells_of
    from paperclip.footprints.sphere import unit_vectors

    return cells_of(unit_vectors(np.array([10.0]), np.array([2.0]))) >> 40


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--region", "none.reg"], "--region: there is no file 'none.reg'"),
        (["--region", "bad.reg"], "is no region file of DS9"),
        (["--region", "empty.reg"], "'empty.reg' holds no region"),
        (["--region", "bad.fits"], "is no FITS file with a MOC"),
        (["--region", "pixel.reg"], "turn it into a sky region"),
        (["--region", "1 2"], "radius must be given with a position"),
        (["--region", "M31"], "region must be a sky region or a position"),
        (["--radius", "2"], "radius needs region"),
        (["--after", "2023-01-01", "--before", "2022-01-01"], "t_min must not be"),
        (["--after", "soon"], "t_min must be a Time"),
        (["--target", ""], "target_name must be texts that are not blank"),
    ],
)
def test_what_is_refused(found, tmp_path, words, message):
    (tmp_path / "bad.reg").write_text("icrs\ncircle(1,2\n")
    (tmp_path / "empty.reg").write_text("# nothing\n")
    (tmp_path / "pixel.reg").write_text("image\ncircle(10,10,3)\n")
    (tmp_path / "bad.fits").write_bytes(b"no fits")
    if "mocs" in message or "MOC" in message:
        pytest.importorskip("mocpy")
    found(*words, fails=message)
