# Licensed under a 3-clause BSD style license - see LICENSE.rst
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperclip.mast.names import NameBook, safe_name

HOSTILE = [
    "../../etc/passwd",
    "..",
    ".",
    "",
    "/etc/passwd",
    "C:\\windows\\system.ini",
    "a\0b.jpg",
    "x" * 300 + ".fits.gz",
    "CON",
    "nul.jpg",
    "Com1.tar.gz",
    "lpt9",
    ".hidden",
    "-rf",
    "name.",
    "name ",
    "a/b",
    "a:b",
    "line\nbreak",
    "\u202egpj.exe",
    "\ud800",
    "galaxie-\xe9t\xe9.png",
]


@pytest.mark.parametrize(
    "name",
    ["hst_15513_01_acs_wfc_total_drc.jpg", "jw02731-o001_t017+x.fits.gz", "15513"],
)
def test_good_names_stay(name):
    assert safe_name(name) == name


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_become_harmless(name, tmp_path):
    made = safe_name(name)
    assert made != name
    assert made.isascii()
    assert 0 < len(made) <= 120
    assert not set(made) & set('/\\:*?"<>|\0 \n')
    assert made[0] not in ".-"
    assert made[-1] != "."
    assert made.split(".")[0].upper() not in ("CON", "NUL", "COM1", "LPT9")
    (tmp_path / made).write_bytes(b"")
    assert [path.name for path in tmp_path.iterdir()] == [made]


def test_suffix_of_a_long_name_stays():
    assert safe_name("x" * 300 + ".fits.gz").endswith(".fits.gz")


@given(st.text())
def test_any_text_gives_a_name_that_is_safe(text):
    made = safe_name(text)
    assert safe_name(made) == made
    assert 0 < len(made) <= 120
    assert made not in (".", "..")


@given(st.lists(st.text(max_size=5), unique=True))
def test_no_two_sources_share_a_name(sources):
    book = NameBook()
    names = [book.name(source, "A.jpg") for source in sources]
    assert len({name.casefold() for name in names}) == len(sources)
    assert [book.name(source, "other") for source in sources] == names


def test_names_that_differ_in_case_are_told_apart():
    book = NameBook({"mast:1": "a.jpg"})
    name = book.name("mast:2", "A.JPG")
    assert name.casefold() != "a.jpg"
    assert name.endswith(".JPG")
    assert book.name("mast:1", "whatever") == "a.jpg"
