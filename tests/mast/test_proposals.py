# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Proposals by number and by cycle: every source, order, and what fails."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

import paperclip
from paperclip import PaperclipClass
from paperclip.exceptions import (
    CatalogueError,
    CatalogueWarning,
    FailedRowsWarning,
    InvalidQueryError,
    NoResultsWarning,
    OfflineError,
    PaperclipWarning,
    RemoteServiceError,
    RemoteServiceWarning,
)
from paperclip.mast import MastClient
from paperclip.mast import _sources as sources
from paperclip.mast.proposals import (
    PROPOSAL_COLUMNS,
    get_proposals,
    parse_cycles,
    proposals_of_cycles,
)

from ..mast_server import Archive, mast_server
from ..mast_server.proposal_files import (
    catalogue_text,
    hst_programme,
    jwst_programme,
)
from ..shared_data import require_shared_data


def record(number, mission="HST", **facts):
    return {
        "proposal_id": str(number),
        "cycle": 25,
        "type": "GO",
        "category": "Galaxies",
        "title": f"Title of {number} of {mission}",
        "pi": "Example, Ada",
        "abstract": f"Abstract of {number} of {mission}.",
    } | facts


IN_CATALOGUE = [
    record(15513),
    record(14226, cycle=24),
    record(7340, cycle=7),
    record(9999, abstract=None, cycle=None),
]
FILES = {
    ("HST", "9999"): hst_programme(record(9999, title="Of the file", cycle=11)),
    ("HST", "16000"): hst_programme(record(16000)),
    ("JWST", "2739"): jwst_programme(record(2739, "JWST", cycle=1)),
    ("JWST", "7340"): jwst_programme(record(7340, "JWST", cycle=4)),
    ("JWST", "1176"): jwst_programme(record(1176, "JWST", cycle=1)),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path):
    with paperclip.conf.set_temp("cache_dir", str(tmp_path / "cache")):
        yield


@pytest.fixture(name="mast")
def fixture_mast():
    # its first import takes over how warnings of astropy are shown
    pytest.importorskip("astroquery.mast")
    archive = Archive(catalogue=catalogue_text(IN_CATALOGUE), programmes=dict(FILES))
    with mast_server(archive) as mast, mast.conf(retries=3):
        yield mast


def masked(value):
    return np.ma.is_masked(value)


def texts(table):
    return [None if masked(text) else text for text in table["abstract"]]


def test_hst_comes_from_the_catalogue(mast):
    table = get_proposals(MastClient(), ["15513", 14226, "07340"], mission="HST")
    assert table.colnames == list(PROPOSAL_COLUMNS)
    assert list(table["proposal_id"]) == ["15513", "14226", "7340"]
    assert list(table["cycle"]) == [25, 24, 7]
    assert set(table["mission"]) == {"HST"}
    assert set(table["status"]) == {"ok"}
    assert table["category"][0] == "Galaxies"
    assert texts(table)[0] == "Abstract of 15513 of HST."
    assert table["source"][0] == f"{mast.url}/hst/abstracts.cat"
    assert all(column.info.description for column in table.itercols())
    assert [r.where for r in mast.requests] == ["abstracts", "abstracts"]


def test_second_call_sends_nothing(mast):
    first = get_proposals(None, [15513, 16000], mission="HST")
    mast.requests.clear()
    again = get_proposals(None, [15513, 16000], mission="HST")
    assert mast.requests == []
    for name in ("abstract", "cycle", "title", "pi", "source", "retrieved"):
        assert list(again[name]) == list(first[name])


def test_answers_are_listed_in_the_cache(mast):
    get_proposals(None, [15513, 16000], mission="HST")
    services = list(paperclip.mast.list_cached()["service"])
    assert sorted(services) == ["HST abstracts", "HST programme"]
    paperclip.mast.clear_cache()
    mast.requests.clear()
    get_proposals(None, [15513], mission="HST")
    assert mast.requests


def test_what_the_catalogue_lacks_comes_from_files(mast):
    table = get_proposals(None, [16000, 9999], mission="HST")
    assert texts(table) == ["Abstract of 16000 of HST.", "Abstract of 9999 of HST."]
    assert table["source"][0] == f"{mast.url}/hst/phase2-public/16000.apt"
    # the catalogue has this one without an abstract
    assert table["title"][1] == "Title of 9999 of HST"
    assert table["cycle"][1] == 11
    assert table["source"][1] == f"{mast.url}/hst/phase2-public/9999.apt"


