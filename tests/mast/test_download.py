# Licensed under a 3-clause BSD style license - see LICENSE.rst
import gzip
import os
import re
import threading
import time
from contextlib import closing

import pytest

from paperclip import conf
from paperclip.exceptions import (
    DataSetWriteError,
    InvalidQueryError,
    OfflineError,
    RemoteServiceWarning,
)
from paperclip.mast import MastClient
from paperclip.mast.download import Download, download

from ..mast_server import Archive, mast_server
from .stores import raw_server

BODY = bytes(range(256)) * 40
LIMIT = 1 << 20


@pytest.fixture(name="mast", scope="module")
def fixture_mast():
    archive = Archive(files={f"mast:HST/product/{n}.bin": BODY for n in range(40)})
    with mast_server(archive) as mast, mast.conf(timeout=5.0):
        yield mast


@pytest.fixture(autouse=True)
def _clean(mast):
    mast.faults.clear()
    mast.faults.retry_after = "0"
    mast.latency = 0.0
    with mast.lock:
        mast.requests.clear()
        mast.busiest = 0


def jobs(folder, n=1):
    return [
        Download(i, f"mast:HST/product/{i}.bin", folder / "new" / f"{i}.bin")
        for i in range(n)
    ]


def run(todo, **options):
    options = {"client": MastClient(), "max_bytes": LIMIT} | options
    return sorted(download(todo, **options), key=lambda outcome: outcome.key)


def files(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_files_arrive_under_their_names(mast, tmp_path):
    outcomes = run(iter(jobs(tmp_path, 9)), workers=3)
    assert [outcome.status for outcome in outcomes] == ["done"] * 9
    assert {outcome.source for outcome in outcomes} == {"archive"}
    assert files(tmp_path) == [f"{i}.bin" for i in range(9)]
    assert (tmp_path / "new" / "3.bin").read_bytes() == BODY
    assert len(mast.requests) == 9
    assert mast.busiest <= 3


def test_eight_files_come_at_a_time(mast, tmp_path):
    mast.latency = 0.1
    outcomes = run(jobs(tmp_path, 32), workers=8)
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert mast.busiest == 8


def test_files_on_disk_are_not_fetched(mast, tmp_path):
    run(jobs(tmp_path, 2))
    (outcome, _) = run(jobs(tmp_path, 2))
    assert outcome.source == "disk"
    assert len(mast.requests) == 2


@pytest.mark.parametrize(
    "kind", ["reset", "short", "busy", "error", "unavailable", "timeout", "drip"]
)
def test_what_passes_is_tried_again(mast, tmp_path, kind):
    mast.faults.hang = 2.0
    mast.faults.next(kind, times=2)
    with conf.set_temp("timeout", 0.2):
        (outcome,) = run(jobs(tmp_path))
    assert outcome.status == "done"
    assert len(mast.requests) == 3
    assert files(tmp_path) == ["0.bin"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("reset", "the connection broke|bytes came"),
        ("short", "of 10240 bytes came|the connection broke"),
        ("error", "HTTP status 500"),
        ("timeout", "no answer within 0.2 s"),
        ("drip", "too slow|no answer"),
    ],
)
def test_what_does_not_pass_fails_with_its_reason(mast, tmp_path, kind, message):
    mast.faults.hang = 1.0
    mast.faults.always(kind)
    with conf.set_temp("timeout", 0.2), conf.set_temp("retries", 2):
        (outcome,) = run(jobs(tmp_path))
    assert outcome.status == "failed"
    assert outcome.passing
    assert len(mast.requests) == 2
    assert re.search(message, outcome.message)
    assert "tried 2 times" in outcome.message
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "status"), [("unauthorized", 401), ("forbidden", 403), ("missing", 404)]
)
def test_refusals_are_final(mast, tmp_path, kind, status):
    mast.faults.always(kind)
    (outcome,) = run(jobs(tmp_path))
    assert outcome.status == "failed"
    assert not outcome.passing
    assert outcome.message.startswith(f"HTTP status {status}")
    assert len(mast.requests) == 1


def good(path):
    if path.read_bytes() != BODY:
        raise ValueError("other bytes")
    return path.stat().st_size


@pytest.mark.parametrize("kind", ["truncated", "html", "garbage"])
def test_a_bad_file_is_fetched_once_more(mast, tmp_path, kind):
    mast.faults.next(kind)
    (outcome,) = run(jobs(tmp_path), check=good)
    assert outcome.status == "done"
    assert outcome.result == len(BODY)
    assert len(mast.requests) == 2


@pytest.mark.parametrize("kind", ["truncated", "html", "garbage"])
def test_a_file_that_stays_bad_fails(mast, tmp_path, kind):
    mast.faults.always(kind)
    (outcome,) = run(jobs(tmp_path), check=good)
    assert outcome.status == "failed"
    assert "other bytes (fetched twice)" in outcome.message
    assert ("page of text" in outcome.message) == (kind == "html")
    assert len(mast.requests) == 2
    assert files(tmp_path) == []


