# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Write catalogues of abstracts and programme files, as the archive has them.

A record is a dict with any of ``proposal_id, cycle, type, category, title, pi,
abstract``; what is missing stays empty.
"""

import io
import textwrap
import zipfile
from xml.sax.saxutils import escape, quoteattr

__all__ = ["catalogue_text", "hst_programme", "jwst_programme", "wrap"]

SEPARATOR = "-" * 78


def wrap(text, width):
    """Break a text at its spaces only, each paragraph for itself."""
    options = {"break_long_words": False, "break_on_hyphens": False}
    return "\n\n".join(
        textwrap.fill(part, width, **options) for part in text.split("\n\n")
    )


def _block(record, width, indent):
    title = wrap(str(record.get("title") or ""), width)
    lines = [
        f"Prop. Type: {record.get('type') or ''}",
        f"Category: {record.get('category') or ''}",
        f"ID: {record.get('proposal_id') or ''}",
        f"Cycle: {'' if record.get('cycle') is None else record['cycle']}",
        f"Title: {title}",
        f"PI: {record.get('pi') or ''}",
        wrap(str(record.get("abstract") or ""), width),
    ]
    return textwrap.indent("\n".join(lines), indent)


def catalogue_text(records, *, width=78, indent="", newline="\n", encoding="utf-8"):
    """Return the bytes of a catalogue (``abstracts.cat``) of some records."""
    parts = [SEPARATOR]
    for record in records:
        parts += [_block(record, width, indent), SEPARATOR]
    return ("\n".join(parts) + "\n").replace("\n", newline).encode(encoding)


def _names(record):
    """Return the (last, first) name of the PI."""
    last, _, first = str(record.get("pi") or "").partition(", ")
    return last, first


def hst_programme(record):
    """Return the bytes of an ``.apt`` file of HST: facts in attributes."""
    last, first = _names(record)
    cycle = "" if record.get("cycle") is None else record["cycle"]
    kind = quoteattr(str(record.get("type") or ""))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<HSTProposal Phase="PHASE2" Phase2ID={quoteattr(str(record.get("proposal_id") or ""))}>
  <ProposalInformation Category={kind} Cycle="{cycle}">
    <Title>{escape(str(record.get("title") or ""))}</Title>
    <Abstract>{escape(str(record.get("abstract") or ""))}</Abstract>
    <Phase1ProposalInformation ProposalSize="SMALL">
      <ScientificCategory>{escape(str(record.get("category") or ""))}\
</ScientificCategory>
    </Phase1ProposalInformation>
    <PrincipalInvestigator FirstName={quoteattr(first)} LastName={quoteattr(last)}/>
    <CoInvestigator FirstName="Some" LastName="Other"/>
  </ProposalInformation>
  <Targets><FixedTarget Name="T1"><Title>no title of the programme</Title>\
</FixedTarget></Targets>
</HSTProposal>
""".encode()


def jwst_xml(record):
    """Return the XML inside of an ``.aptx`` file of JWST: facts in elements."""
    last, first = _names(record)
    cycle = "" if record.get("cycle") is None else record["cycle"]
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<JwstProposal schemaVersion="51" xmlns="http://www.stsci.edu/JWST/APT"
 xmlns:nci="http://www.stsci.edu/JWST/APT/Template/NircamImaging">
  <ProposalInformation>
    <ProposalPhase>Approved</ProposalPhase>
    <Title>{escape(str(record.get("title") or ""))}</Title>
    <Abstract>{escape(str(record.get("abstract") or ""))}</Abstract>
    <ProposalID>{escape(str(record.get("proposal_id") or ""))}</ProposalID>
    <ProposalCategory>{escape(str(record.get("type") or ""))}</ProposalCategory>
    <ScientificCategory>{escape(str(record.get("category") or ""))}</ScientificCategory>
    <Cycle>{cycle}</Cycle>
    <PrincipalInvestigator><InvestigatorAddress>
      <FirstName>{escape(first)}</FirstName><LastName>{escape(last)}</LastName>
    </InvestigatorAddress></PrincipalInvestigator>
    <CoInvestigator><InvestigatorAddress>
      <FirstName>Some</FirstName><LastName>Other</LastName>
    </InvestigatorAddress></CoInvestigator>
  </ProposalInformation>
  <Targets><Target><Category>Galaxy</Category></Target></Targets>
  <DataRequests><nci:NircamImaging><nci:Title>no</nci:Title></nci:NircamImaging>
  </DataRequests>
</JwstProposal>
""".encode()


def jwst_programme(record):
    """Return the bytes of an ``.aptx`` file of JWST: a zip with XML inside."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest", "APT file\n")
        archive.writestr(f"{record.get('proposal_id') or 'x'}.xml", jwst_xml(record))
    return stream.getvalue()
