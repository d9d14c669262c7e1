# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A mosaic of the observations that a query found."""

import math
import warnings

import numpy as np

from paperclip._figures import (
    DARK,
    INK,
    PLAIN,
    SOFT,
    Row,
    draw_sky,
    fit_text,
    new_figure,
)
from paperclip.exceptions import FailedRowsWarning, InvalidQueryError
from paperclip.utils.checks import whole_number
from paperclip.utils.optional import import_optional

from ._checks import check_table

__all__ = ["show_results"]

_NEEDED = (
    "obs_id",
    "target_name",
    "instrument_name",
    "filters",
    "s_ra",
    "s_dec",
    "similarity",
)
_MAX_ROWS = 200


def show_results(
    table,
    *,
    images=None,
    columns=5,
    size=2.4,
    offline=None,
    timeout=None,
    show_text=True,
    figure=None,
):
    """
    Draw the observations that a query found as a mosaic.

    Each panel shows the preview of one row: from ``images`` if it is there,
    else from the cache, else from the archive. Where none can be had, the
    panel is a map of the sky with the position of the observation.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Result of a query, at most 200 rows. Used are ``obs_id``,
        ``target_name``, ``instrument_name``, ``filters``, ``s_ra`` and
        ``s_dec`` (degrees, ICRS), ``similarity``, and, if there,
        ``jpegURL``, ``rank`` and ``proposal_id``. ``table.meta["query"]`` is
        the title of the figure.
    images : path-like or mapping, optional
        Folder with pictures, named like the preview (the last part of
        ``jpegURL``) or with the ``obs_id`` in their names; or a mapping of
        ``obs_id`` to a path or a uint8 array.
    columns : int, optional
        Panels side by side.
    size : float, optional
        Width and height of a panel in inches.
    offline : bool, optional
        Do not download. The default is ``paperclip.conf.offline``, or what
        the environment variable ``HF_HUB_OFFLINE`` says.
    timeout : float, optional
        Seconds that a download may take, ``paperclip.conf.timeout`` if not
        given.
    show_text : bool, optional
        Write rank, target, instrument, filters and similarity around the
        panels.
    figure : `~matplotlib.figure.Figure`, optional
        Figure to draw into, for example from `matplotlib.pyplot.figure`. By
        default a new one is made, outside pyplot.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The mosaic, with one axes per row in the order of the table; save it
        with its ``savefig`` method. For an empty table it says "no results".

    Raises
    ------
    InvalidQueryError
        If ``table`` lacks a column or has more than 200 rows, or an argument
        is out of range.
    MissingDependencyError
        If matplotlib is not installed.

    Warns
    -----
    FailedRowsWarning
        If pictures could not be read or fetched; the message says how many
        and gives the first reason.

    See Also
    --------
    show_description : Terms that describe one image.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from paperclip.plotting import show_results
    >>> row = {"obs_id": "jw02731", "target_name": "NGC 3324", "similarity": 0.312,
    ...        "instrument_name": "NIRCAM", "filters": "F444W",
    ...        "s_ra": 159.213, "s_dec": -58.62}
    >>> figure = show_results(Table([row]), offline=True)
    >>> figure.axes[0].get_title()
    'NGC 3324'
    """
    from paperclip import _previews, conf

    purpose = "show_results()"
    import_optional("matplotlib", extra="plot", purpose=purpose)
    check_table(table, _NEEDED, "query_text()")
    if len(table) > _MAX_ROWS:
        msg = (
            f"table has {len(table)} rows; at most {_MAX_ROWS} fit into one figure, "
            f"pass table[:{_MAX_ROWS}]"
        )
        raise InvalidQueryError(msg)
    columns = whole_number("columns", columns)
    size = _check_positive("size", size, 30.0)
    timeout = _check_positive("timeout", conf.timeout if timeout is None else timeout)

    rows = [Row(table, i) for i in range(len(table))]
    pictures = _previews.load_pictures(
        [row.obs_id for row in rows],
        [row.jpegURL for row in rows],
        images=images,
        offline=_previews.is_offline(offline),
        timeout=timeout,
    )
    figure, boxes = _lay_out(figure, len(rows), columns, size, show_text)
    query = table.meta.get("query")
    if query:
        _write_query(figure, query)
    if not rows:
        axes = figure.add_axes((0, 0, 1, 0.8))
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no results", ha="center", color=SOFT, fontsize=12)
    for row, box, (picture, _reason) in zip(rows, boxes, pictures, strict=True):
        axes = figure.add_axes(box, facecolor=DARK)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if picture is None:
            draw_sky(axes, row, show_text, size)
        else:
            _draw_picture(axes, picture)
        if show_text:
            _write_caption(axes, row, size)
    _warn_of_failures([reason for _, reason in pictures if reason], len(rows))
    return figure


