# Licensed under a 3-clause BSD style license - see LICENSE.rst
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable, Table

from paperclip.exceptions import VocabularyError
from paperclip.vocabulary import load_vocabulary, vocabulary_fingerprint

from .shared_data import require_shared_data

ROOT = Path(__file__).parents[1]


def load_tool():
    spec = importlib.util.spec_from_file_location(
        "make_vocabulary", ROOT / "tools" / "make_vocabulary.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- the packaged list


def test_default_has_enough_terms_of_both_kinds():
    table = load_vocabulary()
    kinds, counts = np.unique(table["kind"], return_counts=True)
    assert len(table) >= 150
    assert list(kinds) == ["object or phenomenon", "science use"]
    assert min(counts) >= 50


def test_default_terms_are_unique_phrases():
    terms = list(load_vocabulary()["term"])
    assert len({term.casefold() for term in terms}) == len(terms)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z ,-]+", term) for term in terms)


def test_default_concepts_are_positive_integers_or_masked():
    table = load_vocabulary()
    assert table["uat_id"].dtype.kind == "i"
    assert 0 < table["uat_id"].mask.sum() < 20
    assert np.all(table["uat_id"].compressed() > 0)
    assert set(table["source"]) == {"paperclip"}


def test_default_agrees_with_the_curated_list():
    curated = load_tool().read_terms()
    table = load_vocabulary()
    assert [row["term"] for row in curated] == list(table["term"])
    assert [row["kind"] for row in curated] == list(table["kind"])
    missing = [not row["uat_label"] for row in curated]
    assert missing == list(table["uat_id"].mask)


def test_every_concept_exists_in_the_thesaurus():
    path = require_shared_data("vocabularies/UAT_list.json")
    assert load_tool().main(["--uat", str(path), "--check"]) == 0


def test_concepts_are_related_to_their_terms():
    path = require_shared_data("vocabularies/UAT_list.json")
    names = {}
    for concept in json.loads(path.read_text(encoding="utf-8")):
        words = [concept["name"], *(concept.get("altNames") or [])]
        names[concept["uri"]] = " ".join(words).casefold()
    table = load_vocabulary()
    table = table[~table["uat_id"].mask]

    def related(row):
        name = names[f"http://astrothesaurus.org/uat/{row['uat_id']}"]
        words = re.findall(r"[a-z]+", row["term"].casefold())
        return any(word[:4] in name for word in words if len(word) > 3) or (
            row["term"].casefold() in name
        )

    share = np.mean([related(row) for row in table])
    assert share > 0.85


def test_default_is_a_copy():
    first = load_vocabulary()
    first["term"][0] = "changed"
    assert load_vocabulary()["term"][0] != "changed"


# ---- what a user may pass


@pytest.mark.parametrize("kind", [list, tuple, np.array, MaskedColumn])
def test_sequences_keep_their_order(kind):
    table = load_vocabulary(kind(["zeta", "alpha", "mu"]))
    assert list(table["term"]) == ["zeta", "alpha", "mu"]
    assert table.colnames == ["term", "kind", "source", "uat_id"]
    assert set(table["kind"]) == {"unspecified"}
    assert set(table["source"]) == {"user"}
    assert table["uat_id"].mask.all()


def test_white_space_is_reduced():
    table = load_vocabulary(["  galaxy \n with\ta bar "])
    assert table["term"][0] == "galaxy with a bar"


def test_table_with_only_terms_is_filled():
    table = load_vocabulary(Table({"term": ["a star", "a cluster"]}))
    assert list(table["kind"]) == ["unspecified"] * 2
    assert list(table["source"]) == ["user"] * 2


def test_table_columns_are_kept_and_gaps_filled():
    given = QTable(
        {
            "term": ["a star", "a cluster"],
            "kind": MaskedColumn(["mine", ""], mask=[False, True]),
            "uat_id": MaskedColumn([1, 2], mask=[True, False]),
            "other": [1.0, 2.0],
        }
    )
    table = load_vocabulary(given)
    assert table.colnames == ["term", "kind", "source", "uat_id"]
    assert list(table["kind"]) == ["mine", "unspecified"]
    assert table["uat_id"].tolist() == [None, 2]


