# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What one block of the catalogue of abstracts says, and what is wrong with it."""

import re

from paperclip.mast._fields import (
    clean_line,
    clean_text,
    cycle_number,
    is_number,
    longest,
    proposal_key,
)

__all__ = ["block_record"]

_MAX_BLOCK = 1_000_000

_FIELD = re.compile(
    r"\s*(Prop(?:osal)?\.?\s?Type|Category|ID|Cycle|Title|PI)\s*:(.*)", re.DOTALL
)
_KEYS = {
    "Category": "category",
    "ID": "proposal_id",
    "Cycle": "cycle",
    "Title": "title",
    "PI": "pi",
}
# Windows-1252 where it has a character, Latin-1 where it has none
_WINDOWS = {
    code: text
    for code in range(0x80, 0xA0)
    if (text := bytes([code]).decode("cp1252", "ignore"))
}


def block_record(data, start, end, line, log):
    """
    Return what a block says, or None when it is none.

    Parameters
    ----------
    data : bytes
        The catalogue.
    start, end : int
        Where the block lies in it.
    line : int
        Number of its first line.
    log : object
        Problems are told to its ``note(line, problem, proposal_id)``; lines that
        are not UTF-8 are appended to its list ``not_utf8``.

    Returns
    -------
    record : dict or None
        As of `~paperclip.mast.abstracts.parse_abstracts`.
    """
    if end - start > _MAX_BLOCK:
        log.note(line, f"{end - start} bytes without a separator, left out")
        return None
    raw = data[start:end]
    body = raw.lstrip(b" \t\r\n")
    if not body:
        return None
    line += raw.count(b"\n", 0, len(raw) - len(body))
    block = _split(_decoded(body, line, log), line)
    if not block.values:
        log.note(line, "text without a header, left out")
        return None
    if not block.text and not block.value("proposal_id") and not block.value("title"):
        log.note(line, "block without a number, title and abstract, left out")
        return None
    return _checked(block, log)


def _decoded(data, line, log):
    """Return the lines of a block as text."""
    if b"\0" in data:
        where = line + data.count(b"\n", 0, data.index(b"\0"))
        log.note(where, "NUL bytes, left out")
        data = data.replace(b"\0", b"")
    try:
        return data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        pass
    lines = []
    for number, raw in enumerate(data.split(b"\n"), start=line):
        try:
            lines.append(raw.decode("utf-8"))
        except UnicodeDecodeError:
            log.not_utf8.append(number)
            lines.append(raw.decode("latin-1").translate(_WINDOWS))
    return lines


class _Block:
    """The lines of a block, sorted by what they say."""

    def __init__(self, line):
        self.line = line
        self.values = {}  # field: its lines
        self.where = {}  # field: number of its line
        self.text = []
        self.wrong = []  # (line, what)

    def value(self, name):
        return clean_line(" ".join(self.values.get(name, [])))


def _split(lines, first):
    """Tell the header of a block from the abstract after it."""
    block, last, stray = _Block(first), None, None
    for number, text in enumerate(lines):
        match = _FIELD.match(text)
        key = _KEYS.get(match[1], "type") if match else None
        if key is not None and key not in block.values:
            block.values[key], last = [match[2]], key
            block.where[key] = first + number
            if key == "pi":
                block.text = lines[number + 1 :]
                break
        elif last in {"title", "category"}:
            block.values[last].append(text)
        elif text.strip() and stray is None:
            stray = first + number
    if stray is not None:
        block.wrong.append((stray, "text between the lines of a header, left out"))
    if "pi" not in block.values and "title" in block.values:
        # nothing says where the title ends
        title = block.values["title"]
        block.values["title"], block.text = title[:1], title[1:]
        problem = "no PI; what follows the first line of the title counts as abstract"
        block.wrong.append((block.where["title"], problem))
    return block


def _checked(block, log):
    """Return the record of a block, with a status that says what is wrong."""
    record = {"line": block.line, "proposal_id": None}
    wrong = block.wrong
    for name in ("type", "category", "title", "pi"):
        record[name] = block.value(name) or None
    record["abstract"] = clean_text("\n".join(block.text)) or None
    for name in ("type", "category", "title", "pi", "abstract"):
        if record[name] is not None and len(record[name]) > longest(name):
            line = block.where.get(name, block.line)
            wrong.append((line, f"{name} of {len(record[name])} characters, left out"))
            record[name] = None
    key = proposal_key(block.value("proposal_id"))
    if is_number(key):
        record["proposal_id"] = key
    else:
        problem = "no ID" if key is None else f"ID {key[:40]!r} is no number"
        wrong.append((block.where.get("proposal_id", block.line), problem))
    cycle = block.value("cycle")
    record["cycle"] = cycle_number(cycle)
    if cycle and not (cycle.isascii() and cycle.isdigit() and len(cycle) < 4):
        wrong.append((block.where["cycle"], f"cycle {cycle[:40]!r} is no number"))
    for line, problem in wrong:
        log.note(line, problem, record["proposal_id"])
    problems = [problem for _, problem in wrong]
    problems += ["no abstract"] if record["abstract"] is None else []
    record["status"] = "; ".join(problems) or "ok"
    return record
