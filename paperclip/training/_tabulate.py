# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From records to a table of figures with intervals, chance and differences."""

from dataclasses import dataclass

import numpy as np
from astropy.table import MaskedColumn, Table, vstack

from ._bootstrap import Area, ClassMean, Mean, Median, draw_weights, interval
from ._measure import BATCH
from ._ties import Ranks
from .baselines import METHODS

__all__ = ["curve_of", "difference", "ranks_of", "tabulate"]

ALL = "all"
_NUMBERS = ("value", "low", "high", "chance")


@dataclass(frozen=True)
class Entry:
    """One row to be: the figure, the same at chance (or None), and who counts."""

    figure: object
    chance: float | None
    units: str


def ranks_of(pictures, direction="image"):
    """
    Return the ranks that are recorded.

    Parameters
    ----------
    pictures : `~astropy.table.Table`
        Records of the pictures.
    direction : {"image", "text"}
        Captions for a picture, or pictures for a caption.

    Returns
    -------
    ranks : paperclip.training.metrics.Ranks
        One for each picture.
    """
    end = "" if direction == "image" else "_text"
    names = ("above", "tied", "candidates")
    return Ranks(*(np.asarray(pictures[name + end]) for name in names))


def entries(pictures, queries, settings):
    """
    Return all figures of one subset.

    Parameters
    ----------
    pictures, queries : `~astropy.table.Table`
        Records.
    settings : dict
        With ``ks`` and ``fraction``.

    Returns
    -------
    found : dict of str to Entry
        In the order of the table.
    units : dict of str to list of str
        Names of the proposals, and of the classes.
    """
    proposals = sorted(set(pictures["group"]))
    units = {"proposal": proposals}
    number = {name: n for n, name in enumerate(proposals)}
    unit = np.array([number[name] for name in pictures["group"]])
    found = {}
    for macro in (False, True):
        end = "_macro" if macro else ""
        add = _Adder(found, end, unit, len(proposals), macro)
        _of_pictures(add, pictures, settings)
        rows = _part(queries, "model", "caption")
        captions = np.array([number[name] for name in rows["group"]])
        _of_queries(_Adder(found, end, captions, len(proposals), macro), rows, settings)
    if "class_hit" in pictures.colnames:
        _of_classes(found, pictures, unit, len(proposals))
    _of_labels(found, units, queries, settings)
    for method in METHODS:
        rows = _part(queries, method, "caption")
        if not len(rows):
            continue
        for macro in (False, True):
            end = "_macro" if macro else ""
            add = _Adder(found, end, captions, len(proposals), macro, f"{method}_")
            _of_queries(add, rows, settings, within=True)
    return found, units


class _Adder:
    """Put figures into a dict, with what they are at chance."""

    def __init__(self, found, end, unit, n_units, macro, start=""):
        self.found, self.start, self.end = found, start, end
        self.unit, self.n_units, self.macro = unit, n_units, macro

    def __call__(self, name, values, chance, kind=Mean, **options):
        make = {"macro": self.macro, **options}
        figure = kind(values, self.unit, self.n_units, **make)
        if chance is not None and np.ndim(chance):
            chance = kind(chance, self.unit, self.n_units, **make).value
        name = f"{self.start}{name}{self.end}"
        self.found[name] = Entry(figure, chance, "proposal")


def _top(settings):
    return f"top{100 * settings['fraction']:g}"


def _part(queries, method, query):
    return queries[(queries["method"] == method) & (queries["query"] == query)]


