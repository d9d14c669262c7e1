# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The catalogue of abstracts: what it says, and every kind of damage."""

import csv
import gzip
import io
import random
import time
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paperclip.exceptions import CatalogueError, CatalogueWarning
from paperclip.mast.abstracts import parse_abstracts, read_abstracts

from ..mast_server.proposal_files import SEPARATOR, catalogue_text
from ..shared_data import require_shared_data

FIELDS = ("proposal_id", "cycle", "type", "category", "title", "pi", "abstract")
ONE = {
    "proposal_id": "14259",
    "cycle": 23,
    "type": "GO",
    "category": "Stellar Populations and the Interstellar Medium",
    "title": "A long title about the motions of stars that wraps over lines",
    "pi": "Example, Ada B.",
    "abstract": "We look at stars.\n\nThen we look again, with care.",
}
TWO = {
    "proposal_id": "7340",
    "cycle": 7,
    "type": "CAL/NIC",
    "category": None,
    "title": "Darks",
    "pi": "Other, Max",
    "abstract": "Title: not a title here.",
}


def facts(record):
    return {name: record[name] for name in FIELDS}


def read(data):
    """Return the facts of all records, and the problems as (line, text)."""
    records, problems = parse_abstracts(data)
    pairs = [(entry["line"], entry["problem"]) for entry in problems]
    return [facts(record) for record in records], pairs


def test_columns_and_values(tmp_path):
    path = tmp_path / "abstracts.cat"
    path.write_bytes(catalogue_text([ONE, TWO], width=30))
    table = read_abstracts(path)
    assert table.colnames == [
        "proposal_id",
        "mission",
        "cycle",
        "type",
        "category",
        "title",
        "pi",
        "abstract",
        "source",
        "retrieved",
        "status",
        "line",
    ]
    for row, expected in zip(table, (ONE, TWO), strict=True):
        for name in FIELDS:
            if expected[name] is None:
                assert np.ma.is_masked(row[name])
            else:
                assert row[name] == expected[name]
    assert list(table["mission"]) == ["HST", "HST"]
    assert list(table["line"]) == [2, 13]
    assert list(table["status"]) == ["ok", "ok"]
    assert table["source"][0] == str(path)
    assert table.meta["problems"] == []
    assert all(column.info.description for column in table.itercols())


@pytest.mark.parametrize(
    "options",
    [
        {"newline": "\r\n"},
        {"newline": "\r"},
        {"encoding": "utf-8-sig"},
        {"encoding": "utf-16"},
        {"indent": "   "},
        {"indent": "\t"},
        {"width": 12},
    ],
    ids=str,
)
def test_layouts(options):
    assert read(catalogue_text([ONE, TWO], **options)) == ([ONE, TWO], [])


def test_packed_files():
    data = catalogue_text([ONE, TWO])
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("README.md", "nothing")
        archive.writestr("../../abstracts.cat", data)
    for packed in (gzip.compress(data), stream.getvalue()):
        assert read(packed) == ([ONE, TWO], [])


def test_lines_of_an_abstract_that_look_like_a_header_stay_text():
    text = "First.\nTitle: of the second part\nID: 12\nPI: none\nProp. Type: odd\nEnd."
    data = catalogue_text([ONE, TWO]).replace(
        b"Title: not a title here.", text.encode()
    )
    records, problems = read(data)
    assert records[1]["abstract"] == " ".join(text.split())
    assert problems == []


def test_a_wrapped_title_that_looks_like_a_header_stays_title():
    data = catalogue_text([ONE]).replace(b"Title: A long", b"Title: A\n  ID: long")
    assert read(data)[0][0]["title"].startswith("A ID: long title about")


def test_no_line_of_dashes_at_the_end_and_several_in_the_middle():
    data = catalogue_text([ONE, TWO]).decode()
    data = data.replace(SEPARATOR, f"\n{SEPARATOR}\n\n-----\n").rstrip("-\n ")
    assert read(data.encode()) == ([ONE, TWO], [])


def test_header_without_abstract_is_no_problem():
    quiet = {**TWO, "abstract": None}
    (record, _), problems = parse_abstracts(catalogue_text([quiet, ONE]))
    assert record["abstract"] is None
    assert record["status"] == "no abstract"
    assert problems == []


