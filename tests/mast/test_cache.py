# Licensed under a 3-clause BSD style license - see LICENSE.rst
import json
import os
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from astropy import units as u

from paperclip import conf
from paperclip.exceptions import (
    InvalidQueryError,
    OfflineError,
    RemoteServiceWarning,
)
from paperclip.mast import MastClient, cache_dir, clear_cache, list_cached

HST = {"obs_collection": ["HST"]}


@pytest.fixture(name="mast")
def fixture_mast(mast, tmp_path):
    with conf.set_temp("cache_dir", str(tmp_path / "cache")):
        yield mast


def same(one, two):
    assert one.colnames == two.colnames
    assert one.meta == two.meta
    for name in one.colnames:
        assert one[name].dtype == two[name].dtype, name
        assert np.array_equal(one[name].mask, two[name].mask), name
        assert (one[name] == two[name]).filled(True).all(), name


def test_answers_are_not_stored_unless_asked(mast):
    MastClient().observations(HST)
    assert len(list_cached()) == 0
    assert list_cached().colnames[0] == "key"


def test_answers_are_used_again(mast):
    client = MastClient(cache=True)
    one = client.observations(HST)
    products = client.products(list(one["obsid"]))
    before = len(mast.requests)
    same(client.observations(HST), one)
    same(client.products(list(one["obsid"])), products)
    assert len(mast.requests) == before
    table = list_cached()
    assert sorted(table["rows"])[:1] + sorted(table["rows"])[2:] == [18, 60 + 3]
    services = {"Mast.Caom.Filtered", "Mast.Caom.Products", "columns"}
    assert set(table["service"]) == services
    assert "obs_collection" in " ".join(table["query"])
    assert table["size"].unit == u.byte


def test_an_empty_answer_is_stored(mast):
    client = MastClient(cache=True)
    one = client.observations({"proposal_id": "1"})
    same(client.observations({"proposal_id": "1"}), one)
    assert len(mast.asked("invoke")) == 1


def test_other_questions_have_other_answers(mast):
    client = MastClient(cache=True)
    assert len(client.observations(HST)) == 18
    assert len(client.observations(HST, limit=2)) == 2
    assert len(client.observations({"obs_collection": "JWST"})) == 18
    assert sum(list_cached()["service"] == "Mast.Caom.Filtered") == 3


def test_stored_answers_serve_offline(mast):
    one = MastClient(cache=True).observations(HST)
    client = MastClient(cache=True, offline=True)
    same(client.observations(HST), one)
    with pytest.raises(OfflineError, match="downloads are switched off"):
        client.observations({"obs_collection": "JWST"})


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


def other_json(path):
    path.write_text("[]")


def newer_version(path):
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"version": 99}))


def old(path):
    about = json.loads(path.read_text())
    stored = datetime.now(UTC) - timedelta(days=40)
    path.write_text(json.dumps(about | {"stored": stored.isoformat()}))


def without_time_zone(path):
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"stored": "2026-01-01"}))


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (suffix, damage)
        for suffix in (".parquet", ".json")
        for damage in (cut, empty, remove)
    ]
    + [(".parquet", flip), (".json", other_json), (".json", newer_version)]
    + [(".json", old), (".json", without_time_zone)],
)
def test_a_bad_entry_is_replaced(mast, suffix, damage):
    client = MastClient(cache=True)
    one = client.observations(HST)
    (key,) = [r["key"] for r in list_cached() if r["service"] != "columns"]
    damage(cache_dir() / f"{key}{suffix}")
    two = client.observations(HST)
    assert len(mast.asked("invoke")) == 2
    assert list(one["obsid"]) == list(two["obsid"])
    client.observations(HST)
    assert len(mast.asked("invoke")) == 2
    assert len(list_cached()) == 2


def test_an_old_answer_serves_offline(mast):
    one = MastClient(cache=True).observations(HST)
    for path in cache_dir().glob("*.json"):
        old(path)
    with conf.set_temp("offline", True):
        same(MastClient(cache=True).observations(HST), one)


def test_damaged_entries_are_not_listed(mast):
    MastClient(cache=True).observations(HST)
    (cache_dir() / "x.json").write_text("{")
    assert len(list_cached()) == 2
    assert clear_cache() == 3
    assert list(cache_dir().iterdir()) == []


@pytest.mark.parametrize("age", [2, 2 * u.day, timedelta(days=2), 48 * u.hour])
def test_only_old_answers_are_deleted(mast, age):
    client = MastClient(cache=True)
    client.observations(HST)
    then = time.time() - 3 * 86400
    for path in cache_dir().iterdir():
        os.utime(path, (then, then))
    client.observations({"obs_collection": "JWST"})
    assert clear_cache(older_than=age) == 2
    assert len(list_cached()) == 1


@pytest.mark.parametrize("age", [-1, "old", 3 * u.m, np.nan, [1, 2]])
def test_bad_ages(mast, age):
    with pytest.raises(InvalidQueryError, match="older_than must be a number of days"):
        clear_cache(older_than=age)


def test_a_folder_that_cannot_be_written(mast, tmp_path):
    client = MastClient(cache=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "mast").write_text("in the way")
    with pytest.warns(RemoteServiceWarning, match="could not be stored"):
        table = client.observations(HST)
    assert len(table) == 18


def test_answers_with_keep_are_not_stored(mast):
    client = MastClient(cache=True)
    client.products(60_000_000, keep=lambda table: table["size"] > 0)
    assert len(list_cached()) == 0