def _of_pictures(add, rows, settings):
    ks, fraction, top = settings["ks"], settings["fraction"], _top(settings)
    ranks, back = ranks_of(rows), ranks_of(rows, "text")
    none = ranks.at_chance()
    add(top, ranks.within_fraction(fraction), fraction)
    add(f"{top}_text", back.within_fraction(fraction), fraction)
    for k in ks:
        add(f"recall@{k}", ranks.within(k), none.within(k))
    add("median_rank", ranks.expected(), none.expected(), Median)
    add("map", ranks.reciprocal(), none.reciprocal())
    add(f"ndcg@{max(ks)}", ranks.gain(max(ks)), none.gain(max(ks)))
    chance = (np.log(ranks.candidates) + np.log(back.candidates)) / 2
    add("loss", rows["loss"], chance)
    add("auc", rows["right"], 0.5, Area, wrong=rows["shuffled"])
    add("cosine_right", rows["right"], None)
    add("cosine_shuffled", np.mean(rows["shuffled"], axis=1), None)
    add(f"batch{min(BATCH, len(rows))}_{top}", rows["batch"], fraction)


def _of_queries(add, rows, settings, *, within=False):
    ks, top = settings["ks"], _top(settings)
    names = {f"recall@{k}_text": f"success@{k}" for k in ks}
    names |= {"map_text": "ap", f"ndcg@{max(ks)}_text": "ndcg"}
    names |= {f"proposals@{k}_text": f"proposals@{k}" for k in ks if k > 1}
    if within:
        base = {"base": rows["n_right"]}
        add(f"{top}_text", rows["within"], rows["within_chance"], **base)
    for name, column in names.items():
        add(name, rows[column], rows[f"{column}_chance"])
    add("median_rank_text", rows["first"], rows["first_chance"], Median)


def _of_classes(found, pictures, unit, n_units):
    known = np.isfinite(pictures["class_hit"])
    if not known.any():
        return
    rows, unit = pictures[known], unit[known]
    hit, chance = rows["class_hit"], rows["class_chance"]
    for end, macro in (("", False), ("_macro", True)):
        add = _Adder(found, end, unit, n_units, macro)
        add("class_accuracy", hit, chance)
    classes = {"classes": rows["class"]}
    found["class_accuracy_balanced"] = Entry(
        ClassMean(hit, unit, n_units, **classes),
        ClassMean(chance, unit, n_units, **classes).value,
        "proposal",
    )
    same = (rows["class"] == _most_frequent(rows["class"])).astype(float)
    found["class_majority"] = Entry(Mean(same, unit, n_units), None, "proposal")


def _most_frequent(names):
    values, counts = np.unique(names, return_counts=True)
    return values[counts.argmax()]


def _of_labels(found, units, queries, settings):
    for method in ("model", *METHODS):
        rows = _part(queries, method, "label")
        if not len(rows):
            continue
        units["class"] = sorted(rows["group"])
        number = {name: n for n, name in enumerate(units["class"])}
        unit = np.array([number[name] for name in rows["group"]])
        start = "label_" if method == "model" else f"{method}_label_"
        names = {"map": "ap"}
        names |= {f"precision@{k}": f"precision@{k}" for k in settings["ks"]}
        names |= {f"proposals@{k}": f"proposals@{k}" for k in settings["ks"] if k > 1}
        for name, column in names.items():
            figure = Mean(rows[column], unit, len(number))
            chance = Mean(rows[f"{column}_chance"], unit, len(number)).value
            found[start + name] = Entry(figure, chance, "class")


# ---- tables


def tabulate(pictures, queries, settings):
    """
    Return the table of figures.

    Parameters
    ----------
    pictures, queries : `~astropy.table.Table`
        Records of all subsets.
    settings : dict
        With ``ks``, ``fraction``, ``bootstrap``, ``seed`` and ``by``.

    Returns
    -------
    metrics : `~astropy.table.Table`
        See `~paperclip.training.Evaluation`.
    """
    parts = []
    for subset in dict.fromkeys(pictures["subset"]):
        inside = pictures[pictures["subset"] == subset]
        found, units = entries(inside, queries[queries["subset"] == subset], settings)
        draws = _draws(found, units, settings)
        rows = []
        for name, entry in found.items():
            value = entry.figure.value
            low, high = interval(draws[name])
            low, high = np.fmin(low, value), np.fmax(high, value)
            if not settings["bootstrap"]:
                low = high = np.nan
            chance = np.nan if entry.chance is None else entry.chance
            n = int((entry.figure.base > 0).sum())
            rows.append((name, subset, value, low, high, chance, n))
        names = ("name", "subset", *_NUMBERS, "n")
        parts.append(Table(rows=rows, names=names))
    return _finished(vstack(parts, metadata_conflicts="silent"), settings)