def test_glued_blocks_are_told_apart():
    data = catalogue_text([ONE, TWO])
    middle = f"{SEPARATOR}\nProp. Type: CAL".encode()
    assert middle in data
    records, problems = read(data.replace(middle, b"Prop. Type: CAL"))
    assert records == [ONE, TWO]
    assert problems == []


def test_glued_block_after_a_broken_header():
    data = b"Prop. Type: GO\nCategory: AGN\nID: 1234\nCycle: 3\nTitle: Half a\n"
    records, problems = read(data + catalogue_text([TWO]).removeprefix(b"-" * 78))
    assert [record["proposal_id"] for record in records] == ["1234", "7340"]
    assert records[0]["title"] == "Half a"
    assert problems == [
        (5, "no PI; what follows the first line of the title counts as abstract")
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "problem", "name"),
    [
        ("ID: 14259", "ID:", 4, "no ID", "proposal_id"),
        ("ID: 14259\n", "", 2, "no ID", "proposal_id"),
        ("ID: 14259", "ID: 14x", 4, "ID '14x' is no number", "proposal_id"),
        ("ID: 14259", "ID: 0", 4, "ID '0' is no number", "proposal_id"),
        ("ID: 14259", "ID: ١٢", 4, "ID '١٢' is no number", "proposal_id"),
        ("Cycle: 23", "Cycle: soon", 5, "cycle 'soon' is no number", "cycle"),
        ("Cycle: 23", "Cycle: 7N", 5, "cycle '7N' is no number", None),
        ("ID: 14259", "ID: 14259\nodd", 5, "text between the lines", None),
        ("We look", "We " + "x" * 13_000, 2, "abstract of 130", "abstract"),
    ],
)
def test_damage_in_a_block(old, new, line, problem, name):
    text = catalogue_text([ONE, TWO]).decode()
    assert old in text
    records, problems = parse_abstracts(text.replace(old, new, 1).encode())
    assert len(records) == 2
    assert facts(records[1]) == TWO
    assert problem in records[0]["status"]
    assert [entry["line"] for entry in problems] == [line]
    assert problem in problems[0]["problem"]
    if name is not None:
        assert records[0][name] is None


def test_problems_name_the_programme():
    data = catalogue_text([ONE]).replace(b"Cycle: 23", b"Cycle: late")
    assert parse_abstracts(data)[1][0]["proposal_id"] == "14259"


def test_cycle_with_a_letter_keeps_its_number():
    data = catalogue_text([ONE]).replace(b"Cycle: 23", b"Cycle: 7N")
    assert read(data)[0][0]["cycle"] == 7


def test_leading_zeros_do_not_count():
    data = catalogue_text([ONE]).replace(b"ID: 14259", b"ID: 014259")
    assert read(data) == ([ONE], [])


def test_text_outside_of_any_block():
    data = (
        b"HST abstracts, version 3\n" + catalogue_text([ONE]) + b"some words\n-----\n"
    )
    records, problems = read(data)
    assert records == [ONE]
    last = data.count(b"\n") - 1
    assert problems == [
        (1, "text without a header, left out"),
        (last, "text without a header, left out"),
    ]


def test_lines_in_latin_1_between_lines_in_utf_8():
    names = "Muñoz, Zoë", "Peñarrubia “Jo”", "Łukasz €"
    records = [{**ONE, "proposal_id": str(i + 1), "pi": n} for i, n in enumerate(names)]
    mixed = b"".join(
        catalogue_text([record], encoding=encoding)
        for record, encoding in zip(
            records, ("latin-1", "cp1252", "utf-8"), strict=True
        )
    )
    found, problems = read(mixed)
    assert [record["pi"] for record in found] == list(names)
    assert problems == [
        (7, "2 lines are not UTF-8 and were read as Windows-1252; this is the first")
    ]


def test_nul_bytes_and_control_characters():
    data = catalogue_text([ONE]).replace(b"We look", b"We\x07\x00 look")
    records, problems = read(data)
    assert records == [ONE]
    assert problems == [(8, "NUL bytes, left out")]


def test_entities_of_html():
    text = "R&amp;D of &Aring;ngstr&#246;ms &lt; 5 &gt; 3, R&D &lt 4 &nonsense; &#0;"
    data = catalogue_text([{**ONE, "abstract": text}])
    abstract = read(data)[0][0]["abstract"]
    assert abstract.startswith("R&D of Ångströms < 5 > 3, R&D &lt 4 &nonsense;")


