# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Read the public programme files of HST and JWST.

The Astronomer's Proposal Tool (APT) writes them: XML with the facts in
attributes for HST (``.apt``), a zip file with XML in it and the facts in elements
for JWST (``.aptx``). Elements are found by their local names in either layout.
"""

import re
from xml.parsers import expat

from paperclip.exceptions import CatalogueError, InvalidQueryError
from paperclip.mast._fields import (
    clean_line,
    clean_text,
    cycle_number,
    is_number,
    longest,
    proposal_key,
)
from paperclip.mast._unpack import is_zip, unzip

__all__ = ["MAX_BYTES", "PROGRAMME_FIELDS", "programme_path", "read_programme"]

#: Largest programme file, packed or not.
MAX_BYTES = 64_000_000
_MAX_DEPTH = 200
_MAX_NODES = 100_000
_MAX_TEXT = 1_000_000

#: Keys of what `read_programme` returns.
PROGRAMME_FIELDS = (
    "proposal_id",
    "mission",
    "cycle",
    "type",
    "category",
    "title",
    "pi",
    "abstract",
)
_ROOTS = {"hstproposal": "HST", "jwstproposal": "JWST"}
_SUFFIXES = {"HST": "apt", "JWST": "aptx"}
# where each fact may be: names of elements and attributes, in lower case
_INFORMATION = "proposalinformation"
_NUMBER = ("phase2id", "proposalid")
_KIND = ("proposalcategory", "category")
_SCIENCE = ("scientificcategory", "sciencecategory")
_SPACE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def programme_path(mission, proposal_id):
    """
    Return where the public file of a programme is on the programme server.

    Parameters
    ----------
    mission : str
        ``"HST"`` or ``"JWST"``.
    proposal_id : str or int
        Number of the programme.

    Returns
    -------
    path : str
        Such as ``"/jwst/phase2-public/2739.aptx"``.

    Raises
    ------
    InvalidQueryError
        If there are no such files for the mission, or it is no number.
    """
    if mission not in _SUFFIXES:
        msg = f"mission must be one of {sorted(_SUFFIXES)}, got {mission!r}"
        raise InvalidQueryError(msg)
    key = proposal_key(proposal_id)
    if not is_number(key):
        msg = f"proposal_id must be a number of up to six digits, got {proposal_id!r}"
        raise InvalidQueryError(msg)
    return f"/{mission.lower()}/phase2-public/{key}.{_SUFFIXES[mission]}"


def read_programme(data, mission=None):
    """
    Read the facts about a programme from its public file.

    Nothing outside of the file is ever opened, entities that a file declares are
    refused, and so are files that become larger than 64 MB.

    Parameters
    ----------
    data : bytes
        Content of an ``.apt`` (XML) or ``.aptx`` (zip) file.
    mission : str, optional
        ``"HST"`` or ``"JWST"``; read from the file when not given.

    Returns
    -------
    facts : dict
        ``proposal_id, mission, cycle, type, category, title, pi, abstract``;
        None where the file says nothing. ``type`` is the kind of programme
        (GO, GTO, DD...), ``category`` the scientific category, ``pi`` is
        "Last, First Middle" as in MAST.

    Raises
    ------
    CatalogueError
        If it is no programme file, is damaged, too large, not safe, or of
        another mission.
    """
    name = f"programme file of {mission}" if mission else "programme file"
    data = bytes(data)
    if len(data) > MAX_BYTES:
        msg = f"{name} has {len(data) / 1e6:.0f} MB; at most "
        msg += f"{MAX_BYTES / 1e6:.0f} MB are read"
        raise CatalogueError(msg)
    members = [data]
    if is_zip(data):
        members = unzip(data, name=name, suffixes=(".xml",), max_bytes=MAX_BYTES)
    problem = "a zip file without XML in it"
    for member in members:
        root, info, problem = _parse(member, name)
        if info is not None:
            return _facts(root, info, mission, name)
    msg = f"{name} holds no ProposalInformation: it is {problem}"
    raise CatalogueError(msg)


class _Node:
    """An element: its local name, attributes, text and children."""

    def __init__(self, name, attributes=()):
        self.name = name
        self.attributes = {
            _local(key): value for key, value in dict(attributes).items()
        }
        self.parts = []
        self.children = []

    @property
    def text(self):
        return "".join(self.parts)

    def child(self, *names):
        """Return the first child that has one of some names, or None."""
        return next((node for name in names for node in self.named(name)), None)

    def named(self, name):
        return [node for node in self.children if node.name == name]

    def walk(self):
        """Yield the element and everything below, in the order of the file."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))


def _local(name):
    """Return a name without namespace and prefix, in lower case."""
    return name.rpartition("}")[2].rpartition(":")[2].lower()