def test_jwst_comes_from_files(mast):
    table = get_proposals(None, ["2739", "1176"], mission="jwst")
    assert list(table["mission"]) == ["JWST", "JWST"]
    assert texts(table) == ["Abstract of 2739 of JWST.", "Abstract of 1176 of JWST."]
    assert not mast.asked("abstracts")


def test_table_says_the_mission(mast):
    table = Table(
        {
            "obs_id": list("abcdef"),
            "proposal_id": MaskedColumn(
                ["7340", "7340", "7340", "2739", "15513", ""],
                mask=[False] * 5 + [True],
            ),
            "obs_collection": ["JWST", "HST", "JWST", "JWST", "HLA", "HST"],
        }
    )
    found = get_proposals(None, table)
    pairs = list(zip(found["mission"], found["proposal_id"], strict=True))
    assert pairs == [
        ("JWST", "7340"),
        ("HST", "7340"),
        ("JWST", "2739"),
        ("HST", "15513"),
    ]
    assert texts(found)[0] == "Abstract of 7340 of JWST."
    assert texts(found)[1] == "Abstract of 7340 of HST."
    row = get_proposals(None, table[3])
    assert texts(row) == ["Abstract of 2739 of JWST."]


@pytest.mark.parametrize(
    "ids",
    [15513, "15513", "15513, 15513", {15513}, np.int64(15513), np.array([15513])],
    ids=repr,
)
def test_kinds_of_ids(mast, ids):
    table = get_proposals(None, ids, mission="HST")
    assert list(table["proposal_id"]) == ["15513"]


def test_nobody_says_the_mission(mast):
    table = get_proposals(None, [15513, 2739, 16000])
    assert list(table["mission"]) == ["HST", "JWST", "HST"]
    assert set(table["status"]) == {"ok"}
    with pytest.warns(PaperclipWarning, match="'7340'.*may be programmes of HST and"):
        table = get_proposals(None, [7340])
    assert list(table["mission"]) == ["HST"]


def test_what_is_nowhere_stays_as_masked_row(mast):
    mast.archive.programmes["HST", "17001"] = b"<html>gone</html>"
    mast.archive.programmes["JWST", "17002"] = FILES["JWST", "2739"]
    ids = Table(
        {
            "proposal_id": ["17000", "15513", "17001", "17002", "../x", "G011"],
            "mission": ["HST", "HST", "HST", "JWST", "HST", "TESS"],
        }
    )
    with pytest.warns(FailedRowsWarning, match="5 of 6 proposals have no abstract"):
        table = get_proposals(None, ids)
    assert list(table["proposal_id"]) == list(ids["proposal_id"])
    assert list(table["mission"]) == list(ids["mission"])
    assert list(table["abstract"].mask) == [True, False, True, True, True, True]
    assert list(table["cycle"].mask) == [True, False, True, True, True, True]
    expected = [
        r"no public programme file of HST \(status 404\)",
        "ok",
        "a page of HTML",
        "17002.aptx is the file of programme 2739",
        "proposal_id must be a number",
        "abstracts of mission 'TESS' are not public",
    ]
    for status, text in zip(table["status"], expected, strict=True):
        assert text.replace("\\", "") in status
    assert not any(".." in r.path for r in mast.requests)


def test_no_abstract_anywhere(mast):
    del mast.archive.programmes["HST", "9999"]
    with pytest.warns(
        FailedRowsWarning, match="no abstract in .*abstracts.cat; no pub"
    ):
        table = get_proposals(None, [9999], mission="HST")
    assert table["title"][0] == "Title of 9999 of HST"


@pytest.mark.parametrize("ids", [[], "", None, ["x", None], [True], 1.5j, object()])
def test_ids_that_are_none(mast, ids):
    if isinstance(ids, list) and not ids:
        with pytest.warns(NoResultsWarning, match="no proposals were asked for"):
            table = get_proposals(None, ids)
        assert table.colnames == list(PROPOSAL_COLUMNS)
        assert len(table) == 0
        return
    with pytest.raises(InvalidQueryError, match="ids must be numbers of programmes"):
        get_proposals(None, ids)


