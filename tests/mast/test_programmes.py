# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Programme files: both layouts, what may be missing, and attacks."""

import io
import time
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paperclip.exceptions import CatalogueError, InvalidQueryError
from paperclip.mast.programmes import (
    PROGRAMME_FIELDS,
    programme_path,
    read_programme,
)

from ..mast_server.proposal_files import hst_programme, jwst_programme, jwst_xml

RECORD = {
    "proposal_id": "2739",
    "cycle": 1,
    "type": "DD",
    "category": "Stellar Physics",
    "title": "Ångström <sized> & larger",
    "pi": "Example, Ada B.",
    "abstract": "First part.\n\nSecond part.",
}


def zipped(*members, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("write", "mission"),
    [(hst_programme, "HST"), (jwst_programme, "JWST"), (jwst_xml, "JWST")],
)
def test_both_layouts(write, mission):
    expected = {**RECORD, "mission": mission}
    assert read_programme(write(RECORD)) == expected
    assert read_programme(write(RECORD), mission) == expected


@pytest.mark.parametrize("write", [hst_programme, jwst_programme])
def test_missing_facts_are_none(write):
    facts = read_programme(write({}))
    assert tuple(facts) == PROGRAMME_FIELDS
    assert {name for name, value in facts.items() if value is not None} == {"mission"}


def test_names_with_prefixes_and_any_namespace():
    xml = """<a:JwstProposal xmlns:a="http://example.org/next">
    <a:ProposalInformation><a:Title>One <i>word</i></a:Title><a:Cycle>Cycle 12</a:Cycle>
    <a:ProposalCategory><a:GTO/></a:ProposalCategory><a:ProposalID>07001</a:ProposalID>
    <a:ScientificCategory>StellarPhysics</a:ScientificCategory>
    <a:PrincipalInvestigator><a:InvestigatorAddress><a:LastName>Mono</a:LastName>
    </a:InvestigatorAddress></a:PrincipalInvestigator>
    </a:ProposalInformation></a:JwstProposal>"""
    facts = read_programme(xml.encode())
    assert facts["type"] == "GTO"
    assert facts["cycle"] == 12
    assert facts["proposal_id"] == "7001"
    assert facts["category"] == "Stellar Physics"
    assert facts["pi"] == "Mono"


def test_names_of_the_pi():
    xml = b"""<HSTProposal Phase2ID="1"><ProposalInformation Cycle="">
    <PrincipalInvestigator Honorific="Dr." FirstName="Ada" MiddleInitial="B."
     LastName="Example" Suffix="Jr"/></ProposalInformation></HSTProposal>"""
    facts = read_programme(xml)
    assert facts["pi"] == "Example, Ada B., Jr"
    assert facts["cycle"] is None


def test_targets_do_not_count():
    facts = read_programme(hst_programme({**RECORD, "title": None, "category": None}))
    assert facts["title"] is None
    facts = read_programme(jwst_xml({**RECORD, "category": None, "type": None}))
    assert facts["category"] is None
    assert facts["type"] is None


def test_what_comes_after_the_facts_may_be_damaged():
    data = jwst_xml(RECORD)
    cut = data[: data.index(b"<DataRequests>")]
    assert read_programme(cut)["title"] == RECORD["title"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig"])
def test_encodings_that_the_file_does_not_declare(encoding):
    text = jwst_xml(RECORD).decode().partition("?>")[2]
    data = f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode(encoding)
    assert read_programme(data)["title"] == RECORD["title"]


def test_declared_encoding():
    text = jwst_xml(RECORD).decode().partition("?>")[2]
    data = f'<?xml version="1.0" encoding="windows-1252"?>{text}'.encode("cp1252")
    assert read_programme(data)["title"] == RECORD["title"]


def test_control_characters():
    data = jwst_xml(RECORD).replace(b"First", b"Fi\x0brst")
    assert read_programme(data)["abstract"] == RECORD["abstract"]


def test_the_xml_of_a_zip_is_found_among_others():
    data = zipped(
        ("notes.txt", b"x"),
        ("settings.xml", b"<settings/>"),
        ("../../../etc/2739.XML", jwst_xml(RECORD)),
    )
    assert read_programme(data)["title"] == RECORD["title"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no XML"),
        (b"hello", "no XML, it starts with 'hello'"),
        (b"<html><body>Not found</body></html>", "a page of HTML"),
        (b"<!DOCTYPE html><html><p>Not <br> found", "a page of HTML"),
        (b"<settings/>", "XML with the root 'settings'"),
        (jwst_xml(RECORD)[:500], "damaged XML"),
        (jwst_programme(RECORD)[:-30], "zip file that cannot be read"),
        (zipped(("a.txt", b"x")), "zip file without XML"),
        (zipped(("a.xml", b"<a/>"), method=zipfile.ZIP_LZMA), "unusual compression"),
        (zipped(*((f"{i}.txt", b"") for i in range(1001))), "1001 members"),
        (b'<a xmlns="u"' + b" b='c'" * 3 + b"/>", "damaged XML|no XML"),
    ],
)
def test_what_is_no_programme_file(data, message):
    with pytest.raises(CatalogueError, match=message):
        read_programme(data)