class _Builder:
    """Keep the first ``ProposalInformation`` of a file, and skip the rest."""

    def __init__(self, name):
        self.name = name
        self.root = None
        self.info = None
        self.complete = False
        self.depth = 0
        self.nodes = 0
        self.length = 0
        self.open = []

    def start(self, tag, attributes):
        self.depth += 1
        local = _local(tag)
        if self.depth == 1:
            self.root = _Node(local, attributes)
        elif self.open or (local == _INFORMATION and self.info is None):
            node = _Node(local, attributes)
            node.tag = tag
            if self.open:
                self.open[-1].children.append(node)
            else:
                self.info = node
            self.open.append(node)
            self.nodes += 1
        if self.depth > _MAX_DEPTH or self.nodes > _MAX_NODES:
            msg = f"{self.name} has elements nested too deeply, or too many of them"
            raise CatalogueError(msg)

    def end(self, tag):
        self.depth -= 1
        if self.open:
            self.open.pop()
            self.complete = not self.open

    def text(self, text):
        if not self.open:
            return
        self.length += len(text)
        if self.length > _MAX_TEXT:
            msg = f"{self.name} has more than {_MAX_TEXT} characters about itself"
            raise CatalogueError(msg)
        self.open[-1].parts.append(text)

    def entity(self, *args):
        msg = f"{self.name} declares entities, which no programme file needs: refused"
        raise CatalogueError(msg)


def _run(data, name):
    """Parse XML; return the builder and what went wrong, if anything."""
    builder = _Builder(name)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    # expat opens nothing by itself; with no handler, external entities are skipped
    parser.EntityDeclHandler = builder.entity
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as exc:
        if isinstance(exc, CatalogueError):
            raise
        return builder, exc
    return builder, None


def _parse(data, name):
    """Return root and information of a file, or None and what it is instead."""
    builder, problem = _run(data, name)
    if problem is not None and not builder.complete:
        # wrong bytes or control characters: once more without them
        text = _DECLARATION.sub("", _decoded(data), count=1)
        builder, again = _run(_NOT_XML.sub("", text).encode(), name)
        problem = problem if again is not None else None
    if builder.complete:
        return builder.root, builder.info, ""
    if builder.root is not None and builder.root.name == "html":
        return None, None, "a page of HTML"
    if problem is None:
        return None, None, f"XML with the root {builder.root.name!r}"
    start = data[:40].decode("utf-8", "replace")
    what = "damaged XML" if builder.root else f"no XML, it starts with {start!r}"
    return None, None, f"{what} ({problem})"


def _decoded(data):
    """Return bytes as text, whatever their encoding."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return data.decode("utf-16", "replace")
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _facts(root, info, mission, name):
    """Collect what a file says."""
    found = _ROOTS.get(root.name)
    if mission is not None and found is not None and found != mission.upper():
        msg = f"{name} is one of {found}"
        raise CatalogueError(msg)
    number = _value(info, _NUMBER) or _attribute(root, _NUMBER)
    key = proposal_key(clean_line(number or ""))
    facts = {
        "proposal_id": key if is_number(key) else None,
        "mission": found or mission,
        "cycle": cycle_number(_value(info, ("cycle",))),
        "type": _kind(info),
        "category": _science(info),
        "title": clean_line(_value(info, ("title",)) or "") or None,
        "pi": _investigator(info),
        "abstract": clean_text(_value(info, ("abstract",)) or "") or None,
    }
    for field, value in facts.items():
        if isinstance(value, str) and len(value) > longest(field):
            facts[field] = None
    return {field: facts[field] for field in PROGRAMME_FIELDS}


def _attribute(node, names):
    return next(
        (node.attributes[name] for name in names if node.attributes.get(name)), None
    )


def _value(node, names):
    """Return a fact of an element: a child's text, or an attribute."""
    for name in names:
        for child in node.named(name):
            text = "".join(part.text for part in child.walk())
            if text.strip():
                return text
    return _attribute(node, names)


def _kind(info):
    """Return the kind of programme; older files have it as an empty element."""
    text = clean_line(_value(info, _KIND) or "")
    if not text and (node := info.child(*_KIND)) is not None and node.children:
        text = node.children[0].tag.rpartition("}")[2].rpartition(":")[2]
    return text or None


def _science(info):
    """Return the scientific category, wherever below it is."""
    for node in info.walk():
        for name in _SCIENCE:
            text = node.text if node.name == name else node.attributes.get(name, "")
            if text := clean_line(text):
                # names of constants, such as "StellarPhysics"
                return text if " " in text else _SPACE.sub(" ", text)
    return None


def _investigator(info):
    """Return the PI as "Last, First Middle Suffix"."""
    node = info.child("principalinvestigator")
    if node is None:
        return None
    node = node.child("investigatoraddress") or node
    parts = {
        key: clean_line(_value(node, names) or "")
        for key, names in {
            "last": ("lastname",),
            "first": ("firstname",),
            "middle": ("middleinitial", "middlename"),
            "suffix": ("suffix",),
        }.items()
    }
    given = " ".join(p for p in (parts["first"], parts["middle"]) if p)
    name = ", ".join(p for p in (parts["last"], given, parts["suffix"]) if p)
    return name or None