def test_of_repeated_numbers_the_longer_abstract_stays():
    again = {**ONE, "abstract": ONE["abstract"] + " And again."}
    short = {**ONE, "abstract": None}
    data = catalogue_text([ONE, TWO, again, short])
    records, problems = read(data)
    assert records == [again, TWO]
    lines = data.decode().split("\n")
    first, _, third, last = (
        number for number, text in enumerate(lines, 1) if text.startswith("Prop.")
    )
    assert [line for line, _ in problems] == [first, last]
    assert problems[0][1].startswith(f"programme 14259 again (also in line {third},")


def test_last_block_cut_off():
    data = catalogue_text([TWO, ONE])
    cut = data[: data.index(b"again, with")]
    records, problems = parse_abstracts(cut)
    assert facts(records[0]) == TWO
    assert records[1]["abstract"].endswith("Then we look")
    assert "may be cut" in records[1]["status"]
    assert problems[0]["line"] == 10
    header = data[: data.index(b"Title: A long")]
    records, problems = parse_abstracts(header)
    assert records[-1]["proposal_id"] == "14259"
    assert [entry["line"] for entry in problems] == [10]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\0\0\n \r\n", "is empty"),
        (
            b"<!DOCTYPE html>\n<html><head><title>404 &amp; lost</title></head></html>",
            r"page of HTML \('404 & lost'\)",
        ),
        (b"\x89PNG\r\n\x1a\n", "starts with"),
        (b"Title: a\n-----\nTitle: b\n", "is no catalogue of proposal abstracts"),
        (b"\x1f\x8bbroken", "damaged gzip"),
        (gzip.compress(b"x" * 1000)[:-12], "ends early"),
        (b"PK\x03\x04broken", "zip file that cannot be read"),
    ],
)
def test_what_is_no_catalogue(data, message):
    with pytest.raises(CatalogueError, match=message):
        read_abstracts(data)


def test_zip_without_a_catalogue():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("picture.png", b"x")
    with pytest.raises(CatalogueError, match="without a catalogue"):
        read_abstracts(stream.getvalue())


@pytest.mark.parametrize("kind", ["gzip", "zip"])
def test_bombs(kind, monkeypatch):
    monkeypatch.setattr("paperclip.mast.abstracts.MAX_BYTES", 1_000_000)
    stream = io.BytesIO()
    if kind == "gzip":
        stream.write(gzip.compress(b"a" * 1_000_001))
    else:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.cat", b"a" * 1_000_001)
    with pytest.raises(CatalogueError, match="more than 1 MB when unpacked"):
        read_abstracts(stream.getvalue())


def test_file_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("paperclip.mast.abstracts.MAX_BYTES", 1000)
    path = tmp_path / "abstracts.cat"
    path.write_bytes(b"x" * 1001)
    for source in (path, path.read_bytes()):
        with pytest.raises(CatalogueError, match="at most 0 MB is read"):
            read_abstracts(source)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_abstracts(tmp_path / "nothing.cat")


def test_one_warning_for_all_problems():
    data = catalogue_text([ONE, TWO])
    data = data.replace(b"Cycle: 23", b"Cycle: ?").replace(b"ID: 7340", b"ID: ?")
    with pytest.warns(CatalogueWarning, match="2 proposals read, 2 problems") as caught:
        table = read_abstracts(data)
    assert len(caught) == 1
    assert "in line 5: cycle '?' is no number" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert len(table.meta["problems"]) == 2


def test_number_of_problems_is_bounded():
    data = catalogue_text([ONE]) + b"words\n-----\n" * 1500
    records, problems = parse_abstracts(data)
    assert len(records) == 1
    assert len(problems) == 1001
    assert problems[-1]["problem"] == "500 more problems after this line"


def big_catalogue(n=13_000):
    rng = random.Random(3)
    words = "the of galaxies star formation nearby we propose Title: deep spectra ID: a"
    words = words.split()
    return [
        {
            "proposal_id": str(3000 + i),
            "cycle": i // 500,
            "type": "GO",
            "category": "GALAXIES",
            "title": " ".join(rng.choices(words[:8], k=15)),
            "pi": "Example, Ada",
            "abstract": " ".join(rng.choices(words, k=250)) + ".",
        }
        for i in range(n)
    ]


def test_catalogue_of_full_size_takes_seconds():
    records = big_catalogue()
    data = catalogue_text(records)
    start = time.process_time()
    found, problems = read(data)
    assert time.process_time() - start < 10
    assert found == records
    assert problems == []


