# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Where the blocks of the catalogue of abstracts begin and end."""

import re

from paperclip.exceptions import CatalogueError

__all__ = ["find_blocks", "normalise"]

_MAX_EDGES = 1_000_000

# "++" and "*+" never give back what they took: a line of 100 MB takes one pass
_EDGE = re.compile(
    rb"^[ \t]*+(?:(?P<dashes>-{5,}+[ \t-]*+)$|(?=Prop(?:osal)?\.?[ \t]?Type[ \t]*:))",
    re.MULTILINE,
)


def normalise(data, name):
    """Return the bytes in an encoding like ASCII, with newlines as line ends."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        data = data.decode("utf-16", "replace").encode("utf-8", "replace")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip(b"\0 \t\r\n"):
        msg = f"{name} is empty"
        raise CatalogueError(msg)
    data = data.replace(b"\r\n", b"\n")
    # files of one line end only; a stray return in a line is a blank
    return data if b"\n" in data else data.replace(b"\r", b"\n")


def find_blocks(data, name):
    """Yield (start, end, whether a line of dashes follows) of each block."""
    start = 0
    for number, edge in enumerate(_EDGE.finditer(data)):
        if number > _MAX_EDGES:
            msg = f"{name} has more than {_MAX_EDGES} separators: it is no catalogue"
            raise CatalogueError(msg)
        if edge["dashes"]:
            if edge.start() > start:
                yield start, edge.start(), True
            start = edge.end()
        elif edge.start() > start and _header_follows(data, edge.start()):
            # two blocks glued together, or nothing but blank lines before
            yield start, edge.start(), False
            start = edge.start()
    if start < len(data):
        yield start, len(data), False


def _header_follows(data, start):
    """Return whether the lines from here on are a header, not an abstract."""
    lines = data[start : start + 4000].split(b"\n", 12)[1:12]
    expected = [b"Category", b"ID", b"Cycle", b"Title"]
    found = 0
    for line in lines:
        key = line.partition(b":")[0].strip()
        if key in expected:
            found += 1
            del expected[: expected.index(key) + 1]
        elif key == b"PI":
            break
    return found >= 3