def test_tables_of_no_use(mast):
    with pytest.raises(InvalidQueryError, match="ids must have a column 'proposal_id'"):
        get_proposals(None, Table({"obs_id": ["a"]}))
    empty = MaskedColumn(["", ""], mask=[True, True])
    with pytest.raises(InvalidQueryError, match="masked in all of them"):
        get_proposals(None, Table({"proposal_id": empty}))
    with pytest.warns(NoResultsWarning, match="no proposals were asked"):
        get_proposals(None, Table({"proposal_id": np.array([], str)}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mission": 3}, "mission must be a name"),
        ({"mission": " "}, "mission must be a name"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"catalogue": 3}, "catalogue must be a Table or the path"),
        ({"catalogue": "nowhere.cat"}, "catalogue must be a Table or the path"),
        ({"catalogue": Table({"proposal_id": ["1"]})}, r"\['abstract'\] not found"),
    ],
)
def test_wrong_arguments(mast, options, message):
    with pytest.raises(InvalidQueryError, match=message):
        get_proposals(None, [15513], **options)
    assert mast.requests == []


# the user's own catalogue


def test_table_of_the_user_comes_first(mast):
    own = Table(
        {
            "proposal_id": [15513, 2739],
            "abstract": ["Mine,\n  wrapped.", "Mine too."],
            "cycle": ["Cycle 4", "3"],
            "extra": [1, 2],
        }
    )
    table = get_proposals(None, [2739, 15513], mission="JWST", catalogue=own)
    assert texts(table) == ["Mine too.", "Mine, wrapped."]
    assert list(table["cycle"]) == [3, 4]
    assert list(table["mission"]) == ["JWST", "JWST"]
    assert list(table["source"]) == ["table", "table"]
    assert table["title"].mask.all()
    assert mast.requests == []


def test_rows_of_another_mission_are_not_taken(mast):
    own = Table(
        {"proposal_id": ["7340"], "abstract": ["Mine."], "obs_collection": ["JWST"]}
    )
    assert texts(get_proposals(None, [7340], mission="JWST", catalogue=own)) == [
        "Mine."
    ]
    table = get_proposals(None, [7340], mission="HST", catalogue=own)
    assert texts(table) == ["Abstract of 7340 of HST."]


def test_other_missions_come_from_the_user(mast):
    own = Table(
        {"proposal_id": ["G011"], "abstract": ["Mine."]}, meta={"mission": "TESS"}
    )
    table = get_proposals(None, ["G011"], mission="TESS", catalogue=own)
    assert texts(table) == ["Mine."]


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "tsv", "fits", "vot", "cat", "gz"])
def test_files_of_the_user(mast, tmp_path, suffix):
    path = tmp_path / f"proposals.{suffix}"
    own = Table({"proposal_id": ["15513"], "abstract": ["Mine."], "cycle": [3]})
    forms = {
        "csv": "ascii.csv",
        "ecsv": "ascii.ecsv",
        "tsv": "ascii.tab",
        "vot": "votable",
    }
    if suffix in {"cat", "gz"}:
        data = catalogue_text([record(15513, abstract="Mine.", cycle=3)])
        path.write_bytes(data)
    else:
        own.write(path, format=forms.get(suffix, suffix))
    table = get_proposals(None, [15513], mission="HST", catalogue=str(path))
    assert texts(table) == ["Mine."]
    assert list(table["cycle"]) == [3]
    assert list(table["source"]) == [str(path)]
    assert mast.requests == []


