# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Read the catalogue of HST proposal abstracts (``abstracts.cat``).

The catalogue is a text of some 13,000 blocks with lines of dashes between them.
A block has the lines ``Prop. Type:``, ``Category:``, ``ID:``, ``Cycle:``,
``Title:`` and ``PI:``, then free text, which is the abstract.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

from paperclip.exceptions import CatalogueError, CatalogueWarning
from paperclip.mast._blockrecord import block_record
from paperclip.mast._blocks import find_blocks, normalise
from paperclip.mast._fields import clean_line, proposal_table
from paperclip.mast._unpack import gunzip, is_gzip, is_zip, unzip
from paperclip.results import ColumnSpec
from paperclip.utils.warn import warn_user

__all__ = ["MAX_BYTES", "parse_abstracts", "read_abstracts"]

#: Largest catalogue that is read, unpacked; the real one has some 20 MB.
MAX_BYTES = 200_000_000
#: The problem of a file that breaks off.
ENDS_EARLY = "the file ends in the middle of a block, or without a separator"
_MAX_BLOCKS = 200_000
_MAX_PROBLEMS = 1000

_HTML = re.compile(rb"\s*(?:<!doctype\s+html|<html\b|<\?xml[^>]*>\s*<html\b)", re.I)
_HTML_TITLE = re.compile(rb"<title[^>]*>([^<]{0,200})", re.IGNORECASE)
_LINE = ColumnSpec("line", "int64", None, "Line of the file where the block starts")


def read_abstracts(source, *, mission="HST"):
    """
    Read a catalogue of proposal abstracts.

    Damage does not stop it: what can be read is read, and each problem is
    noted with the number of its line. UTF-8 is expected, with single lines
    in Windows-1252 (Latin-1); entities of HTML are resolved; NUL bytes, CRLF
    and byte order marks do no harm. Of two blocks with the same number the one
    with the longer abstract stays.

    Parameters
    ----------
    source : path-like or bytes
        The file, or its content; gzip and zip files are unpacked. At most 200 MB.
    mission : str, optional
        What the column ``mission`` says.

    Returns
    -------
    table : `~astropy.table.Table`
        One row per block, in the order of the file: ``proposal_id, mission,
        cycle, type, category, title, pi, abstract, source, retrieved, status,
        line``. What is empty or cannot be read is masked, ``status`` is
        ``"ok"`` or says what is wrong with the row. Paragraphs of an abstract
        are separated by a blank line. ``meta["problems"]`` is a list of dicts
        ``{"line", "proposal_id", "problem"}``.

    Raises
    ------
    CatalogueError
        If it is no such catalogue: a page of HTML, other content, a damaged
        archive, too large.
    FileNotFoundError
        If there is no such file.

    Warns
    -----
    CatalogueWarning
        If there are problems: how many, and the first.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, name = bytes(source), "catalogue"
    else:
        path = Path(source)
        data, name = catalogue_bytes(path), str(path)
    records, problems = parse_abstracts(data, name=name)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for record in records:
        record.update(mission=mission, source=name, retrieved=now)
    table = proposal_table(records, extra=[_LINE])
    table.meta["problems"] = problems
    if problems:
        text = summary_of_problems(name, len(records), problems)
        warn_user(text, CatalogueWarning)
    return table


def catalogue_bytes(path):
    """
    Return the content of a file, without asking for more memory than allowed.

    Parameters
    ----------
    path : `~pathlib.Path`
        File with a catalogue.

    Returns
    -------
    data : bytes
        Its content.

    Raises
    ------
    CatalogueError
        If it is larger than ``MAX_BYTES``.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise CatalogueError(_too_large(path, size))
    return path.read_bytes()


def summary_of_problems(name, n_records, problems):
    """
    Say how much of a catalogue is damaged, and where first.

    Parameters
    ----------
    name : str
        What it is.
    n_records : int
        Proposals that were read.
    problems : list of dict
        As of `parse_abstracts`, at least one.

    Returns
    -------
    text : str
        One sentence.
    """
    first = problems[0]
    return (
        f"{name}: {n_records} proposals read, {len(problems)} problems; the first "
        f"in line {first['line']}: {first['problem']}"
    )


