# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A bad network and a bad day of the archive, seen by the client."""

import socketserver
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest

from paperclip.exceptions import RemoteServiceError
from paperclip.mast import MastClient

from ..mast_server import mast_server, small_archive

HST = {"obs_collection": ["HST"]}
CALLS = {
    "invoke": lambda client: client.observations(HST),
    "columns": lambda client: client.columns(),
    "resolver": lambda client: client.resolve("NGC-1000"),
    "path_lookup": lambda client: client.cloud_paths(["mast:HST/product/a"]),
    "abstracts": lambda client: client.fetch(
        f"{client.server}/hst/abstracts.cat", max_bytes=10**6, what="the catalogue"
    ),
}
# kind: what the message says, status, what it advises
PASSING = {
    "reset": ("the connection failed or broke off", None, "conf.retries"),
    "short": ("the connection failed or broke off", None, "conf.retries"),
    "truncated": ("no valid JSON", 200, "conf.retries"),
    "garbage": ("no valid JSON", 200, "conf.retries"),
    "html": ("a web page where JSON was expected", 200, "conf.retries"),
    "busy": ("HTTP status 429", 429, "conf.retries"),
    "error": ("HTTP status 500", 500, "conf.retries"),
    "unavailable": ("HTTP status 503", 503, "conf.retries"),
}
FINAL = {
    "unauthorized": ("HTTP status 401", 401, "not public, or access is blocked"),
    "forbidden": ("HTTP status 403", 403, "not public, or access is blocked"),
    "missing": ("HTTP status 404", 404, "Nothing is there"),
}
# documents may hold anything, so nothing is wrong with these
NO_JSON = {"truncated", "garbage", "html"}
PAIRS = [
    (where, kind)
    for where in CALLS
    for kind in PASSING
    if where != "abstracts" or kind not in NO_JSON
]


@pytest.mark.parametrize(("where", "kind"), PAIRS)
def test_passing_faults_are_survived(mast, where, kind):
    expected = CALLS[where](MastClient())
    mast.faults.next(kind, where=where, times=4)
    found = CALLS[where](MastClient())
    assert str(found) == str(expected)
    assert len(mast.faults.log) == 4


@pytest.mark.parametrize(("where", "kind"), PAIRS)
def test_lasting_faults_are_told(mast, where, kind):
    said, status, advice = PASSING[kind]
    mast.faults.always(kind, where=where)
    with pytest.raises(RemoteServiceError, match=said) as caught:
        CALLS[where](MastClient(retries=3))
    assert caught.value.status == status
    assert caught.value.url in str(caught.value)
    assert "asked 3 times" in str(caught.value)
    assert advice in str(caught.value)
    assert len(mast.asked(where)) == 3


@pytest.mark.parametrize("where", CALLS)
@pytest.mark.parametrize("kind", FINAL)
def test_final_refusals_are_not_repeated(mast, kind, where):
    said, status, advice = FINAL[kind]
    mast.faults.always(kind, where=where)
    with pytest.raises(RemoteServiceError, match=said) as caught:
        CALLS[where](MastClient())
    assert caught.value.status == status
    assert "asked once" in str(caught.value)
    assert advice in str(caught.value)
    assert len(mast.asked(where)) == 1


@pytest.mark.parametrize("where", CALLS)
@pytest.mark.parametrize(
    ("kind", "said", "longest"),
    [
        ("timeout", "no answer in time", 0.1),
        # on a busy machine two bytes may be further apart than the timeout
        ("drip", "not complete after 0.5 s|no answer in time", 0.5),
    ],
)
def test_slow_answers_end(mast, kind, said, longest, where):
    client = MastClient(timeout=0.1, retries=2)
    if where == "invoke":
        client._configs["observations"] = MastClient()._config("observations")
    mast.faults.always(kind, where=where)
    start = time.perf_counter()
    with pytest.raises(RemoteServiceError, match=said) as caught:
        CALLS[where](client)
    assert time.perf_counter() - start < 2 * longest + 5
    assert caught.value.status is None
    assert "Raise paperclip.conf.timeout, now 0.1 s" in str(caught.value)
    assert len(mast.asked(where)) == 2