@pytest.mark.parametrize(
    "data",
    [
        b"-----\n" * 1_000_000,
        b"-" * 10_000_000 + b"x",
        b" " * 10_000_000 + b"x",
        b"Prop. Type: x\n" * 700_000,
        b"Prop. Type: GO\nCategory:\nID: x\nCycle:\nTitle:\n" * 210_000,
        b"ID: 1\nTitle: x\n------\n" * 210_000,
        random.Random(0).randbytes(10_000_000),
    ],
    ids=["dashes", "line", "blanks", "types", "headers", "blocks", "noise"],
)
def test_garbage_is_refused_quickly(data):
    start = time.process_time()
    with pytest.raises(CatalogueError, match="no catalogue"):
        parse_abstracts(data)
    assert time.process_time() - start < 10


# words that are no header, no separator and no entity; blanks are made single
WORDS = st.from_regex(r"[A-Za-zÀ-ž0-9.,;()+*/'\"=-]{1,12}", fullmatch=True)
WORDS = WORDS.filter(lambda word: word.strip("-") != "")
LINES = st.lists(WORDS, min_size=1, max_size=25).map(" ".join)
TEXTS = st.lists(LINES, min_size=1, max_size=3).map("\n\n".join)
RECORDS = st.fixed_dictionaries(
    {
        "proposal_id": st.integers(1, 99_999).map(str),
        "cycle": st.none() | st.integers(0, 99),
        "type": st.none()
        | st.sampled_from(["GO", "GO/PAR", "CAL/NIC", "ENG/STIS/PAR"]),
        "category": st.none() | LINES,
        "title": LINES,
        "pi": st.none() | LINES,
        # the last character says that the text is whole
        "abstract": TEXTS.map(lambda text: text + "."),
    }
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(RECORDS, min_size=1, max_size=8, unique_by=lambda r: r["proposal_id"]),
    st.integers(5, 100),
    st.sampled_from(["", " ", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_writing_and_reading_back_is_the_identity(records, width, indent, newline):
    data = catalogue_text(records, width=width, indent=indent, newline=newline)
    assert read(data) == (records, [])


MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.integers(0, 40),
        st.binary(max_size=6)
        | st.sampled_from(
            [
                b"\n",
                b"\n-----\n",
                b"\nPI:",
                b"\nID:",
                b"\nTitle:",
                b"\nProp. Type:",
                b"\r",
                b"\0",
                b"&#xD800;",
                b"\xff\xfe",
            ]
        ),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=300)
@given(MUTATIONS)
def test_mutations_never_crash(mutations):
    data = bytearray(catalogue_text([ONE, TWO, {**ONE, "proposal_id": "3"}], width=25))
    for place, length, new in mutations:
        place %= len(data) + 1
        data[place : place + length] = new
    try:
        records, problems = parse_abstracts(bytes(data))
    except CatalogueError:
        return
    lines = data.count(b"\n") + data.count(b"\r") + 1
    assert all(1 <= entry["line"] <= lines for entry in problems)
    for record in records:
        assert record["status"]
        assert record["proposal_id"] is None or record["proposal_id"].isdigit()
        text = record["abstract"] or ""
        text.encode("utf-8")
        assert "\0" not in text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CatalogueWarning)
        assert len(read_abstracts(bytes(data))) == len(records)


@pytest.mark.shared_data
def test_real_abstracts_survive():
    path = require_shared_data("proposals/hst_abstracts.csv")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    records = [
        {
            "proposal_id": row["proposal_id"] or str(90_000 + number),
            "cycle": number % 30,
            "type": "GO",
            "category": " ".join(row["category"].split()) or None,
            "title": f"Number {number}",
            "pi": "Example, Ada",
            # one of them has a control character
            "abstract": " ".join(row["abstract"].replace("\x07", "").split()),
        }
        for number, row in enumerate(rows)
    ]
    longest = {}
    for record in records:
        key = record["proposal_id"]
        if len(record["abstract"]) > len(
            longest.get(key, {"abstract": ""})["abstract"]
        ):
            longest[key] = record
    assert len(longest) > 100
    for width in (60, 78, 5000):
        found, problems = read(catalogue_text(records, width=width))
        assert found == list(longest.values())
        assert len(problems) == len(records) - len(longest)
