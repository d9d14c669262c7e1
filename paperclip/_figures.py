# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What the pictures of `paperclip.plotting` are made of."""

import functools
import io
import re

import numpy as np

from paperclip.exceptions import InvalidQueryError

__all__ = ["Row", "draw_sky", "fit_text", "new_figure", "read_floats", "read_text"]

_FAINT, _HOURS, _PLANE, _MARK = "#39435e", "#76829f", "#56B4E9", "#F0E442"
# colours of the map, and of text on white
DARK, GREY, INK, SOFT = "#0b1020", "#98a2b8", "#1a1a1a", "#595959"
# names and queries are shown as they are, never read as TeX
PLAIN = {"parse_math": False, "usetex": False}


class Row:
    """One row of a table of results, with None for whatever is missing."""

    def __init__(self, table, i):
        one = table[i : i + 1]
        for name in ("obs_id", "target_name", "instrument_name", "filters"):
            setattr(self, name, read_text(one, name))
        self.jpegURL = read_text(one, "jpegURL")
        self.proposal_id = read_text(one, "proposal_id")
        self.rank = read_text(one, "rank")
        self.similarity = read_floats(one, "similarity")[0]
        position = read_floats(one, "s_ra")[0], read_floats(one, "s_dec")[0]
        known = np.isfinite(position).all() and abs(position[1]) <= 90
        self.position = (position[0] % 360, position[1]) if known else None

    @property
    def name(self):
        return self.target_name or self.obs_id or "unnamed target"

    @property
    def setup(self):
        """Instrument and filters as one line, without wheels set to CLEAR."""
        names = re.split(r"[;,\s]+", self.filters or "")
        names = [re.sub(r"(?i)^clear[12]?[ls]?-?(?=.)", "", name) for name in names]
        used = [name for name in names if not re.fullmatch("(?i)clear[12]?[ls]?", name)]
        parts = (self.instrument_name, " ".join(used or names).strip())
        return " · ".join(part for part in parts if part)


def read_text(table, name):
    """Return the first value of a column as clean text, None if missing."""
    if name not in table.colnames:
        return None
    value = np.ma.asarray(table[name]).tolist()[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = "" if value is None else str(value)
    text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split()) or None


def read_floats(table, name):
    """Return a column as float64, angles in degrees, NaN where it is masked."""
    column = table[name]
    if hasattr(column, "to_value"):  # a Quantity
        degrees = column.unit.is_equivalent("deg")
        column = column.to_value("deg" if degrees else None)
    try:
        values = np.ma.asarray(getattr(column, "unmasked", column)).astype(float)
    except (TypeError, ValueError) as exc:
        msg = f"column {name!r} of table must hold numbers: {exc}"
        raise InvalidQueryError(msg) from exc
    mask = np.ma.getmaskarray(values) | getattr(column, "mask", False)
    return np.where(mask, np.nan, values.filled(np.nan))


def new_figure(figure, inches):
    """Return an empty figure of a given size that notebooks can show."""
    from matplotlib.figure import Figure

    if figure is None:
        figure = Figure(figsize=inches, facecolor="white")
        # without pyplot nothing tells a notebook how to show a figure
        figure._repr_png_ = functools.partial(_to_png, figure)
    elif hasattr(figure, "set_size_inches"):
        figure.set_size_inches(inches)
    else:
        msg = f"figure must be a matplotlib Figure, got {type(figure).__name__}"
        raise InvalidQueryError(msg)
    return figure