def test_a_bad_file_on_disk_is_replaced(mast, tmp_path):
    (job,) = jobs(tmp_path)
    job.target.parent.mkdir()
    job.target.write_bytes(b"torn")
    (outcome,) = run([job], check=good)
    assert outcome.source == "archive"
    assert job.target.read_bytes() == BODY


def test_all_threads_wait_when_the_server_asks_for_it(mast, tmp_path):
    mast.faults.retry_after = "1"
    mast.faults.next("busy")
    mast.latency = 0.01
    begin = time.perf_counter()
    iterator = download(
        jobs(tmp_path, 20), client=MastClient(), max_bytes=LIMIT, workers=4
    )
    with closing(iterator):
        for _ in range(3):  # those that were under way
            next(iterator)
        next(iterator)
        assert time.perf_counter() - begin > 0.9
        assert len(mast.requests) <= 9
        assert len(list(iterator)) == 16


def test_a_pause_that_is_asked_for_is_bounded(mast, tmp_path):
    mast.faults.retry_after = "100000"
    mast.faults.next("busy")
    with conf.set_temp("timeout", 0.1):
        begin = time.perf_counter()
        (outcome,) = run(jobs(tmp_path))
    assert outcome.status == "done"
    assert 0.9 < time.perf_counter() - begin < 5


def test_a_server_that_is_busy_for_ever_is_given_up(mast, tmp_path):
    mast.faults.always("busy")
    with conf.set_temp("retries", 2):
        (outcome,) = run(jobs(tmp_path))
    assert outcome.message == "HTTP status 429 Too Many Requests (tried 8 times)"


# -- sizes and times -----------------------------------------------------------
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"


def fetch(server, folder, **options):
    client = MastClient(server=server.url, timeout=0.3, retries=1)
    todo = [Download("a", "mast:x", folder / "a.jpg")]
    begin = time.perf_counter()
    (outcome,) = run(todo, client=client, **options)
    return outcome, time.perf_counter() - begin


def test_two_announced_gigabytes_are_not_read(tmp_path):
    def answer(line):
        yield HEAD + b"Content-Length: 2147483648\r\n\r\n"
        while True:
            yield bytes(1 << 14)

    with raw_server(answer) as server:
        outcome, seconds = fetch(server, tmp_path)
        assert server.sent < 1 << 24  # what fits into the buffers of the system
    assert "announced as 2147483648 bytes, more than the limit" in outcome.message
    assert not outcome.passing
    assert seconds < 2
    assert files(tmp_path) == []


@pytest.mark.parametrize("chunked", [False, True])
def test_an_endless_body_is_cut_off(tmp_path, chunked):
    def answer(line):
        yield HEAD + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"\r\n")
        while True:
            yield (b"4000\r\n" if chunked else b"") + bytes(1 << 14)
            if chunked:
                yield b"\r\n"

    with raw_server(answer) as server:
        outcome, _ = fetch(server, tmp_path)
        assert server.sent < 1 << 24
    assert "larger than the limit of 1048576 bytes" in outcome.message
    assert files(tmp_path) == []


def test_a_compressed_bomb_is_cut_off(tmp_path):
    bomb = gzip.compress(bytes(1 << 26))

    def answer(line):
        yield HEAD + b"Content-Encoding: gzip\r\n"
        yield f"Content-Length: {len(bomb)}\r\n\r\n".encode() + bomb

    with raw_server(answer) as server:
        outcome, _ = fetch(server, tmp_path)
    assert "larger than the limit" in outcome.message


def drip(first):
    def answer(line):
        yield first
        while True:
            yield b"x"
            time.sleep(0.05)

    return answer


@pytest.mark.parametrize(
    "first",
    [HEAD + b"Content-Length: 9999\r\n\r\n", HEAD + b"X-Header: ", b"HTTP/1.1 "],
    ids=["body", "header", "status"],
)
def test_no_drip_lasts_for_ever(tmp_path, first):
    with raw_server(drip(first)) as server:
        outcome, seconds = fetch(server, tmp_path)
    assert outcome.status == "failed"
    assert outcome.passing
    assert seconds < 3
    assert files(tmp_path) == []


def test_redirections_are_followed_a_few_times(tmp_path):
    def answer(line):
        place = b"/file" if b"Download" in line else b"/round"
        if b"/file" in line and b"Download" not in line:
            yield HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\nab"
            return
        yield b"HTTP/1.1 302 Found\r\nLocation: " + place
        yield b"\r\nContent-Length: 2147483648\r\nConnection: close\r\n\r\n"

    with raw_server(answer) as server:
        outcome, _ = fetch(server, tmp_path)
        assert outcome.status == "done"
        assert outcome.target.read_bytes() == b"ab"


