# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Lay out tables and facts for people."""

import shutil
import sys

from paperclip.cli.terminal import clean

__all__ = ["heading_lines", "in_bytes", "to_text"]

_WIDTH = 120  # characters of a line, where no terminal says better
_NARROWEST = 12  # characters of a text that has to be cut


def to_text(table, view, *, full=False, to_screen=False):
    """
    Lay out a table for a person.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.
    view : dict of str to (str, str or None)
        Columns to show: their heading and the format of their values. Long
        texts are cut so that a line has at most 120 characters.
    full : bool, optional
        Show all columns, under their own names and without any cut.
    to_screen : bool, optional
        Take the width of the terminal, if stdout is one.

    Returns
    -------
    text : str
        Ends with a line break.
    """
    from astropy.table import MaskedColumn, Table

    shown = Table(masked=True)
    for name in table.colnames if full else view:
        if name not in table.colnames:
            continue
        column = table[name]
        label, style = view.get(name, (name, None))
        label = name if full else label
        mask = getattr(column, "mask", False)
        if column.dtype.kind in "UO":
            values = [clean(str(value)).replace("\n", " ") for value in column]
            column = MaskedColumn(values, mask=mask, dtype=str)
        else:
            column = MaskedColumn(column, mask=mask, copy=True)
        column.name, column.info.format = label, style
        shown[label] = column
    if not full:
        _shrink(shown, _line_width(to_screen=to_screen))
    align = ["<" if c.dtype.kind == "U" else ">" for c in shown.itercols()]
    units = any(str(column.info.unit or "") for column in shown.itercols())
    lines = shown.pformat(max_lines=-1, max_width=-1, align=align, show_unit=units)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _line_width(*, to_screen):
    if to_screen and sys.stdout is not None and sys.stdout.isatty():
        return shutil.get_terminal_size((_WIDTH, 24)).columns
    return _WIDTH


def _shrink(table, limit):
    """Cut the longest texts, one character at a time, until a line fits."""
    widths = {}
    for name in table.colnames:
        lines = table[[name]].pformat(max_lines=-1, max_width=-1)
        widths[name] = max(map(len, lines))
    texts = [name for name in table.colnames if table[name].dtype.kind == "U"]
    whole = dict(widths)
    while sum(widths.values()) + len(widths) - 1 > limit and texts:
        longest = max(texts, key=widths.get)
        if widths[longest] <= max(_NARROWEST, len(longest)):
            break
        widths[longest] -= 1
    for name in texts:
        width, column = widths[name], table[name]
        if width < whole[name]:
            cut = [_cut(v, width, name == "file") for v in column.filled("")]
            table[name] = type(column)(cut, mask=column.mask, dtype=str, name=name)


def _cut(text, width, is_path):
    if len(text) <= width:
        return text
    return f"…{text[1 - width :]}" if is_path else f"{text[: width - 1]}…"


def heading_lines(pairs):
    """
    Lay out names and values.

    Parameters
    ----------
    pairs : sequence of (str, object)
        What is to be said.

    Returns
    -------
    text : str
        One line each.
    """
    width = max(len(name) for name, _ in pairs) + 2
    return "".join(
        f"{name + ':':{width}}{clean(str(value))}\n" for name, value in pairs
    )


def in_bytes(number):
    """
    Write a size for a person.

    Parameters
    ----------
    number : int
        Bytes.

    Returns
    -------
    text : str
        Such as "1.23 MB"; a kB has 1000 bytes.
    """
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.3g} GB"