def _to_png(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def fit_text(text, points, fontsize, weight="normal"):
    """Return ``text``, cut with an ellipsis where it is wider than ``points``."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=fontsize, weight=weight)

    def width(string):
        return text_to_path.get_text_width_height_descent(string, font, False)[0]

    if len(text) < 400 and width(text) <= points:
        return text
    low, high = 0, min(len(text), 400)
    while low < high:
        middle = (low + high + 1) // 2
        if width(text[:middle].rstrip() + "…") <= points:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"


# ---- the map of the sky


def _mollweide(ra, dec):
    """
    Project positions in degrees; RA grows to the left from 0h in the middle.

    Returns x in [-2, 2] and y in [-1, 1]; Snyder 1987, USGS Professional
    Paper 1395, equations 31-1 to 31-3.
    """
    longitude = np.radians((np.asarray(ra, dtype=float) + 180) % 360 - 180)
    latitude = np.radians(np.asarray(dec, dtype=float))
    theta = latitude.copy()
    for _ in range(30):
        # near the poles the derivative vanishes together with the numerator
        slope = np.maximum(2 + 2 * np.cos(2 * theta), 1e-9)
        excess = 2 * theta + np.sin(2 * theta) - np.pi * np.sin(latitude)
        theta = np.clip(theta - excess / slope, -np.pi / 2, np.pi / 2)
    return -2 / np.pi * longitude * np.cos(theta), np.sin(theta)


@functools.cache
def _sky_lines():
    """Return the grid and the Galactic plane as lists of polylines."""
    dec = np.linspace(-90, 90, 61)
    ra = np.linspace(-179.999, 179.999, 61)
    grid = [np.transpose(_mollweide(np.full(61, h), dec)) for h in range(-120, 180, 60)]
    grid += [
        np.transpose(_mollweide(ra, np.full(61, d))) for d in (-60, -30, 0, 30, 60)
    ]
    # pole of the Galaxy and position angle in the ICRS: ESA 1997, The Hipparcos
    # and Tycho Catalogues, SP-1200, volume 1, equations 1.5.9 and 1.5.10
    pole_ra, pole_dec, node = np.radians([192.85948, 27.12825, 32.93192])
    l_node = np.radians(np.linspace(0, 360, 241)) - node
    plane_dec = np.arcsin(np.sin(l_node) * np.cos(pole_dec))
    plane_ra = pole_ra + np.arctan2(np.cos(l_node), -np.sin(l_node) * np.sin(pole_dec))
    x, y = _mollweide(np.degrees(plane_ra), np.degrees(plane_dec))
    cuts = np.flatnonzero(np.abs(np.diff(x)) > 1) + 1
    return grid, np.split(np.column_stack([x, y]), cuts)


def draw_sky(axes, row, show_text, size):
    """Draw where an observation lies, in place of its picture."""
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Ellipse

    grid, plane = _sky_lines()
    axes.set(xlim=(-2.25, 2.25), ylim=(-2.55, 1.95), aspect="equal")
    edge = {"edgecolor": GREY, "linewidth": 0.9}
    axes.add_patch(Ellipse((0, 0), 4, 2, facecolor="#141b33", **edge))
    axes.add_collection(LineCollection(grid, colors=_FAINT, linewidths=0.5))
    small = {"ha": "center", "va": "top", "color": _HOURS, "fontsize": 5}
    for hours in (8, 4, 0, 20, 16):
        x, _ = _mollweide(15 * hours, 0)
        axes.text(x, -0.03, f"{hours}h", **small)
    axes.add_collection(LineCollection(plane, colors=_PLANE, linewidths=1.1))
    centre = {"ha": "center", "color": GREY, "fontsize": 7, **PLAIN}
    lines = ["position not known"]
    if row.position:
        x, y = _mollweide(*row.position)
        axes.plot(x, y, "o", ms=11, mfc="none", mec=_MARK, mew=1.1)
        axes.plot(x, y, "o", ms=3.2, color=_MARK, mew=0)
        lines = [_sexagesimal(*row.position)]
    if row.proposal_id:
        lines.append(f"programme {row.proposal_id}")
    points = 72 * size * 0.94
    if not show_text:
        top = fit_text(row.name, points, 9, "bold")
        style = centre | {"color": "white", "fontsize": 9, "fontweight": "bold"}
        axes.text(0, 1.5, top, va="center", **style)
        lines.insert(0, fit_text(row.setup, points, 7))
    lines = [fit_text(line, points, 7) for line in lines if line]
    axes.text(0, -1.3, "\n".join(lines), va="top", linespacing=1.5, **centre)
    if show_text:
        axes.text(0, 1.5, "no preview at hand", va="center", **centre)


def _sexagesimal(ra, dec):
    """Return a position in hours and degrees, to whole seconds."""
    seconds = round(ra * 240) % 86400
    hours = f"{seconds // 3600:02d}h{seconds // 60 % 60:02d}m{seconds % 60:02d}s"
    seconds = round(abs(dec) * 3600)
    sign = "−" if dec < 0 and seconds else "+"  # noqa: RUF001
    degrees = f"{seconds // 3600:02d}°{seconds // 60 % 60:02d}′{seconds % 60:02d}″"  # noqa: RUF001
    return f"{hours}  {sign}{degrees}"