def parse_abstracts(data, *, name="catalogue"):
    """
    Split the content of a catalogue into records, without building a table.

    Parameters
    ----------
    data : bytes
        Content of the file, which may be a gzip or zip file.
    name : str, optional
        What it is, for messages.

    Returns
    -------
    records : list of dict
        ``proposal_id, cycle, type, category, title, pi, abstract, status,
        line``; None where there is nothing.
    problems : list of dict
        ``line, proposal_id, problem``, by line; at most 1000, then one that
        counts the others.

    Raises
    ------
    CatalogueError
        If it is no such catalogue.
    """
    data = normalise(_unpacked(data, name), name)
    log = _Problems()
    records = []
    line, seen = 1, 0
    for number, (start, end, closed) in enumerate(find_blocks(data, name)):
        if number >= _MAX_BLOCKS:
            msg = f"{name} has more than {_MAX_BLOCKS} blocks: it is no catalogue"
            raise CatalogueError(msg)
        line += data.count(b"\n", seen, start)
        seen = start
        record = block_record(data, start, end, line, log)
        if record is not None:
            records.append(record)
        if record is not None or data[start:end].strip(b" \t\r\n\0"):
            last = (line, record, closed)
    if not any(record["proposal_id"] for record in records):
        raise CatalogueError(_what_it_is(data, name))
    _check_end(*last, log)
    return _without_repetitions(records, log), log.sorted()


class _Problems:
    """Collect problems, each with its line and the programme it is about."""

    def __init__(self):
        self.found = []
        self.more = 0
        self.not_utf8 = []

    def note(self, line, problem, proposal_id=None):
        if len(self.found) < _MAX_PROBLEMS:
            entry = {"line": line, "proposal_id": proposal_id, "problem": problem}
            self.found.append(entry)
        else:
            self.more += 1

    def sorted(self):
        found = list(self.found)
        if self.not_utf8:
            text = f"{len(self.not_utf8)} lines are not UTF-8 and were read as "
            text += "Windows-1252; this is the first"
            entry = {"line": self.not_utf8[0], "proposal_id": None, "problem": text}
            found.append(entry)
        found.sort(key=lambda entry: entry["line"])
        if self.more:
            text = f"{self.more} more problems after this line"
            line = found[-1]["line"]
            found.append({"line": line, "proposal_id": None, "problem": text})
        return found


def _unpacked(data, name):
    """Return the text of a file that may be packed."""
    if is_gzip(data):
        data = gunzip(data, name=name, max_bytes=MAX_BYTES)
    elif is_zip(data):
        suffixes = (".cat", ".txt", ".dat")
        members = unzip(data, name=name, suffixes=suffixes, max_bytes=MAX_BYTES)
        data = max(members, key=len, default=None)
        if data is None:
            msg = f"{name} is a zip file without a catalogue (*.cat, *.txt) in it"
            raise CatalogueError(msg)
    if len(data) > MAX_BYTES:
        raise CatalogueError(_too_large(name, len(data)))
    return data


def _check_end(line, record, closed, log):
    """Note a last block that seems to break off."""
    text = record["abstract"] if record else None
    if closed or (text and text[-1] in ".!?)]\"'\u201d\u2019"):
        return
    if record is None:
        log.note(line, ENDS_EARLY)
        return
    log.note(record["line"], ENDS_EARLY, record["proposal_id"])
    if record["status"] == "ok":
        record["status"] = "the abstract may be cut: the file ends here"


def _without_repetitions(records, log):
    """Keep one record of each programme, the one with the longest abstract."""
    best, kept = {}, []
    for record in records:
        key = record["proposal_id"]
        if key is None:
            kept.append(record)
            continue
        other = best.get(key)
        if other is None:
            best[key] = {"at": len(kept), "record": record}
            kept.append(record)
            continue
        one, two = other["record"], record
        if len(two["abstract"] or "") > len(one["abstract"] or ""):
            one, two = two, one
        kept[other["at"]] = other["record"] = one
        problem = f"programme {key} again (also in line {one['line']}, "
        problem += "which has the abstract that is not shorter); left out"
        log.note(two["line"], problem, key)
    return kept


def _what_it_is(data, name):
    """Return the message about content that is no catalogue."""
    if _HTML.match(data):
        title = _HTML_TITLE.search(data[:100_000])
        text = clean_line(title[1].decode("utf-8", "replace")) if title else ""
        what = f"a page of HTML{f' ({text!r})' if text else ''}"
    else:
        start = data[:40].decode("utf-8", "replace")
        what = f"something else, which starts with {start!r}"
    return (
        f"{name} is no catalogue of proposal abstracts: no block with the lines "
        f"'Prop. Type:', 'ID:', 'Title:' and 'PI:' in it. It is {what}"
    )


def _too_large(name, size):
    return (
        f"{name} has {size / 1e6:.0f} MB; a catalogue of at most "
        f"{MAX_BYTES / 1e6:.0f} MB is read"
    )