def test_damaged_files_of_the_user(mast, tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(b"x" * 100)
    with pytest.raises(CatalogueError, match="no table that can be read"):
        get_proposals(None, [15513], catalogue=path)
    path = tmp_path / "a.cat"
    path.write_bytes(b"x" * 100)
    with pytest.raises(CatalogueError, match="no catalogue of proposal abstracts"):
        get_proposals(None, [15513], catalogue=path)


def test_an_answer_serves_as_catalogue(mast):
    first = get_proposals(None, [15513, 16000], mission="HST")
    paperclip.mast.clear_cache()
    mast.requests.clear()
    again = get_proposals(None, [16000], catalogue=first)
    assert mast.requests == []
    assert list(again["source"]) == [first["source"][1]]
    assert list(again["retrieved"]) == [first["retrieved"][1]]


def test_damage_is_told_once(mast, tmp_path):
    data = catalogue_text([record(15513), record(1)]).replace(b"ID: 1\n", b"ID: x\n")
    mast.archive.catalogue = data
    with pytest.warns(CatalogueWarning, match="in line 12: ID 'x' is no num") as caught:
        get_proposals(None, [15513], mission="HST")
    assert [warning.filename for warning in caught] == [__file__]
    get_proposals(None, [15513], mission="HST")  # from the cache


# where the catalogue is


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_catalogue_on_this_machine(mast, tmp_path, prefix):
    path = tmp_path / "abstracts.cat"
    path.write_bytes(catalogue_text([record(15513, abstract="Local.")]))
    with paperclip.conf.set_temp("abstracts_url", f"{prefix}{path}"):
        table = get_proposals(None, [15513], mission="HST")
    assert texts(table) == ["Local."]
    assert mast.requests == []
    with (
        paperclip.conf.set_temp("abstracts_url", "nowhere.cat"),
        pytest.raises(InvalidQueryError, match=r"conf\.abstracts_url must be an addr"),
    ):
        get_proposals(None, [15513], mission="HST")


def test_address_of_the_file_itself(mast):
    url = f"{mast.url}/hst/abstracts.cat"
    with paperclip.conf.set_temp("abstracts_url", url):
        table = get_proposals(None, [15513], mission="HST")
    assert list(table["source"]) == [url]
    assert len(mast.requests) == 1


@pytest.mark.parametrize(
    ("href", "link"),
    [
        ("abstracts.cat", "https://a.org/hst/abstracts.cat"),
        ("/x/Abstracts.CAT.gz?v=2", "https://a.org/x/Abstracts.CAT.gz?v=2"),
        ("//a.org/all.zip", "https://a.org/all.zip"),
        ("https://b.org/abstracts.cat", None),
        ("ftp://a.org/abstracts.cat", None),
        ("https://[broken/abstracts.cat", None),
        ("abstracts.html", None),
    ],
)
def test_links(href, link):
    page = f'<p><a name="x"><a href="other.pdf"><A HREF="{href}">here</A>'.encode()
    url = "https://a.org/hst/proposal_abstracts.html"
    if link is not None:
        assert sources.find_link(page, url) == link
        return
    with pytest.raises(CatalogueError, match="no link to a catalogue"):
        sources.find_link(page, url)


def test_content_that_is_no_page_has_no_link():
    assert sources.find_link(catalogue_text([record(1)]), "https://a.org/") is None


@pytest.mark.parametrize(
    ("page", "catalogue"),
    [
        (b"<html>maintenance</html>", b"x"),
        (None, b"<html><title>Sorry</title></html>"),
        (None, b""),
    ],
    ids=["page", "catalogue", "missing"],
)
def test_files_stand_in_for_the_catalogue(mast, page, catalogue):
    mast.archive.catalogue_page = page
    mast.archive.catalogue = catalogue
    with pytest.warns(RemoteServiceWarning, match="catalogue of HST .* cannot be used"):
        table = get_proposals(None, [16000], mission="HST")
    assert texts(table) == ["Abstract of 16000 of HST."]


# a network with bad moments


@pytest.mark.parametrize(
    "kind",
    ["timeout", "reset", "truncated", "html", "busy", "error", "unavailable"],
)
def test_passing_faults_go_unnoticed(mast, kind):
    mast.faults.next(kind, where="abstracts")
    mast.faults.next(kind, where="programme")
    with paperclip.conf.set_temp("timeout", 1.0):
        table = get_proposals(None, [15513, 16000], mission="HST")
    assert set(table["status"]) == {"ok"}


def test_catalogue_that_breaks_off_with_status_200(mast):
    url = f"{mast.url}/hst/abstracts.cat"
    # half of it ends in an abstract, in a header, in a line of dashes
    for length in range(50, 450, 25):
        last = record(7000 + length, abstract="word " * (length // 5) + ".")
        mast.archive.catalogue = catalogue_text([record(15513), last])
        mast.faults.next("truncated", where="abstracts")
        with paperclip.conf.set_temp("abstracts_url", f"{url}?{length}"):
            ids = proposals_of_cycles(None, "HST", 25)
        assert ids == [str(7000 + length), "15513"]


def test_catalogue_that_never_ends_well_is_used_as_it_is(mast):
    data = catalogue_text(IN_CATALOGUE)
    mast.archive.catalogue = data[: data.index(b"Category", len(data) // 2)]
    with pytest.warns(CatalogueWarning, match="2 proposals read, 2 problems"):
        table = get_proposals(None, [15513], mission="HST")
    assert texts(table) == ["Abstract of 15513 of HST."]


def test_a_server_that_is_down_is_left_alone(mast):
    mast.faults.random({"error": 1.0}, seed=0, where="programme")
    ids = list(range(1000, 1200))
    with (
        paperclip.conf.set_temp("retries", 1),
        pytest.warns(FailedRowsWarning, match="200 of 200 proposals have no abstract"),
    ):
        table = get_proposals(None, ids, mission="JWST", workers=4)
    assert len(mast.asked("programme")) < 30
    assert "the others were not tried" in table["status"][-1]


def test_files_are_fetched_side_by_side(mast):
    for number in range(3000, 3032):
        mast.archive.programmes["JWST", str(number)] = jwst_programme(record(number))
    mast.latency = 0.05
    table = get_proposals(None, range(3000, 3032), mission="JWST", workers=8)
    assert set(table["status"]) == {"ok"}
    assert list(table["proposal_id"]) == [str(n) for n in range(3000, 3032)]
    assert 4 <= mast.busiest <= 8


# without a network


def test_offline_names_what_is_needed(mast):
    client = MastClient(offline=True)
    with pytest.raises(
        OfflineError, match=r"catalogue of HST abstracts \(http"
    ) as info:
        get_proposals(client, [15513], mission="HST")
    assert "catalogue=" in str(info.value)
    with pytest.raises(OfflineError, match="programme files of JWST"):
        get_proposals(client, [2739], mission="JWST")
    with pytest.raises(OfflineError, match="downloads are switched off"):
        proposals_of_cycles(client, "HST", 25)
    assert mast.requests == []


def test_offline_with_part_of_it_at_hand(mast):
    get_proposals(None, [15513, 2739])
    mast.requests.clear()
    with paperclip.conf.set_temp("offline", True):
        assert list(get_proposals(None, [2739, 14226])["status"]) == ["ok", "ok"]
        with pytest.warns(FailedRowsWarning, match="1 of 2 .* switched off"):
            table = get_proposals(None, [1176, 15513])
        assert proposals_of_cycles(None, "HST", 25) == ["15513"]
    assert list(table["abstract"].mask) == [True, False]
    assert mast.requests == []


# cycles


@pytest.mark.parametrize(
    ("cycles", "numbers"),
    [
        ("25-27,30", (25, 26, 27, 30)),
        (" 30 , 25 \u2013 26, Cycle 26", (25, 26, 30)),
        ("4..6", (4, 5, 6)),
        ("0", (0,)),
        (25, (25,)),
        (np.int64(7), (7,)),
        ([3, 1, 3], (1, 3)),
        ({2}, (2,)),
        (range(24, 26), (24, 25)),
        (np.array([1, 2]), (1, 2)),
    ],
)
def test_parse_cycles(cycles, numbers):
    assert parse_cycles(cycles) == numbers


@pytest.mark.parametrize(
    ("cycles", "message"),
    [
        ("", "numbers and ranges"),
        ("25,", "numbers and ranges"),
        ("a-b", "numbers and ranges"),
        ("-3", "numbers and ranges"),
        ("1-2-3", "numbers and ranges"),
        ("27-25", "must rise"),
        ("0-999999999", "at most 199"),
        (-1, "must be at least 0"),
        (2.5, "must be a whole number"),
        (None, "must be a whole number"),
        (True, "must be a whole number"),
        ([], "at least one number"),
        (["25"], "must be a whole number"),
    ],
)
def test_parse_cycles_refuses(cycles, message):
    with pytest.raises(InvalidQueryError, match=message):
        parse_cycles(cycles)


def test_cycles_of_hst(mast):
    assert proposals_of_cycles(None, "HST", "24-25") == ["14226", "15513"]
    assert proposals_of_cycles(MastClient(), "hst", [7]) == ["7340"]
    with pytest.warns(NoResultsWarning, match="no programmes of HST .* cycles 3, 4"):
        assert proposals_of_cycles(None, "HST", "3-4") == []


def observation(number, **facts):
    return {
        "obsid": 1000 + number,
        "obs_id": f"o{number}",
        "obs_collection": "JWST",
        "intentType": "science",
        "dataRights": "PUBLIC",
        "dataproduct_type": "image",
        "calib_level": 3,
    } | facts


def test_cycles_of_jwst(mast):
    numbers = ["2739", "2739", "7340", "1176", "8000", "9000"]
    mast.archive.observations = [
        observation(i, proposal_id=number) for i, number in enumerate(numbers)
    ]
    mast.archive.observations[-1]["dataRights"] = "EXCLUSIVE_ACCESS"
    with pytest.warns(FailedRowsWarning, match=r"1 of 4 programmes .*\['8000'\]"):
        assert proposals_of_cycles(None, "JWST", 1) == ["1176", "2739"]
    assert len(mast.asked("programme")) == 4
    with pytest.warns(FailedRowsWarning, match="1 of 4 programmes"):
        assert proposals_of_cycles(None, "JWST", 4) == ["7340"]
    assert len(mast.asked("programme")) == 5  # the missing one, again


def test_cycles_of_jwst_need_the_programme_files(mast):
    numbers = [str(2000 + i) for i in range(40)]
    mast.archive.observations = [
        observation(i, proposal_id=number) for i, number in enumerate(numbers)
    ]
    mast.faults.random({"error": 1.0}, seed=0, where="programme")
    with (
        paperclip.conf.set_temp("retries", 1),
        pytest.raises(RemoteServiceError, match="programme files in a row"),
    ):
        proposals_of_cycles(None, "JWST", 1)


def test_cycles_from_a_table(mast):
    own = Table(
        {
            "proposal_id": [30, 4, 100, 5],
            "abstract": ["a", "b", "c", "d"],
            "cycle": ["Cycle 4", "4", "Cycle 3", "Cycle 4"],
            "mission": ["JWST", "JWST", "JWST", "TESS"],
        }
    )
    assert proposals_of_cycles(None, "JWST", 4, catalogue=own) == ["4", "30"]
    assert proposals_of_cycles(None, "TESS", 4, catalogue=own) == ["5"]
    assert proposals_of_cycles(None, "HST", 25, catalogue=own) == ["15513"]


@pytest.mark.parametrize(
    ("mission", "message"),
    [
        (None, "mission must be a name"),
        ("TESS", "'TESS' are not public in one place; give catalogue="),
        ("hts", "'HTS' .* did you mean 'HST'"),
    ],
)
def test_cycles_of_unknown_missions(mast, mission, message):
    with pytest.raises(InvalidQueryError, match=message):
        proposals_of_cycles(None, mission, 1)


def test_cycles_that_nobody_has_name_those_there_are(mast):
    with pytest.warns(NoResultsWarning, match="cycles 99; those known are 7 to 25"):
        assert proposals_of_cycles(None, "HST", 99) == []


def test_warnings_name_the_line_of_the_user(mast):
    client = PaperclipClass(model=None)
    for ids in ([], 99999):
        with pytest.warns(PaperclipWarning) as caught:
            client.get_proposals(ids)
        assert {warning.filename for warning in caught} == {__file__}
    assert "the first, number 99999: no public" in str(caught[-1].message)


# real data


@pytest.mark.shared_data
def test_real_table_of_jwst(mast):
    path = require_shared_data("proposals/jwst_proposals.csv")
    own = Table.read(path, format="ascii.csv")
    with pytest.warns(FailedRowsWarning, match="cycle of .* is not known"):
        ids = proposals_of_cycles(None, "JWST", "3-4", catalogue=own)
    assert len(ids) > 500
    table = get_proposals(None, ids, mission="JWST", catalogue=own)
    assert set(table["status"]) == {"ok"}
    assert set(table["cycle"]) == {3, 4}
    assert mast.requests == []
    assert not any(text.startswith("Category") for text in table["abstract"])