def test_redirections_in_a_circle_end(tmp_path):
    def answer(line):
        yield b"HTTP/1.1 302 Found\r\nLocation: /again\r\n"
        yield b"Content-Length: 0\r\nConnection: close\r\n\r\n"

    with raw_server(answer) as server:
        outcome, _ = fetch(server, tmp_path)
        assert outcome.message == "more than 5 redirections"
        assert server.asked <= 6


def test_connections_are_kept(tmp_path):
    def answer(line):
        yield HEAD + b"Content-Length: 2\r\n\r\nab"

    todo = [Download(n, "mast:x", tmp_path / f"{n}.bin") for n in range(6)]
    with raw_server(answer, keep=True) as server:
        client = MastClient(server=server.url, timeout=1.0, retries=1)
        outcomes = run(todo, client=client, workers=1)
        assert {outcome.status for outcome in outcomes} == {"done"}
        assert server.asked == 1


def test_nobody_listens(tmp_path):
    with raw_server(lambda line: ()) as server:
        pass
    outcome, _ = fetch(server, tmp_path)
    assert outcome.passing
    assert outcome.message.startswith("cannot connect")


# -- cloud -----------------------------------------------------------------------
def test_the_cloud_delivers(mast, tmp_path):
    outcomes = run(jobs(tmp_path, 5), cloud=True)
    assert {outcome.source for outcome in outcomes} == {"cloud"}
    assert len(mast.asked("download")) == 0
    assert len(mast.asked("path_lookup")) == 1


def test_files_that_the_cloud_lacks_come_from_the_archive(mast, tmp_path):
    mast.archive.not_in_cloud = {"mast:HST/product/1.bin"}
    try:
        outcomes = run(jobs(tmp_path, 3), cloud=True)
    finally:
        mast.archive.not_in_cloud = set()
    assert [outcome.source for outcome in outcomes] == ["cloud", "archive", "cloud"]


def test_a_cloud_that_fails_is_told_once_and_then_left_alone(mast, tmp_path):
    mast.faults.always("forbidden", where="cloud")
    with pytest.warns(RemoteServiceWarning, match="did not deliver") as caught:
        outcomes = run(jobs(tmp_path, 20), cloud=True, workers=2)
    assert len(caught) == 1
    assert {outcome.source for outcome in outcomes} == {"archive"}
    assert len(mast.asked("cloud")) <= 5


def test_a_cloud_without_a_catalogue_is_told_once(mast, tmp_path):
    mast.faults.always("forbidden", where="path_lookup")
    with pytest.warns(RemoteServiceWarning, match="did not deliver") as caught:
        outcomes = run(jobs(tmp_path, 3), cloud=True)
    assert len(caught) == 1
    assert {outcome.status for outcome in outcomes} == {"done"}


# -- arguments, memory, interruptions ----------------------------------------------
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"max_bytes": 0}, "max_bytes must be at least 1, got 0"),
    ],
)
def test_arguments_are_checked(tmp_path, options, message):
    with pytest.raises(InvalidQueryError, match=message):
        run(jobs(tmp_path), **options)


def test_offline_names_what_is_missing(mast, tmp_path):
    with pytest.raises(OfflineError, match=r"0\.bin' is not on disk"):
        run(jobs(tmp_path), client=MastClient(offline=True))
    assert not mast.requests
    assert files(tmp_path) == []


def test_jobs_are_taken_as_they_are_needed(mast, tmp_path):
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            place = tmp_path / f"{taken[-1]}.bin"
            yield Download(taken[-1], "mast:HST/product/0.bin", place)

    iterator = download(endless(), client=MastClient(), max_bytes=LIMIT, workers=2)
    with closing(iterator):
        for _ in range(10):
            next(iterator)
        assert len(taken) < 20


def test_leaving_early_is_quick_and_clean(mast, tmp_path):
    mast.faults.always("timeout")
    mast.faults.hang = 20.0
    iterator = download(
        jobs(tmp_path, 9), client=MastClient(), max_bytes=LIMIT, workers=4
    )
    timer = threading.Timer(0.3, os.kill, (os.getpid(), 2))  # Ctrl-C
    timer.start()
    begin = time.perf_counter()
    with pytest.raises(KeyboardInterrupt), closing(iterator):
        list(iterator)
    assert time.perf_counter() - begin < 3
    assert files(tmp_path) == []
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if "paperclip-download" in name]


def test_a_place_that_cannot_be_written_stops_everything(mast, tmp_path):
    (tmp_path / "new").write_bytes(b"a file where a folder should be")
    with pytest.raises(DataSetWriteError, match="cannot write"):
        run(jobs(tmp_path, 5))
    assert files(tmp_path) == ["new"]