def test_headers_that_drip_end():
    class Dripping(socketserver.BaseRequestHandler):
        def handle(self):
            try:
                for byte in b"HTTP/1.1 200 OK\r\nX-Name: " + b"x" * 4000:
                    self.request.sendall(bytes([byte]))
                    time.sleep(0.02)
            except OSError:
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dripping) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        start = time.perf_counter()
        with pytest.raises(RemoteServiceError, match=r"not complete after 1\.5 s"):
            MastClient(timeout=0.3, retries=1).fetch(url, max_bytes=100, what="a page")
        server.shutdown()
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("header", ["", "Content-Type: text/plain\r\n", "Content-Le"])
def test_headers_that_break_off_are_no_empty_documents(header):
    asked = []

    class Breaking(socketserver.BaseRequestHandler):
        def handle(self):
            asked.append(self.request.recv(1 << 16))
            self.request.sendall(b"HTTP/1.1 200 OK\r\n" + header.encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Breaking) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        client = MastClient(timeout=5, retries=2)
        with pytest.raises(RemoteServiceError, match="the answer is empty"):
            client.fetch(url, max_bytes=100, what="a page")
        server.shutdown()
    assert len(asked) == 2


def test_warnings_are_still_shown_as_the_user_wants(mast, tmp_path):
    code = """
import sys, warnings
from paperclip.mast import MastClient
client = MastClient()
assert "astroquery" not in sys.modules
warnings.showwarning = show = lambda *args, **kwargs: None
client.observations({"obs_collection": ["HST"]})
assert "astroquery" in sys.modules
assert warnings.showwarning is show
"""
    subprocess.run(
        [sys.executable, "-c", code], env=mast.environment(tmp_path), check=True
    )


def test_nobody_listens():
    with mast_server(small_archive()) as mast:
        url = mast.url
    with mast.conf(retries=2), pytest.raises(RemoteServiceError, match="refused"):
        MastClient(server=url).observations(HST)


def test_service_that_never_finishes(mast):
    mast.faults.always("executing")
    with pytest.raises(RemoteServiceError, match="no answer in time"):
        MastClient(timeout=0.1, retries=2).observations(HST)
    # astroquery asks without a pause: the client makes it wait
    assert len(mast.asked("invoke")) < 250


def test_service_that_reports_an_error(mast):
    mast.faults.next("failed", where="invoke", times=2)
    assert len(MastClient().observations(HST)) == 18
    mast.faults.always("failed", where="invoke")
    with pytest.raises(RemoteServiceError, match="ERROR: Something went wrong"):
        MastClient().observations(HST)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(mast, form):
    client = MastClient()
    client.observations(HST)
    mast.faults.retry_after = "1"
    if form == "date":  # without fractions of a second
        date = datetime.now(UTC) + timedelta(seconds=3)
        mast.faults.retry_after = format_datetime(date.replace(microsecond=0), True)
    mast.faults.next("busy", where="invoke")
    start = time.perf_counter()
    assert len(client.observations(HST)) == 18
    assert 0.9 < time.perf_counter() - start < 10


def test_retry_after_is_bounded(mast, monkeypatch):
    monkeypatch.setattr("paperclip.utils.retry.LONGEST_WAIT", 0.2)
    mast.faults.retry_after = "86400"
    mast.faults.next("unavailable", where="invoke", times=2)
    start = time.perf_counter()
    assert len(MastClient().observations(HST)) == 18
    assert time.perf_counter() - start < 5


def test_too_large_a_document(mast):
    url = f"{mast.url}/hst/abstracts.cat"
    with pytest.raises(RemoteServiceError, match="larger than 100 bytes"):
        MastClient().fetch(url, max_bytes=100, what="the catalogue")
    assert len(mast.asked("abstracts")) == 1


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "http://", "ftp://a/b", "mast:HST/product/a"]
)
def test_addresses_that_are_none(mast, url):
    with pytest.raises(RemoteServiceError, match="the address cannot be used"):
        MastClient().fetch(url, max_bytes=100, what="a file")


# rows that come twice, in another order, or not at all


@pytest.mark.parametrize("kind", ["duplicate", "reorder", "empty_page", "overlap"])
@pytest.mark.parametrize("page_rows", [5, 6, 50])
def test_rows_are_complete_and_come_once(mast, kind, page_rows):
    expected = MastClient().observations(HST)
    mast.page_rows = page_rows
    mast.faults.next(kind, where="invoke", times=3)
    table = MastClient().observations(HST)
    assert list(table["obsid"]) == list(expected["obsid"])
    assert len(mast.faults.log) > 0


