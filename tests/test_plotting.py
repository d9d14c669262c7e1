# Licensed under a 3-clause BSD style license - see LICENSE.rst
# ruff: noqa: RUF001  (primes and minus signs of positions)
import csv
import io
import pickle
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table

from paperclip import conf
from paperclip._figures import _mollweide, _sexagesimal, _sky_lines, fit_text
from paperclip._previews import is_offline, preview_address
from paperclip.exceptions import (
    FailedRowsWarning,
    InvalidQueryError,
    MissingDependencyError,
)
from paperclip.plotting import show_description, show_results
from paperclip.vocabulary import load_vocabulary

from .shared_data import require_shared_data

pytest.importorskip("matplotlib")


def jpeg(size=(40, 30), colour=(200, 30, 60)):
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "JPEG")
    return stream.getvalue()


def results(count=3, **columns):
    table = Table(
        {
            "similarity": np.linspace(0.35, 0.3, count),
            "rank": np.arange(1, count + 1),
            "obs_id": [f"jw0273{i}-o001_t017_nircam" for i in range(count)],
            "instrument_name": ["NIRCAM/IMAGE"] * count,
            "filters": ["F444W;CLEAR"] * count,
            "target_name": [f"NGC {3324 + i}" for i in range(count)],
            "s_ra": MaskedColumn(np.linspace(0, 350, count), unit="deg"),
            "s_dec": MaskedColumn(np.linspace(-80, 80, count), unit="deg"),
            "proposal_id": ["2731"] * count,
            "jpegURL": MaskedColumn(["x" * 80] * count, mask=[True] * count),
        }
    )
    for name, values in columns.items():
        table[name] = values
    table.meta["query"] = "face-on spiral galaxy"
    return table


def texts(axes):
    return " | ".join(text.get_text() for text in axes.texts)


def has_picture(axes):
    return len(axes.images) == 1


