# Licensed under a 3-clause BSD style license - see LICENSE.rst
from datetime import UTC, datetime, timedelta

import pytest

from paperclip.exceptions import InvalidQueryError, ModelMismatchError
from paperclip.index import Index


def test_versions_say_when_and_what(small, make_rows):
    table, vectors = make_rows(22)
    small.upsert(table[18:], vectors[18:])
    small.delete("obs-0000")
    small.tag("good")
    small.tag("best")
    small.restore(2)
    versions = small.versions()
    assert versions["version"].tolist() == [1, 2, 3, 4, 5]
    assert versions["n_rows"].tolist() == [0, 20, 22, 21, 20]
    assert versions["note"].tolist() == [
        "created without rows",
        "append 20 rows",
        "upsert 4 rows, 2 of them replaced",
        "delete 1 rows",
        "restore version 2",
    ]
    assert versions["tags"].tolist() == ["", "", "", "best,good", ""]
    assert versions.meta["uri"] == small.uri
    times = [datetime.fromisoformat(time) for time in versions["time"]]
    assert times == sorted(times)
    assert abs(datetime.now(UTC) - times[-1]) < timedelta(minutes=5)


def test_a_version_is_opened_by_number_or_tag(small, make_rows):
    small.tag("twenty")
    small.append(*make_rows(5, prefix="new"))
    for version in (2, "twenty"):
        old = Index.open(small.uri, version=version)
        assert (len(old), old.version) == (20, 2)
        assert len(old.search(make_rows(1)[1][0], limit=99)) == 20
    assert len(Index.open(small.uri, version=1)) == 0
    # changes are made to the newest version
    old.append(*make_rows(2, prefix="more"))
    assert (len(old), old.version) == (27, 4)


@pytest.mark.parametrize("version", [9, "lost"])
def test_versions_that_are_not_there(small, version):
    small.tag("a-tag")
    match = rf"version={version!r}: .* has 2 versions from 1 to 2 and the tags a-tag"
    with pytest.raises(InvalidQueryError, match=match):
        Index.open(small.uri, version=version)
    with pytest.raises(InvalidQueryError, match=match):
        small.restore(version)
    with pytest.raises(InvalidQueryError, match=match):
        small.tag("other", version)


@pytest.mark.parametrize("version", [0, -1, 1.5, True, b"x"])
def test_versions_that_mean_nothing(small, version):
    for call in (
        lambda: Index.open(small.uri, version=version),
        lambda: small.restore(version),
        lambda: small.tag("x", version),
    ):
        with pytest.raises(InvalidQueryError, match="version must be"):
            call()


def test_restore_brings_rows_back_and_keeps_what_came_later(small, make_rows):
    table, vectors = make_rows(20)
    reader = Index.open(small.uri)
    small.delete(table["obs_id"].tolist())
    small.append(*make_rows(3, prefix="late"))
    assert small.restore(2) == small.version == 5
    assert small.to_table()["obs_id"].tolist() == table["obs_id"].tolist()
    assert small.search(vectors[4], limit=1)["obs_id"].tolist() == ["obs-0004"]
    assert reader.refresh() == 5
    assert small.restore(4) == 6
    assert len(small) == 3
    # numbers of rows and files go on: no old row comes back with them
    small.append(table, vectors)
    assert len(set(small.to_table()["obs_id"])) == len(small) == 23


def test_restore_undoes_an_overwrite(small, make_rows):
    options = {"fingerprint": "new", "dimension": 4, "overwrite": True}
    Index.create(small.uri, **options)
    other = Index.open(small.uri)
    small.restore(2)
    assert (small.dimension, len(small)) == (32, 20)
    with pytest.raises(ModelMismatchError, match="come from 'new'"):
        other.append({"obs_id": ["x"]}, [[1, 0, 0, 0]])


def test_tags(small):
    small.tag("v1.0_a-b", 1)
    with pytest.raises(InvalidQueryError, match="is the tag of version 1 already; ch"):
        small.tag("v1.0_a-b")
    small.tag("copy", "v1.0_a-b")
    small.untag("v1.0_a-b")
    assert small.versions()["tags"].tolist() == ["copy", ""]
    with pytest.raises(InvalidQueryError, match=r"no tag 'v1.0_a-b' .* there are copy"):
        small.untag("v1.0_a-b")
    small.untag("copy")
    with pytest.raises(InvalidQueryError, match=r"there are \(none\)"):
        small.untag("copy")


@pytest.mark.parametrize("name", ["", "7", "a/b", "../x", "a b", "é", None, "x" * 101])
def test_names_that_are_no_tags(small, name):
    with pytest.raises(InvalidQueryError, match="name must start with a letter"):
        small.tag(name)
