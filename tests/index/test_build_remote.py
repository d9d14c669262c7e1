# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Files that are on web servers and in object stores."""

import threading
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from astropy.table import Table

from paperclip import conf
from paperclip.exceptions import InvalidQueryError, OfflineError, RemoteServiceError
from paperclip.index import build_index
from paperclip.index._remote import is_remote, public_name
from paperclip.models import load_encoder

from ..tiny_models import tiny_model_directory
from .build_helpers import draw, failures, ids, same_rows
from .test_build import sky_image


@pytest.fixture(name="encoder", scope="module")
def fixture_encoder(tmp_path_factory):
    return load_encoder(tiny_model_directory(tmp_path_factory.mktemp("m") / "tiny"))


class Handler(BaseHTTPRequestHandler):
    """Answer as a plain web server, and as far as reading goes as S3."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        server = self.server
        path = server.folder / unquote(urlsplit(self.path).path).lstrip("/")
        server.asked.append(self.path)
        if server.busy:
            server.busy -= 1
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data, code = path.read_bytes(), 200
        size = len(data)
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            data, code = data[int(first) : int(last or size) + 1], 206
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Last-Modified", formatdate(usegmt=True))
        self.send_header("ETag", '"1"')
        if code == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *words):
        """Say nothing."""


@contextmanager
def serving(folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.folder, server.asked, server.busy = folder, [], 0
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_table_of_web_addresses(encoder, tmp_path):
    names = [f"p{i}.jpg" for i in range(6)]
    folder = draw(tmp_path / "in", names)
    sky_image(folder / "sky.fits")
    here = build_index(tmp_path / "here", source=folder, encoder=encoder)
    (folder / "p4.jpg").write_bytes(b"\xff\xd8\xff no more")
    with serving(folder) as server:
        server.busy = 2
        uris = [f"{server.url}/{name}?version=2" for name in (*names, "gone.jpg")]
        uris += [f"{server.url}/sky.fits", (folder / "p5.jpg").as_uri()]
        table = Table({"uri": uris})
        with conf.set_temp("retries", 3):
            report = build_index(tmp_path / "ix", source=table, encoder=encoder)
        assert (report.n_added, report.n_failed, report.n_repeated) == (6, 2, 1)
        found = failures(report)
        assert f"{server.url}/p4.jpg?version=2" in found["p4"][1]
        assert "404" in found["gone"][1]
        row = report.index.to_table()
        assert row["dataURI"][0] == uris[0]
        assert row["s_ra"][row["obs_id"] == "sky"][0] == pytest.approx(150)
        del server.asked[:]
        again = build_index(tmp_path / "ix", source=table, encoder=encoder)
        assert (again.n_added, server.asked) == (0, [])
    assert set(ids(report.index)) == set(ids(here.index)) - {"p4"}


def test_list_of_addresses_and_one_address(encoder, tmp_path):
    folder = draw(tmp_path / "in", ["a.jpg"])
    with serving(folder) as server:
        report = build_index(
            tmp_path / "ix", source=[f"{server.url}/a.jpg"], encoder=encoder
        )
    assert ids(report.index) == ["a"]
    with pytest.raises(InvalidQueryError, match=r"only files and .*s3://.*'ftp://x/a'"):
        build_index(tmp_path / "no", source=["ftp://x/a"], encoder=encoder)


def test_object_store(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    folder = draw(tmp_path / "in", ["b/a.jpg", "b/deep/with blank.jpg"])
    with serving(folder) as server:
        how = f"scheme=http&endpoint_override=127.0.0.1:{server.server_port}&region=x"
        names = ["a.jpg", "deep/with%20blank.jpg", "gone.jpg"]
        table = Table({"uri": [f"s3://b/{name}?{how}" for name in names]})
        report = build_index(tmp_path / "ix", source=table, encoder=encoder)
    assert ids(report.index) == ["a", "with blank"]
    uris = report.index.to_table(["dataURI"])["dataURI"].tolist()
    assert uris[0] == "s3://b/a.jpg"
    assert set(failures(report)) == {"gone"}
    assert "cannot be read" in failures(report)["gone"][1]


def test_server_that_is_gone(encoder, tmp_path):
    names = [f"p{i:02d}.jpg" for i in range(30)]
    folder = draw(tmp_path / "in", names)
    options = {"encoder": encoder, "batch_size": 2, "workers": 1}
    with serving(folder) as server:
        url = server.url
    table = Table({"uri": [f"{url}/{name}" for name in names]})
    with (
        conf.set_temp("retries", 1),
        pytest.raises(RemoteServiceError, match="for 16 files in a row"),
    ):
        build_index(tmp_path / "ix", source=table, **options)
    table["uri"] = [(folder / name).as_uri() for name in names]
    report = build_index(tmp_path / "ix", source=table, update=True, **options)
    assert (report.n_added, report.n_failed) == (30, 0)
    assert same_rows(
        report.index, build_index(tmp_path / "b", source=folder, **options).index
    )


def test_no_network(encoder, tmp_path):
    table = Table({"uri": ["https://example.org/a.jpg"]})
    options = {"source": table, "encoder": encoder, "offline": True}
    with pytest.raises(OfflineError, match="1 files of the source are not on this"):
        build_index(tmp_path / "ix", **options)
    assert build_index(tmp_path / "ix", dry_run=True, **options).n_new == 1


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:secret@h/a.jpg?x=1", "http://h/a.jpg?x=1"),
        ("s3://key:secret@b/a.jpg?region=x", "s3://b/a.jpg"),
        ("abfs://box@account/a.jpg", "abfs://box@account/a.jpg"),
    ],
)
def test_secrets_are_not_shown(uri, shown):
    assert is_remote(uri)
    assert public_name(uri) == shown