def _check_positive(name, number, top=math.inf):
    try:
        valid = 0 < float(number) <= top and math.isfinite(number)
    except (TypeError, ValueError):
        valid = False
    if not valid:
        limit = "" if top == math.inf else f" and at most {top:g}"
        msg = f"{name} must be positive{limit}, got {number!r}"
        raise InvalidQueryError(msg)
    return float(number)


def _lay_out(figure, count, columns, size, show_text):
    """Return a figure and the place of each panel, as fractions of it."""
    across = max(1, min(columns, count))
    down = max(1, math.ceil(count / across))
    margin, gap, head = 0.15, 0.14, 0.42
    above, below = (0.24, 0.42) if show_text else (0.0, 0.0)
    step_x, step_y = size + gap, size + above + below + gap
    width = max(2 * margin + across * step_x - gap, 3.2)
    height = head + down * step_y - gap + margin
    figure = new_figure(figure, (width, height))
    boxes = []
    for i in range(count):
        row, column = divmod(i, across)
        x = margin + column * step_x
        y = height - head - row * step_y - above - size
        boxes.append((x / width, y / height, size / width, size / height))
    return figure, boxes


def _write_query(figure, query):
    """Write what was asked for above the mosaic."""
    width, height = figure.get_size_inches()
    query = " ".join(str(query).split())
    text = f"“{fit_text(query, 72 * (width - 0.4), 11, 'bold')}”"
    place = {"x": 0.15 / width, "y": 1 - 0.1 / height, "ha": "left", "va": "top"}
    style = {"fontsize": 11, "fontweight": "bold", "color": INK}
    figure.suptitle(text, **place, **style, **PLAIN)


def _write_caption(axes, row, size):
    """Write rank and target above a panel, the rest below it."""
    points = 72 * size
    title = f"{row.rank}  {row.name}" if row.rank else row.name
    title = fit_text(title, points, 8.5, "bold")
    style = {"fontsize": 8.5, "fontweight": "bold", "color": INK, "pad": 3}
    axes.set_title(title, x=0, ha="left", **style, **PLAIN)
    lines = [fit_text(row.setup, points, 7.5)]
    if np.isfinite(row.similarity):
        lines.append(f"similarity {row.similarity:.3f}")
    style = {"fontsize": 7.5, "color": SOFT, "labelpad": 3, "linespacing": 1.25}
    axes.set_xlabel("\n".join(filter(None, lines)), loc="left", **style, **PLAIN)


def _draw_picture(axes, picture):
    """Show a whole picture in a square panel, dark beside or above it."""
    ny, nx = picture.shape[:2]
    axes.set_facecolor("black")
    axes.imshow(picture, interpolation="antialiased", aspect="equal")
    half = max(nx, ny) / 2
    axes.set_xlim(nx / 2 - 0.5 - half, nx / 2 - 0.5 + half)
    axes.set_ylim(ny / 2 - 0.5 + half, ny / 2 - 0.5 - half)


def _warn_of_failures(reasons, count):
    if reasons:
        msg = (
            f"{len(reasons)} of {count} pictures could not be read or fetched; their "
            f"panels show the position instead. The first: {reasons[0]}"
        )
        warnings.warn(msg, FailedRowsWarning, stacklevel=3)