def test_duplicates_on_every_page(mast):
    mast.page_rows = 5
    mast.faults.always("duplicate")
    assert len(MastClient().observations(HST)) == 18
    assert len(mast.asked("Filtered")) == 4


def test_order_that_changes_with_every_request(mast):
    """The archive sorts anew for each page, so that pages overlap."""
    rng = np.random.default_rng(3)
    find = mast.archive.find

    def shuffled(*args):
        rows = find(*args)
        rng.shuffle(rows)
        return rows

    mast.archive.find = shuffled
    expected = MastClient().observations(HST)
    mast.page_rows = 9
    table = MastClient().observations(HST)
    assert list(table["obsid"]) == list(expected["obsid"])


def test_rows_that_never_come(mast):
    mast.faults.always("empty_page", where="invoke")
    with pytest.raises(RemoteServiceError, match="18 of 18 rows of page 1 did not"):
        MastClient(retries=3).observations(HST)
    assert len(mast.asked("invoke")) == 3


def test_pages_that_overlap_to_the_end(mast):
    mast.page_rows = 6
    mast.faults.always("overlap")
    # pages of 6 that begin 2 early: the last two rows are on none of them
    with pytest.raises(RemoteServiceError, match="2 of 18 rows are missing: the pages"):
        MastClient().observations(HST)


@pytest.mark.parametrize("seed", range(5))
def test_everything_at_once(mast, seed):
    client = MastClient()
    expected = client.observations(HST)
    obsids = list(expected["obsid"])
    products = client.products(obsids)
    mast.page_rows = 7
    kinds = ("reset", "short", "truncated", "html", "garbage", "busy", "error")
    kinds += ("unavailable", "duplicate", "reorder", "empty_page", "overlap", "failed")
    mast.faults.random(dict.fromkeys(kinds, 0.03), seed=seed)
    client = MastClient(retries=12)
    found = client.observations(HST)
    again = client.products(obsids)
    assert list(found["obsid"]) == obsids
    assert list(again["dataURI"]) == list(products["dataURI"])


# answers that are none


@pytest.mark.parametrize(
    "reply",
    [
        "[]",
        "[1]",
        "null",
        "7",
        '"text"',
        "{}",
        '{"status": "COMPLETE"}',
        '{"status": "COMPLETE", "data": {}, "fields": []}',
        '{"status": "COMPLETE", "data": [1], "fields": []}',
        '{"status": "COMPLETE", "data": [{}], "fields": [{"type": "x"}]}',
        '{"status": "COMPLETE", "data": [], "fields": "a"}',
        "[" * 100_000,
    ],
)
def test_json_of_another_form(mast, monkeypatch, reply):
    from ..mast_server import handler

    answer = 200, "application/json", reply.encode()
    monkeypatch.setattr(handler.Handler, "answer_invoke", lambda *_: answer)
    for call in (CALLS["invoke"], lambda client: client.count(HST)):
        with pytest.raises(RemoteServiceError, match="asked 2 times") as caught:
            call(MastClient(retries=2))
        assert caught.value.status == 200


def test_values_that_do_not_fit_their_column(mast):
    bad = {"s_ra": "east", "calib_level": 2.5, "mtFlag": "maybe", "obs_title": ["a"]}
    mast.archive.observations[0].update(bad)
    mast.archive.observations[1].update({"s_ra": 1e999, "calib_level": 10**30})
    table = MastClient().observations({"proposal_id": "15500"})
    assert list(table["s_ra"].mask) == [True, True, False, False, False, False]
    assert list(table["calib_level"].mask) == [True, True] + [False] * 4
    assert list(table["mtFlag"].mask) == [True] + [False] * 5
    assert table["obs_title"][0] == '["a"]'


def test_an_answer_without_rows_and_fields(mast, monkeypatch):
    from ..mast_server import handler

    reply = b'{"status": "COMPLETE", "msg": "", "data": [], "paging": {"pageSize": 0}}'
    answer = 200, "application/json", reply
    monkeypatch.setattr(handler.Handler, "answer_invoke", lambda *_: answer)
    table = MastClient().observations(HST)
    assert len(table) == 0
    assert {"obsid", "s_ra", "obs_id"} <= set(table.colnames)
    assert "dataURI" in MastClient().products(1).colnames