def difference(one, other, settings):
    """
    Return the paired differences of two evaluations.

    Parameters
    ----------
    one, other : tuple of `~astropy.table.Table`
        Pictures and queries of each.
    settings : dict
        Of the first one.

    Returns
    -------
    table : `~astropy.table.Table`
        See `~paperclip.training.Evaluation.compare`.
    """
    parts = []
    for subset in dict.fromkeys(one[0]["subset"]):
        pair = []
        for tables in (one, other):
            chosen = [table[table["subset"] == subset] for table in tables]
            if len(chosen[0]):
                pair.append(entries(*chosen, settings))
        if len(pair) < 2:
            continue
        (first, units), (second, there) = pair
        names = [
            name
            for name, entry in first.items()
            if name in second and units[entry.units] == there[entry.units]
        ]
        draws = [
            _draws({name: found[name] for name in names}, units, settings)
            for found in (first, second)
        ]
        rows = []
        for name in names:
            values = first[name].figure.value, second[name].figure.value
            low, high = interval(draws[0][name] - draws[1][name])
            n = int((first[name].figure.base > 0).sum())
            rows.append((name, subset, *values, values[0] - values[1], low, high, n))
        columns = ("name", "subset", "value", "other", "difference", "low", "high", "n")
        parts.append(Table(rows=rows, names=columns))
    return _finished(vstack(parts, metadata_conflicts="silent"), settings)


def _draws(found, units, settings):
    """Return name -> the figure of every sample of proposals."""
    draws = {name: [] for name in found}
    for kind, names in units.items():
        chosen = {name: e.figure for name, e in found.items() if e.units == kind}
        if not chosen:
            continue
        for weights in draw_weights(
            len(names), settings["bootstrap"], settings["seed"]
        ):
            for name, figure in chosen.items():
                draws[name].append(figure(weights))
    return {
        name: np.concatenate(parts) if parts else np.empty(0)
        for name, parts in draws.items()
    }


def _finished(table, settings):
    """Mask what is not known, and leave out the subset if there is one only."""
    for name in table.colnames:
        if table[name].dtype.kind == "f":
            values = np.asarray(table[name])
            mask = ~np.isfinite(values)
            table[name] = MaskedColumn(values, mask=mask, format=".4f")
    if not settings["by"]:
        table.remove_column("subset")
    return table


def curve_of(pictures, fractions, direction, *, bootstrap, seed):
    """
    Return retrieval accuracy against the retrieval fraction.

    Parameters
    ----------
    pictures : `~astropy.table.Table`
        Records of one subset.
    fractions : `~numpy.ndarray`
        From 0 to 1.
    direction : {"image", "text"}
        What is the query.
    bootstrap, seed : int
        Samples of proposals.

    Returns
    -------
    table : `~astropy.table.Table`
        ``fraction``, ``value``, ``low``, ``high``, ``chance``.
    """
    proposals, unit = np.unique(pictures["group"], return_inverse=True)
    ranks = ranks_of(pictures, direction)
    figures = [
        Mean(ranks.within_fraction(fraction), unit, len(proposals))
        for fraction in fractions
    ]
    value = np.array([figure.value for figure in figures])
    draws = [
        np.stack([figure(weights) for figure in figures])
        for weights in draw_weights(len(proposals), bootstrap, seed)
    ]
    limits = np.full((2, len(value)), np.nan)
    if draws:
        limits = np.array([interval(row) for row in np.concatenate(draws, axis=1)]).T
    columns = {"fraction": fractions, "value": value}
    columns |= {"low": limits[0], "high": limits[1], "chance": fractions}
    return Table(columns)
