# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""An image beside the terms that describe it."""

import textwrap

import numpy as np

from paperclip._figures import (
    GREY,
    INK,
    PLAIN,
    SOFT,
    new_figure,
    read_floats,
    read_text,
)
from paperclip.exceptions import InvalidQueryError
from paperclip.utils.checks import whole_number
from paperclip.utils.optional import import_optional

from ._checks import check_table

__all__ = ["show_description"]

# what the bars may show, in order of preference: column -> label, upper end
_VALUES = {
    "similarity_percentile": ("percentile of the similarity", 100.0),
    "percentile": ("percentile of the similarity", 100.0),
    "probability": ("probability", None),
    "similarity": ("similarity", None),
}
# colours that remain distinct with colour blindness: Okabe & Ito 2008,
# https://jfly.uni-koeln.de/color/
_KIND_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def show_description(image, table, *, limit=10, value=None, figure=None):
    """
    Draw an image beside the terms that describe it.

    Parameters
    ----------
    image : array, HDU or path
        Whatever `paperclip.imaging.to_rgb` accepts.
    table : `~astropy.table.Table`
        Result of ``describe()``, best first, with the columns ``term``,
        ``kind`` (optional; it decides the colours) and one of
        ``similarity_percentile``, ``percentile``, ``probability`` and
        ``similarity``.
    limit : int, optional
        Number of terms to draw.
    value : str, optional
        Column that gives the length of the bars; by default the first of the
        four above that is there.
    figure : `~matplotlib.figure.Figure`, optional
        Figure to draw into. By default a new one is made, outside pyplot.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Two axes: the image, and horizontal bars with the best term on top.
        For an empty table the second one says "no results".

    Raises
    ------
    InvalidQueryError
        If ``table`` lacks a column or an argument is out of range.
    ImageConversionError
        If ``image`` holds no picture.
    MissingDependencyError
        If matplotlib is not installed.

    See Also
    --------
    show_results : Observations that a query found.
    """
    from paperclip.imaging import to_rgb

    import_optional("matplotlib", extra="plot", purpose="show_description()")
    value = _value_column(table, value)
    check_table(table, ("term", value), "describe()")
    rows = table[: whole_number("limit", limit)]
    rgb = to_rgb(image)

    height = max(2.6, 0.36 * len(rows) + 1.0)
    below, room = 0.75, height - 0.9
    aspect = rgb.shape[1] / rgb.shape[0]
    width = room * min(max(aspect, 0.5), 1.6)
    total = width + 6.5
    figure = new_figure(figure, (total, height))
    box = (0.15 / total, below / height, width / total, room / height)
    axes = figure.add_axes(box, facecolor="white")
    axes.set(xticks=[], yticks=[], anchor="N", label="image")
    axes.spines[:].set_visible(False)
    axes.imshow(rgb, interpolation="antialiased")
    left = (width + 2.75) / total
    axes = figure.add_axes((left, box[1], 1 - left - 0.55 / total, box[3]))
    axes.set_label("terms")
    if len(rows):
        _draw_bars(axes, rows, value)
    else:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no results", ha="center", color=SOFT, fontsize=12)
    return figure


def _value_column(table, value):
    names = getattr(table, "colnames", ())
    if value is not None:
        if value not in _VALUES:
            msg = f"value must be one of {list(_VALUES)}, got {value!r}"
            raise InvalidQueryError(msg)
        return value
    for name in _VALUES:
        if name in names and (
            not len(table) or np.isfinite(read_floats(table, name)).any()
        ):
            return name
    return "similarity"


def _draw_bars(axes, rows, value):
    """Draw horizontal bars, the first row on top, coloured by kind."""
    label, top = _VALUES[value]
    lengths = np.nan_to_num(read_floats(rows, value))
    kinds = [
        (read_text(rows[i : i + 1], "kind") or "unspecified") for i in range(len(rows))
    ]
    order = list(dict.fromkeys(sorted(kinds)))
    colours = {
        kind: _KIND_COLOURS[i % len(_KIND_COLOURS)] for i, kind in enumerate(order)
    }
    at = np.arange(len(rows))
    bars = axes.barh(at, lengths, height=0.66, color=[colours[kind] for kind in kinds])
    names = [_wrap(read_text(rows[i : i + 1], "term") or "") for i in range(len(rows))]
    axes.set_yticks(at, names, fontsize=8.5, color=INK, linespacing=1.0, **PLAIN)
    digits = ".1f" if top else ".3f"
    numbers = [f"{length:{digits}}" for length in lengths]
    axes.bar_label(bars, numbers, padding=3, fontsize=8, color=SOFT)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    low = min(0.0, lengths.min())
    axes.set_xlim(low * 1.1, top or max(lengths.max() * 1.15, 1e-6))
    axes.set_xlabel(label, fontsize=8.5, color=INK)
    axes.tick_params(axis="x", labelsize=8, colors=SOFT)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    if set(kinds) != {"unspecified"}:
        from matplotlib.patches import Patch

        handles = [Patch(color=colours[kind], label=kind) for kind in order]
        place = {"loc": "lower right", "bbox_to_anchor": (0.995, 0.01)}
        figure = axes.get_figure()
        style = {"frameon": False, "fontsize": 8, "ncols": len(order)}
        figure.legend(handles=handles, **place, **style)


def _wrap(term):
    """Break a term over at most two lines."""
    lines = textwrap.wrap(term, 34, max_lines=2, placeholder=" …")
    return "\n".join(lines)