@pytest.mark.parametrize("suffix", ["ecsv", "csv", "fits", "votable"])
def test_written_vocabularies_come_back(tmp_path, suffix):
    table = load_vocabulary()[:20]
    path = tmp_path / f"v.{suffix}"
    table.write(path, format=f"ascii.{suffix}" if "csv" in suffix else suffix)
    if "csv" not in suffix:
        path = Table.read(path, format=suffix)
    back = load_vocabulary(path)
    for column in table.colnames:
        assert back[column].tolist() == table[column].tolist()


def test_text_file_has_one_term_per_line(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(b"\xef\xbb\xbf# my terms\r\nring galaxy\r\n\r\n  comet, tail\r\n")
    table = load_vocabulary(str(path))
    assert list(table["term"]) == ["ring galaxy", "comet, tail"]
    assert list(table["source"]) == ["mine.txt"] * 2


def test_csv_file_with_quotes(tmp_path):
    path = tmp_path / "mine.CSV"
    path.write_text('term, uat_id\n"red, compact galaxy",\ncomet,280\n')
    table = load_vocabulary(path)
    assert list(table["term"]) == ["red, compact galaxy", "comet"]
    assert table["uat_id"].tolist() == [None, 280]


# ---- what is refused


@pytest.mark.parametrize(
    "given", [[], (), np.array([], dtype=str), Table({"term": []})]
)
def test_empty_vocabulary(given):
    with pytest.raises(VocabularyError, match="vocabulary is empty; pass at least"):
        load_vocabulary(given)


@pytest.mark.parametrize("blank", ["", "   ", "\t\n"])
def test_blank_term(blank):
    with pytest.raises(VocabularyError, match=r"vocabulary\[1\] is blank"):
        load_vocabulary(["comet", blank])


def test_masked_term():
    terms = MaskedColumn(["comet", "x"], mask=[False, True])
    with pytest.raises(VocabularyError, match="row 1 of vocabulary is blank"):
        load_vocabulary(Table({"term": terms}))


@pytest.mark.parametrize(
    "second", ["Spiral  Galaxy", "spiral galaxy ", "\uff53piral galaxy"]
)
def test_repeated_term(second):
    match = r"vocabulary\[2\] repeats vocabulary\[0\]: '.*'; keep one"
    with pytest.raises(VocabularyError, match=match):
        load_vocabulary(["spiral galaxy", "comet", second])


def test_repeated_line(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("comet\n\nComet\n")
    match = r"line 3 of t\.txt repeats line 1 of t\.txt"
    with pytest.raises(VocabularyError, match=match):
        load_vocabulary(path)


@pytest.mark.parametrize("bad", [3, None, b"comet", ["comet"], 1.5])
def test_term_that_is_not_text(bad):
    with pytest.raises(VocabularyError, match=r"vocabulary\[1\] must be a str, got "):
        load_vocabulary(["comet", bad])


def test_single_text():
    match = r"did you mean \['spiral galaxy'\]\?"
    with pytest.raises(VocabularyError, match=match):
        load_vocabulary("spiral galaxy")


def test_set_has_no_order():
    with pytest.raises(VocabularyError, match="a set has no order"):
        load_vocabulary({"a", "b"})


@pytest.mark.parametrize("bad", [5, {"term": ["a"]}, object(), np.array([["a"]])])
def test_unknown_kind_of_vocabulary(bad):
    with pytest.raises(VocabularyError, match="vocabulary must be None, a list of str"):
        load_vocabulary(bad)


def test_long_term():
    match = r"vocabulary\[0\] has 1001 characters; a term is at most 1000"
    with pytest.raises(VocabularyError, match=match):
        load_vocabulary(["x" * 1001])


@pytest.mark.parametrize("bad", ["a\x00b", "a\u200bb", "\ud800"])
def test_control_characters(bad):
    with pytest.raises(VocabularyError, match="cannot be printed"):
        load_vocabulary([bad])


def test_too_many_terms():
    with pytest.raises(VocabularyError, match="holds 100001 terms; at most 100000"):
        load_vocabulary([str(i) for i in range(100_001)])


def test_table_without_terms():
    match = r"vocabulary must have a column 'term', got \['phrase'\]"
    with pytest.raises(VocabularyError, match=match):
        load_vocabulary(Table({"phrase": ["comet"]}))


def test_table_with_vectors():
    with pytest.raises(VocabularyError, match="one value per row"):
        load_vocabulary(Table({"term": [["a", "b"], ["c", "d"]]}))


@pytest.mark.parametrize("bad", [1.5, -3, "x", 2**40, True])
def test_concept_that_is_no_number(bad):
    table = Table({"term": ["comet"], "uat_id": [bad]})
    with pytest.raises(VocabularyError, match="uat_id of row 0 of vocabulary must be"):
        load_vocabulary(table)


def test_kind_that_is_not_text():
    table = Table({"term": ["comet"], "kind": [3]})
    with pytest.raises(VocabularyError, match="kind of row 0 of vocabulary must be"):
        load_vocabulary(table)


def test_missing_file(tmp_path):
    with pytest.raises(VocabularyError, match="there is no vocabulary file"):
        load_vocabulary(tmp_path / "none.txt")


def test_directory_instead_of_file(tmp_path):
    (tmp_path / "d.txt").mkdir()
    with pytest.raises(VocabularyError, match="cannot be read as UTF-8 text"):
        load_vocabulary(tmp_path / "d.txt")


def test_file_of_another_kind(tmp_path):
    with pytest.raises(VocabularyError, match=r"must end in \.ecsv, \.csv, \.txt"):
        load_vocabulary(tmp_path / "terms.json")


def test_binary_file(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(VocabularyError, match="cannot be read as UTF-8 text"):
        load_vocabulary(path)


def test_csv_with_an_unquoted_comma(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("term\nred, compact galaxy\n")
    with pytest.raises(VocabularyError, match=r"line 2 of t\.csv has more fields"):
        load_vocabulary(path)


@pytest.mark.parametrize("text", ["", "comet\n", '"comet\n', "kind\nx\n"])
@pytest.mark.parametrize("suffix", ["csv", "ecsv"])
def test_damaged_tables(tmp_path, text, suffix):
    path = tmp_path / f"t.{suffix}"
    path.write_text(text)
    with pytest.raises(VocabularyError, match=rf"vocabulary file|t\.{suffix}"):
        load_vocabulary(path)


@pytest.mark.filterwarnings("ignore:unexpected datatype")
def test_mutated_ecsv_gives_a_table_or_our_error(tmp_path):
    rng = np.random.default_rng(0)
    load_vocabulary()[:5].write(tmp_path / "t.ecsv")
    good = (tmp_path / "t.ecsv").read_bytes()
    for _ in range(60):
        data = bytearray(good)
        for at in rng.integers(len(data), size=rng.integers(1, 6)):
            data[at] = rng.integers(9, 127)
        (tmp_path / "t.ecsv").write_bytes(data)
        try:
            table = load_vocabulary(tmp_path / "t.ecsv")
        except VocabularyError:
            continue
        assert len(table) > 0


# ---- fingerprints


def test_fingerprint_names_the_terms_in_their_order():
    one = vocabulary_fingerprint(load_vocabulary(["a", "b"]))
    assert re.fullmatch("[0-9a-f]{16}", one)
    assert one == vocabulary_fingerprint(
        Table({"term": ["a", "b"], "kind": ["x", "y"]})
    )
    assert one != vocabulary_fingerprint(["b", "a"])
    assert one != vocabulary_fingerprint(["a b"])


def test_fingerprint_of_something_else():
    with pytest.raises(VocabularyError, match="did you mean"):
        vocabulary_fingerprint("comet")
