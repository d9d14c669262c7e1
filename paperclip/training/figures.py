# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Figures of evaluations, drawn from their records."""

import textwrap
from collections.abc import Mapping

import numpy as np

from paperclip._figures import INK, PLAIN, SOFT, fit_text, new_figure
from paperclip.exceptions import InvalidQueryError
from paperclip.utils.checks import whole_number

from ._tabulate import ALL
from .evaluation import Evaluation

__all__ = ["plot_cosines", "plot_pictures", "plot_retrieval", "plot_terms"]

_COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000",
)  # fmt: skip
_RIGHT, _WRONG = "#0072B2", "#E69F00"
_DASHES = ("-", "--", "-.", ":")


def plot_retrieval(runs, *, direction="image", subset=ALL, figure=None):
    """
    Draw retrieval accuracy against the retrieval fraction.

    Parameters
    ----------
    runs : `Evaluation`, path-like, or mapping of str to either
        What to draw; names are written into the legend.
    direction : {"image", "text"}, optional
        "image" ranks captions for pictures, "text" pictures for captions.
    subset : str, optional
        Which pictures, if there are subsets.
    figure : `~matplotlib.figure.Figure`, optional
        An empty figure to draw in.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Lines with bands that hold 95 % of the samples of proposals, and
        chance; on the left all fractions, on the right the first tenth.

    Notes
    -----
    Like Figure 2 of [1]_, except that captions are distinct.

    References
    ----------
    .. [1] Mishra-Sharma, S., Song, Y., & Thaler, J. 2024, arXiv:2403.08851
    """
    runs = _runs(runs)
    figure = new_figure(figure, (8.6, 3.8))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, 2)
    fractions = (np.linspace(0, 1, 101), np.linspace(0, 0.1, 41))
    for axes, values in zip(panels, fractions, strict=True):
        top = 0.0
        for number, (name, run) in enumerate(runs.items()):
            colour = _COLOURS[number % len(_COLOURS)]
            dashes = _DASHES[number // len(_COLOURS) % len(_DASHES)]
            curve = run.curve(values, direction=direction, subset=subset)
            x = 100 * curve["fraction"]
            axes.plot(x, curve["value"], dashes, color=colour, label=name, lw=1.6)
            axes.fill_between(
                x, curve["low"], curve["high"], color=colour, alpha=0.18, lw=0
            )
            top = max(top, np.nanmax([curve["value"], curve["high"]]))
        label = "Chance"
        axes.plot(100 * values, values, ":", color=SOFT, lw=1.2, label=label)
        axes.set_xlim(0, 100 * values[-1])
        axes.set_ylim(0, min(1.02, 1.08 * top))
        _plain_axes(axes)
        what = "captions" if direction == "image" else "pictures"
        axes.set_xlabel(f"Best part of all {what} (%)")
    panels[0].set_ylabel("Retrieval accuracy")
    panels[1].axvline(10, color=SOFT, lw=0.8)
    legend = panels[0].legend(frameon=False, fontsize=9, loc="lower right")
    for text in legend.get_texts():
        text.set(**PLAIN)
    return figure


def plot_cosines(runs, *, subset=ALL, bins=40, figure=None):
    """
    Draw how cosines of right and of shuffled pairs are distributed.

    Parameters
    ----------
    runs : `Evaluation`, path-like, or mapping of str to either
        One panel each.
    subset : str, optional
        Which pictures, if there are subsets.
    bins : int, optional
        Number of bins, the same ones in all panels.
    figure : `~matplotlib.figure.Figure`, optional
        An empty figure to draw in.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Histograms of equal area, with the area under the ROC curve.

    Notes
    -----
    Like Figure 3 of [1]_. A shuffled pair is a picture and a caption of
    another proposal.

    References
    ----------
    .. [1] Mishra-Sharma, S., Song, Y., & Thaler, J. 2024, arXiv:2403.08851
    """
    runs = _runs(runs)
    bins = whole_number("bins", bins, 2, 1000)
    columns = min(3, len(runs))
    lines = -(-len(runs) // columns)
    figure = new_figure(figure, (3.4 * columns + 0.6, 2.7 * lines + 0.3))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(
        lines, columns, squeeze=False, sharex=True, sharey=True
    ).ravel()
    values = {name: _cosines(run, subset) for name, run in runs.items()}
    every = np.concatenate([v.ravel() for pair in values.values() for v in pair])
    edges = np.linspace(every.min(), max(every.max(), every.min() + 1e-6), bins + 1)
    for axes, (name, (right, shuffled)) in zip(panels, values.items(), strict=False):
        for data, colour, label in (
            (shuffled.ravel(), _WRONG, "Shuffled pairs"),
            (right, _RIGHT, "Right pairs"),
        ):
            axes.hist(data, edges, density=True, color=colour, alpha=0.35)
            axes.hist(
                data, edges, density=True, color=colour, histtype="step", label=label,
                lw=1.4,
            )  # fmt: skip
        found = _figure_of(runs[name], "auc", subset)
        title = fit_text(name, 150, 10)
        title = f"{title}\nAUC {found}" if title else f"AUC {found}"
        axes.set_title(title, fontsize=10, loc="left", color=INK, **PLAIN)
        axes.set_xlabel("Cosine of picture and caption")
        axes.xaxis.set_tick_params(labelbottom=True)
        _plain_axes(axes)
    for axes in panels[len(runs) :]:
        axes.set_axis_off()
    for axes in panels[::columns]:
        axes.set_ylabel("Density")
    panels[0].legend(frameon=False, fontsize=9)
    return figure


def plot_terms(run, pairs, *, keys=None, count=4, terms=5, subset=ALL, figure=None):
    """
    Draw pictures with the terms that the model finds most similar.

    Parameters
    ----------
    run : `Evaluation` or path-like
        Evaluated with ``labels``, or with pairs that have them.
    pairs : `PairList`
        Where the pictures are.
    keys : sequence of str, optional
        Pictures to draw. By default some from the best to the worst, by the
        rank of their caption.
    count : int, optional
        How many, if ``keys`` is not given.
    terms : int, optional
        Terms of each, at most those that are recorded.
    subset : str, optional
        Which pictures, if there are subsets.
    figure : `~matplotlib.figure.Figure`, optional
        An empty figure to draw in.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        A picture and its terms with their cosines in each row; terms that are
        labels of the picture are darker.

    Raises
    ------
    InvalidQueryError
        If no terms are recorded, or a picture is not there.
    """
    run = _run(run)
    rows = run._rows("pictures", subset)
    if "terms" not in rows.colnames:
        msg = "run must have terms; give labels to evaluate()"
        raise InvalidQueryError(msg)
    rows = rows[_chosen(rows, "key", keys, count, _goodness(rows))]
    terms = whole_number("terms", terms, 1)
    figure = new_figure(figure, (7.2, 2.1 * len(rows)))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(len(rows), 2, squeeze=False, width_ratios=(1, 2.6))
    found = {pair.key: pair for pair in pairs}
    shown = rows["term_cosines"][:, :terms]
    limits = min(0, 1.05 * shown.min()), max(0, 1.05 * shown.max())
    for (left, right), row in zip(panels, rows, strict=True):
        pair = _pair(found, row["key"])
        _draw(left, pair)
        names, cosines = list(row["terms"][:terms]), row["term_cosines"][:terms]
        own = {label.casefold() for label in pair.texts.get("label", ())}
        colours = [
            _RIGHT if not own or name.casefold() in own else "#9CC3DC" for name in names
        ]
        places = np.arange(len(names))
        right.barh(places, cosines, color=colours, height=0.72)
        right.set_yticks(places, [fit_text(str(n), 150, 9) for n in names], fontsize=9)
        for tick in right.get_yticklabels():
            tick.set(**PLAIN)
        right.invert_yaxis()
        right.set_xlim(limits)
        _plain_axes(right)
    panels[-1][1].set_xlabel("Cosine of picture and term")
    return figure


def plot_pictures(
    run, pairs, *, texts=None, query="caption", count=4, k=5, subset=ALL, figure=None
):
    """
    Draw captions with the pictures that the model finds for them.

    Parameters
    ----------
    run : `Evaluation` or path-like
        What is drawn.
    pairs : `PairList`
        Where the pictures are.
    texts : sequence of str, optional
        Captions or classes to draw. By default some from the best to the
        worst, by average precision.
    query : {"caption", "label"}, optional
        What is searched with.
    count : int, optional
        How many, if ``texts`` is not given.
    k : int, optional
        Pictures for each, at most those that are recorded.
    subset : str, optional
        Which pictures, if there are subsets.
    figure : `~matplotlib.figure.Figure`, optional
        An empty figure to draw in.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        A text and its pictures in each row, best first; right ones are framed
        and ticked.

    Raises
    ------
    InvalidQueryError
        If there are no such queries, or a picture is not there.
    """
    run = _run(run)
    rows = run._rows("queries", subset)
    rows = rows[(rows["method"] == "model") & (rows["query"] == query)]
    if not len(rows):
        msg = f"query must be 'caption', or 'label' if there are labels, got {query!r}"
        raise InvalidQueryError(msg)
    rows = rows[_chosen(rows, "text", texts, count, rows["ap"])]
    k = min(whole_number("k", k, 1), rows["top"].shape[1])
    figure = new_figure(figure, (2.2 + 1.5 * k, 1.66 * len(rows)))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(
        len(rows), k + 1, squeeze=False, width_ratios=[1.5] + k * [1]
    )
    found = {pair.key: pair for pair in pairs}
    for (left, *others), row in zip(panels, rows, strict=True):
        left.set_axis_off()
        text = textwrap.shorten(
            " ".join(str(row["text"]).split()), 150, placeholder="…"
        )
        text = textwrap.fill(text, 28)
        style = {"fontsize": 8.5, "va": "center", "color": INK, **PLAIN}
        left.text(0, 0.5, text, transform=left.transAxes, **style)
        for place, axes in enumerate(others):
            if not row["top"][place]:
                axes.set_axis_off()
                continue
            _draw(axes, _pair(found, row["top"][place]))
            if row["top_right"][place]:
                for side in axes.spines.values():
                    side.set(visible=True, color="#009E73", linewidth=3)
                axes.set_title("✓", fontsize=13, pad=1, color="#00795A")
    return figure


# ---- what all of them need


def _run(run):
    return run if isinstance(run, Evaluation) else Evaluation.load(run)


def _runs(runs):
    if not isinstance(runs, Mapping):
        runs = _run(runs)
        return {str(runs.settings["model"]["name"]): runs}
    if not runs:
        msg = "runs must hold at least one evaluation, got none"
        raise InvalidQueryError(msg)
    return {str(name): _run(run) for name, run in runs.items()}


def _plain_axes(axes):
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _cosines(run, subset):
    rows = run._rows("pictures", subset)
    return np.asarray(rows["right"]), np.asarray(rows["shuffled"])


def _figure_of(run, name, subset):
    rows = run.metrics[run.metrics["name"] == name]
    if "subset" in rows.colnames:
        rows = rows[rows["subset"] == subset]
    value, low, high = (rows[column][0] for column in ("value", "low", "high"))
    if np.ma.is_masked(low):
        return f"{value:.3f}"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _goodness(rows):
    return -(rows["above"] + rows["tied"] / 2) / rows["candidates"]


def _chosen(rows, name, wanted, count, goodness):
    """Return places of what is wanted, or of some from the best to the worst."""
    if wanted is None:
        count = min(whole_number("count", count, 1, 100), len(rows))
        order = np.argsort(-np.asarray(goodness), kind="stable")
        return order[np.linspace(0, len(rows) - 1, count).round().astype(int)]
    place = {str(value): n for n, value in enumerate(rows[name])}
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    unknown = [value for value in names if value not in place]
    if unknown or not names:
        what = "keys" if name == "key" else "texts"
        got = repr(unknown[0]) if unknown else "none"
        msg = f"{what} must be among those that were evaluated, got {got}"
        raise InvalidQueryError(msg)
    return np.array([place[value] for value in names])


def _pair(found, key):
    if str(key) not in found:
        msg = f"pairs must be those that were evaluated, {str(key)!r} is missing"
        raise InvalidQueryError(msg)
    return found[str(key)]


def _draw(axes, pair):
    from .loader import read_picture

    picture = read_picture(pair)
    step = max(1, max(picture.shape[:2]) // 600)
    axes.imshow(picture[::step, ::step], interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