def draw(figure):
    """Render, so that warnings of the drawing become errors."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=50)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path):
    with conf.set_temp("cache_dir", str(tmp_path / "cache")):
        yield


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*_args, **_kwargs):
        pytest.fail("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.paths.append(self.path)
        name = self.path.strip("/").split("?")[0]
        getattr(self, name.partition(".")[0])()

    def send(self, body, *, status=200, length=None, **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def good(self):
        self.send(jpeg())

    def missing(self):
        self.send(b"gone", status=404)

    def html(self):
        self.send(b"<html>Sign in</html>", **{"Content-Type": "image/jpeg"})

    def huge(self):
        self.send(bytes(21 * 2**20))

    def short(self):
        self.send(jpeg(), length=100_000)

    def moved(self):
        self.send(b"", status=302, Location="/good.jpg")

    def escape(self):
        self.send(b"", status=302, Location="file:///etc/hostname")

    def slow(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        try:
            for _ in range(40):
                self.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            self.close_connection = True

    def log_message(self, *_args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.paths = []
        httpd.url = f"http://127.0.0.1:{httpd.server_port}"
        thread = threading.Thread(
            target=httpd.serve_forever, kwargs={"poll_interval": 0.01}
        )
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


# ---- mosaics without pictures


@pytest.mark.usefixtures("no_sockets")
def test_offline_panels_are_maps_of_the_sky():
    figure = show_results(results(3), offline=True)
    draw(figure)
    assert figure.get_suptitle() == "“face-on spiral galaxy”"
    assert [axes.get_title() for axes in figure.axes] == [
        "1  NGC 3324",
        "2  NGC 3325",
        "3  NGC 3326",
    ]
    assert figure.axes[0].get_xlabel() == "NIRCAM/IMAGE · F444W\nsimilarity 0.350"
    for axes in figure.axes:
        assert not has_picture(axes)
        assert len(axes.collections) == 2  # grid and Galactic plane
        assert len(axes.lines) == 2  # the mark
        assert "programme 2731" in texts(axes)
    assert "00h00m00s  −80°00′00″" in texts(figure.axes[0])


@pytest.mark.usefixtures("no_sockets")
@pytest.mark.parametrize("variable", ["1", "TRUE", "yes"])
def test_the_environment_can_forbid_downloads(monkeypatch, variable):
    monkeypatch.setenv("HF_HUB_OFFLINE", variable)
    table = results(1, jpegURL=["http://127.0.0.1:1/good.jpg"])
    assert not has_picture(show_results(table).axes[0])


@pytest.mark.usefixtures("no_sockets")
def test_the_configuration_can_forbid_downloads():
    table = results(1, jpegURL=["mast:JWST/product/x.jpg"])
    with conf.set_temp("offline", True):
        assert not has_picture(show_results(table).axes[0])


def test_offline_argument_wins(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert is_offline()
    assert not is_offline(False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert not is_offline()


def test_masked_values_leave_no_empty_panel():
    table = Table(results(2), masked=True)
    for name in table.colnames:
        table[name].mask[0] = True
    figure = show_results(table, offline=True)
    draw(figure)
    axes = figure.axes[0]
    assert axes.get_title() == "unnamed target"
    assert axes.get_xlabel() == ""
    assert "position not known" in texts(axes)
    assert not axes.lines
    assert axes.patches


@pytest.mark.parametrize(("ra", "dec"), [(np.nan, 0), (10, 95), (np.inf, 0)])
def test_impossible_positions_are_unknown(ra, dec):
    figure = show_results(results(1, s_ra=[ra], s_dec=[dec]), offline=True)
    assert "position not known" in texts(figure.axes[0])


def test_quantities_are_converted():
    table = QTable(results(1))
    table["s_ra"] = [np.pi] * u.rad
    table["s_dec"] = [-30] * u.deg
    figure = show_results(table, offline=True)
    assert "12h00m00s  −30°00′00″" in texts(figure.axes[0])


def test_without_text_the_panel_itself_names_the_target():
    figure = show_results(results(1), offline=True, show_text=False)
    draw(figure)
    axes = figure.axes[0]
    assert axes.get_title() == ""
    assert "NGC 3324" in texts(axes)
    assert "F444W" in texts(axes)


def test_empty_table_says_no_results():
    figure = show_results(results(3)[:0], offline=True)
    draw(figure)
    assert texts(figure.axes[0]) == "no results"
    assert figure.get_suptitle() == "“face-on spiral galaxy”"


def test_columns_decide_the_shape():
    wide = show_results(results(4), columns=4, offline=True)
    tall = show_results(results(4), columns=1, offline=True)
    assert wide.get_figwidth() > wide.get_figheight()
    assert tall.get_figwidth() < tall.get_figheight()
    assert len(wide.axes) == len(tall.axes) == 4


def test_panels_do_not_overlap_and_lie_inside():
    figure = show_results(results(7), columns=3, offline=True)
    boxes = [axes.get_position() for axes in figure.axes]
    for i, one in enumerate(boxes):
        assert 0 <= one.x0 < one.x1 <= 1
        assert 0 <= one.y0 < one.y1 <= 1
        assert not any(one.overlaps(two) for two in boxes[:i])


def test_hostile_names_are_shown_as_they_are():
    name = "$\\frac{x" + "W" * 500 + "\x00\n"
    table = results(1, target_name=[name], filters=["$a_b$"])
    table.meta["query"] = "100$ \\alpha " + "word " * 400
    figure = show_results(table, offline=True)
    draw(figure)
    assert figure.axes[0].get_title().startswith("1  $\\frac{xW")
    assert figure.axes[0].get_title().endswith("…")
    assert len(figure.get_suptitle()) < 100


def test_bytes_columns_are_read():
    table = results(1, target_name=np.array([b"M 51"]))
    assert show_results(table, offline=True).axes[0].get_title() == "1  M 51"


def test_without_a_query_there_is_no_title():
    table = results(1)
    del table.meta["query"]
    assert show_results(table, offline=True).get_suptitle() == ""


def test_figures_of_the_caller_are_used():
    from matplotlib.figure import Figure

    figure = Figure()
    assert show_results(results(2), offline=True, figure=figure) is figure
    assert len(figure.axes) == 2


def test_pyplot_is_left_alone():
    code = (
        "import sys; from astropy.table import Table; import paperclip.plotting as p;"
        "assert 'matplotlib' not in sys.modules;"
        "row = dict(obs_id='a', target_name='b', instrument_name='c', filters='d',"
        " s_ra=1., s_dec=2., similarity=.3);"
        "p.show_results(Table([row]), offline=True);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    match = r"show_results\(\) needs 'matplotlib'.*astro-paperclip\[plot\]"
    with pytest.raises(MissingDependencyError, match=match):
        show_results(results(1), offline=True)
    with pytest.raises(MissingDependencyError, match=r"show_description\(\) needs"):
        show_description(PICTURE, described())


def test_notebooks_get_a_png_and_pickle_works():
    figure = show_results(results(1), offline=True)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert len(pickle.loads(pickle.dumps(figure)).axes) == 1


def test_ten_maps_are_drawn_quickly():
    table = results(10)
    draw(show_results(table, offline=True))
    start = time.perf_counter()
    draw(show_results(table, offline=True))
    assert time.perf_counter() - start < 1.5


# ---- the map


def test_mollweide_known_places():
    # numerical example of Snyder 1987: latitude -50, longitude -75, centre -90
    scale = np.sqrt(2)  # here the pole is at y = 1
    x, y = _mollweide(-75 + 90, -50)
    assert -x * scale == pytest.approx(0.1788845, abs=1e-6)
    assert y * scale == pytest.approx(-0.9208758, abs=1e-6)


@pytest.mark.parametrize(
    ("ra", "dec", "x", "y"),
    [(0, 0, 0, 0), (90, 0, -1, 0), (270, 0, 1, 0), (0, 90, 0, 1), (77, -90, 0, -1)],
)
def test_mollweide_axes(ra, dec, x, y):
    np.testing.assert_allclose(_mollweide(ra, dec), (x, y), atol=2e-3)


def test_galactic_plane_is_where_astropy_has_it():
    _, plane = _sky_lines()
    plane = np.concatenate(plane)
    sky = SkyCoord(l=np.arange(0, 360, 10), b=0, unit="deg", frame="galactic").icrs
    places = np.transpose(_mollweide(sky.ra.deg, sky.dec.deg))
    distance = np.linalg.norm(places[:, None] - plane, axis=2).min(axis=1)
    assert distance.max() < 0.03


@pytest.mark.parametrize(
    ("ra", "dec", "text"),
    [
        (159.2128, -58.6204, "10h36m51s  −58°37′13″"),
        (359.9999, -0.00001, "00h00m00s  +00°00′00″"),
        (0, 89.99999, "00h00m00s  +90°00′00″"),
    ],
)
def test_sexagesimal(ra, dec, text):
    assert _sexagesimal(ra, dec) == text


def test_fit_text_cuts_at_the_width():
    assert fit_text("short", 200, 8) == "short"
    cut = fit_text("W" * 300, 100, 8)
    assert cut.endswith("…")
    assert 5 < len(cut) < 20


# ---- local pictures


@pytest.mark.usefixtures("no_sockets")
def test_folder_by_obs_id_and_by_preview_name(tmp_path):
    table = results(3)
    uri = "mast:JWST/product/Some_Preview.jpg"
    table["jpegURL"] = MaskedColumn([uri] * 3, mask=[True, False, True])
    (tmp_path / "a_JW02730-O001_T017_NIRCAM_small.JPG").write_bytes(jpeg())
    (tmp_path / "some_preview.jpg").write_bytes(jpeg())
    (tmp_path / "jw02732-o001_t017_nircam2.jpg").write_bytes(jpeg())  # another one
    (tmp_path / "jw02732-o001_t017_nircam.txt").write_text("no picture")
    figure = show_results(table, images=tmp_path, offline=True)
    draw(figure)
    assert [has_picture(axes) for axes in figure.axes] == [True, True, False]


@pytest.mark.usefixtures("no_sockets")
def test_mapping_of_paths_and_arrays(tmp_path):
    from PIL import Image

    table = results(4)
    (tmp_path / "p.jpg").write_bytes(jpeg((300, 100)))
    images = {
        table["obs_id"][0]: tmp_path / "p.jpg",
        table["obs_id"][1]: np.full((2000, 3000, 3), 9, np.uint8),
        table["obs_id"][2]: Image.new("L", (20, 10)),
    }
    figure = show_results(table, images=images, offline=True)
    draw(figure)
    assert [has_picture(axes) for axes in figure.axes] == [True, True, True, False]
    wide = figure.axes[0]
    assert np.ptp(wide.get_xlim()) == np.ptp(wide.get_ylim()) == 300  # not cropped
    assert figure.axes[1].images[0].get_array().shape == (800, 1200, 3)


def test_damaged_picture_gives_a_map_and_a_warning(tmp_path):
    table = results(2)
    (tmp_path / f"{table['obs_id'][0]}.jpg").write_bytes(jpeg()[:100])
    with pytest.warns(FailedRowsWarning, match="1 of 2 pictures could not be read"):
        figure = show_results(table, images=tmp_path, offline=True)
    assert not has_picture(figure.axes[0])


def test_names_from_the_table_never_become_paths(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    table = results(2, obs_id=["../secret", "(.*"], jpegURL=["x/../../secret.jpg"] * 2)
    figure = show_results(table, images=tmp_path / "in", offline=True)
    assert not any(has_picture(axes) for axes in figure.axes)


def test_real_previews():
    folder = require_shared_data("jwst_previews")
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["ra_deg"]][:10]
    table = results(
        10,
        target_name=[row["object_name"] for row in rows],
        filters=[row["filters"] for row in rows],
        s_ra=[float(row["ra_deg"]) for row in rows],
        s_dec=[float(row["dec_deg"]) for row in rows],
    )
    files = [folder / row["file"] for row in rows]
    images = dict(zip(table["obs_id"], files, strict=True))
    figure = show_results(table, images=images, offline=True)
    draw(figure)
    assert all(has_picture(axes) for axes in figure.axes)


# ---- pictures from a server


def test_fetched_once_and_then_cached(server):
    table = results(3, jpegURL=[f"{server.url}/good.jpg"] * 3)
    figure = show_results(table)
    draw(figure)
    assert all(has_picture(axes) for axes in figure.axes)
    again = show_results(table, offline=True)
    assert all(has_picture(axes) for axes in again.axes)
    assert server.paths == ["/good.jpg"]


def test_damaged_cache_is_fetched_again(server, tmp_path):
    table = results(1, jpegURL=[f"{server.url}/good.jpg"])
    show_results(table)
    (cached,) = (tmp_path / "cache" / "previews").iterdir()
    cached.write_bytes(b"half")
    assert has_picture(show_results(table).axes[0])
    assert cached.read_bytes() == jpeg()
    assert len(server.paths) == 2


def test_redirects_are_followed(server):
    table = results(1, jpegURL=[f"{server.url}/moved"])
    assert has_picture(show_results(table).axes[0])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.jpg", "missing.jpg: HTTP status 404"),
        ("html.jpg", "html.jpg: the response is not a picture"),
        ("huge.jpg", "huge.jpg: larger than 20 MiB"),
        ("short.jpg", "short.jpg: "),
        ("slow.jpg", "slow.jpg: not complete after 1 s"),
        ("escape", "escape: "),
        ("bad name.jpg", "bad name.jpg: "),
    ],
)
def test_failures_do_not_stop_the_others(server, tmp_path, name, reason):
    urls = [f"{server.url}/good.jpg", f"{server.url}/{name}"]
    table = results(2, jpegURL=urls)
    with pytest.warns(FailedRowsWarning, match=f"1 of 2 pictures.*{reason}"):
        figure = show_results(table, timeout=1.0)
    draw(figure)
    assert [has_picture(axes) for axes in figure.axes] == [True, False]
    cached = list((tmp_path / "cache" / "previews").iterdir())
    assert len(cached) == 1  # nothing is kept of what failed


def test_refused_connection():
    table = results(1, jpegURL=["http://127.0.0.1:9/x.jpg"])
    with pytest.warns(FailedRowsWarning, match="1 of 1 pictures"):
        figure = show_results(table, offline=False)
    assert not has_picture(figure.axes[0])


@pytest.mark.usefixtures("no_sockets")
@pytest.mark.parametrize(
    "uri", ["file:///etc/hostname", "ftp://x/y.jpg", "s3://b/k", "x"]
)
def test_other_schemes_are_never_opened(uri):
    figure = show_results(results(1, jpegURL=[uri]), offline=False)
    assert not has_picture(figure.axes[0])


def test_addresses():
    mast = "https://mast.stsci.edu/api/v0.1/Download/file?uri="
    assert preview_address("mast:JWST/product/a b.jpg") == (
        f"{mast}mast:JWST/product/a%20b.jpg"
    )
    assert preview_address("mast:HST/product/x.jpg&y=1").endswith("x.jpg%26y%3D1")
    assert preview_address("https://x.org/y.jpg") == "https://x.org/y.jpg"
    assert preview_address(None) is None
    assert preview_address("gopher://x") is None


def test_previews_come_from_the_server_of_the_configuration():
    with conf.set_temp("mast_server", "https://mirror.example/"):
        url = preview_address("mast:HST/product/x.jpg")
    start = "https://mirror.example/api/v0.1/Download/file?uri="
    assert url == start + "mast:HST/product/x.jpg"


# ---- what is refused


@pytest.mark.parametrize("name", ["obs_id", "s_ra", "similarity"])
def test_missing_column(name):
    table = results(1)
    del table[name]
    match = rf"table has no column '{name}'; pass a Table that query_text\(\) returned"
    with pytest.raises(InvalidQueryError, match=match):
        show_results(table)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"columns": 0}, "columns must be at least 1, got 0"),
        ({"columns": 2.5}, "columns must be a whole number, got 2.5"),
        ({"size": -1}, "size must be positive and at most 30, got -1"),
        ({"size": "big"}, "size must be positive and at most 30, got 'big'"),
        ({"timeout": 0}, "timeout must be positive, got 0"),
        ({"images": "/no/such/folder"}, "images must be an existing folder"),
        ({"images": 5}, "images must be a folder or a mapping"),
        ({"figure": 5}, "figure must be a matplotlib Figure, got int"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(InvalidQueryError, match=match):
        show_results(results(1), **{"offline": True, **options})


def test_not_a_table():
    with pytest.raises(
        InvalidQueryError, match="table must be a Table that query_text"
    ):
        show_results([1, 2])


def test_too_many_rows():
    with pytest.raises(InvalidQueryError, match=r"201 rows; .* pass table\[:200\]"):
        show_results(results(201))


def test_column_of_words_instead_of_numbers():
    table = results(1, similarity=["high"])
    with pytest.raises(InvalidQueryError, match="column 'similarity' of table must"):
        show_results(table, offline=True)


# ---- descriptions


def described(count=6):
    table = load_vocabulary()[40 : 40 + count]
    table["kind"][1::2] = "science use"
    table["similarity"] = np.linspace(0.33, 0.28, count)
    table["similarity_percentile"] = np.linspace(99.9, 95, count)
    table["probability"] = np.linspace(0.3, 0.01, count)
    return table


PICTURE = np.full((30, 50, 3), 99, np.uint8)


def test_description_has_picture_and_bars():
    figure = show_description(PICTURE, described(6), limit=4)
    draw(figure)
    image, terms = figure.axes
    assert has_picture(image)
    widths = [bar.get_width() for bar in terms.patches]
    assert widths == pytest.approx(np.linspace(99.9, 95, 6)[:4])
    labels = [label.get_text() for label in terms.get_yticklabels()]
    assert labels[0].replace("\n", " ") == described()["term"][0]
    assert terms.get_ylim()[0] > terms.get_ylim()[1]  # the best on top
    assert terms.get_xlabel() == "percentile of the similarity"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["object or phenomenon", "science use"]
    assert len({bar.get_facecolor() for bar in terms.patches}) == 2


def test_description_value_can_be_chosen():
    figure = show_description(PICTURE, described(), value="probability")
    draw(figure)
    assert figure.axes[1].get_xlabel() == "probability"
    assert figure.axes[1].patches[0].get_width() == pytest.approx(0.3)


def test_description_skips_a_column_of_masked_values():
    table = described()
    table["similarity_percentile"] = MaskedColumn(np.zeros(6), mask=[True] * 6)
    assert show_description(PICTURE, table).axes[1].get_xlabel() == "probability"


def test_description_without_kinds_needs_no_legend():
    table = described()[["term", "similarity"]]
    figure = show_description(PICTURE, table)
    draw(figure)
    assert not figure.legends
    assert figure.axes[1].get_xlabel() == "similarity"


def test_description_with_negative_similarities_and_long_terms():
    table = Table({"term": ["$x$ " + "word " * 60, "b"], "similarity": [0.1, -0.1]})
    figure = show_description(PICTURE, table)
    draw(figure)
    assert figure.axes[1].get_xlim()[0] < -0.1
    assert figure.axes[1].get_yticklabels()[0].get_text().endswith("…")


def test_description_of_an_hdu():
    data = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    figure = show_description(fits.PrimaryHDU(data), described())
    assert figure.axes[0].images[0].get_array().shape == (64, 64, 3)


def test_empty_description():
    figure = show_description(PICTURE, described()[:0])
    draw(figure)
    assert texts(figure.axes[1]) == "no results"


def test_description_without_terms():
    match = r"table has no column 'term'; pass a Table that describe\(\) returned"
    with pytest.raises(InvalidQueryError, match=match):
        show_description(PICTURE, Table({"similarity": [0.1]}))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"limit": True}, "limit must be a whole number, got True"),
        ({"value": "rank"}, "value must be one of .*, got 'rank'"),
    ],
)
def test_bad_options_of_a_description(options, match):
    with pytest.raises(InvalidQueryError, match=match):
        show_description(PICTURE, described(), **options)