def test_file_of_the_other_mission():
    with pytest.raises(CatalogueError, match="of HST is one of JWST"):
        read_programme(jwst_programme(RECORD), "HST")


def test_damaged_member_of_a_zip():
    data = bytearray(zipped(("a.xml", jwst_xml(RECORD)), method=zipfile.ZIP_STORED))
    data[data.index(b"<Title>")] = 0
    with pytest.raises(CatalogueError, match="cannot be read: Bad CRC-32"):
        read_programme(bytes(data))


def test_encrypted_member_of_a_zip():
    data = bytearray(zipped(("a.xml", jwst_xml(RECORD)), method=zipfile.ZIP_STORED))
    # the flag of encryption, in both headers of the file
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(CatalogueError, match=r"cannot be read: .*encrypted"):
        read_programme(bytes(data))


LAUGHS = "".join(
    f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' if i else '<!ENTITY l0 "ha">'
    for i in range(12)
)


@pytest.mark.parametrize(
    "declaration",
    [
        LAUGHS,
        '<!ENTITY x SYSTEM "file:///etc/passwd">',
        '<!ENTITY % x SYSTEM "http://127.0.0.1:9/x.dtd"> %x;',
    ],
    ids=["laughs", "file", "parameter"],
)
@pytest.mark.parametrize("wrap", [bytes, lambda data: zipped(("a.xml", data))])
def test_entities_are_refused(declaration, wrap):
    text = jwst_xml(RECORD).decode().partition("?>")[2]
    text = text.replace("First part.", "&x;&l11;")
    data = f'<?xml version="1.0"?><!DOCTYPE a [{declaration}]>{text}'.encode()
    with pytest.raises(CatalogueError, match="declares entities"):
        read_programme(wrap(data))


def test_an_external_document_type_is_not_opened():
    text = jwst_xml(RECORD).decode().partition("?>")[2]
    declaration = '<!DOCTYPE a SYSTEM "file:///dev/zero">'
    data = f'<?xml version="1.0"?>{declaration}{text}'.encode()
    assert read_programme(data)["title"] == RECORD["title"]


def test_zip_bomb():
    data = zipped(("a.xml", b"<JwstProposal>" + b" " * 80_000_000))
    assert len(data) < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(CatalogueError, match="more than 64 MB when unpacked"):
            read_programme(data)
        assert tracemalloc.get_traced_memory()[1] < 400e6
    finally:
        tracemalloc.stop()


def test_file_too_large(monkeypatch):
    monkeypatch.setattr("paperclip.mast.programmes.MAX_BYTES", 1000)
    with pytest.raises(CatalogueError, match="at most 0 MB are read"):
        read_programme(b"x" * 1001)


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ("<a>" * 300, "nested too deeply"),
        ("<a/>" * 100_001, "too many"),
        ("<Abstract>" + "x" * 1_000_001 + "</Abstract>", "1000000 characters"),
    ],
    ids=["deep", "many", "long"],
)
def test_monstrous_documents(inside, message):
    xml = f"<a><ProposalInformation>{inside}</ProposalInformation></a>"
    start = time.process_time()
    with pytest.raises(CatalogueError, match=message):
        read_programme(xml.encode())
    assert time.process_time() - start < 5


def test_texts_that_cannot_be_true_are_left_out():
    facts = read_programme(jwst_xml({**RECORD, "abstract": "x" * 12_001}))
    assert facts["abstract"] is None
    assert facts["title"] == RECORD["title"]


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([hst_programme, jwst_programme, jwst_xml]),
    st.lists(
        st.tuples(st.integers(0, 5000), st.integers(0, 30), st.binary(max_size=5)),
        max_size=6,
    ),
)
def test_mutations_never_crash(write, mutations):
    data = bytearray(write(RECORD))
    for place, length, new in mutations:
        place %= len(data) + 1
        data[place : place + length] = new
    try:
        facts = read_programme(bytes(data))
    except CatalogueError:
        return
    assert tuple(facts) == PROGRAMME_FIELDS


def test_paths():
    assert programme_path("JWST", "02739") == "/jwst/phase2-public/2739.aptx"
    assert programme_path("HST", 15513) == "/hst/phase2-public/15513.apt"


@pytest.mark.parametrize("number", ["../../secret", "", None, "12a", "1" * 9, "١٢"])
def test_paths_are_made_of_numbers_only(number):
    with pytest.raises(InvalidQueryError, match="proposal_id must be a number"):
        programme_path("HST", number)


def test_path_of_another_mission():
    with pytest.raises(InvalidQueryError, match="mission must be one of"):
        programme_path("TESS", 1)
