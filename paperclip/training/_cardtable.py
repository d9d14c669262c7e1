# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The figures on a model card: the main ones, and what they say."""

import re

from ._tabulate import ALL

__all__ = ["figure_table", "main_rows", "plain_cell"]

_FEW = 12  # figures that are all shown
# what evaluate gives, in the order of the card; {} is the number of the name
_MAIN = (
    (r"top([\d.]+)", "own text in the best {} % of all texts, for a picture"),
    (r"top([\d.]+)_text", "own picture in the best {} % of all pictures, for a text"),
    (r"tfidf_top([\d.]+)_text", "the same by words alone (TF-IDF), without pictures"),
    (r"bm25_top([\d.]+)_text", "the same by words alone (BM25), without pictures"),
    (r"recall@(\d+)", "a right text among the first {}, for a picture"),
    (r"recall@(\d+)_text", "a right picture among the first {}, for a text"),
    (r"median_rank", "of the first right text, for a picture"),
    (r"median_rank_text", "of the first right picture, for a text"),
    (r"map", "mean average precision of texts for a picture"),
    (r"map_text", "mean average precision of pictures for a text"),
    (r"ndcg@(\d+)", "gain in the first {} texts, discounted by rank"),
    (r"ndcg@(\d+)_text", "gain in the first {} pictures, discounted by rank"),
    (r"proposals@(\d+)_text", "distinct proposals in the first {} pictures"),
    (r"auc", "cosines of right pairs told from those of shuffled ones"),
)
_OF_SUBSETS = 2  # the first ones are shown of every subset


def main_rows(rows):
    """
    Choose the figures that a reader looks at first.

    Parameters
    ----------
    rows : list of dict
        From `paperclip.training.card.metric_rows`.

    Returns
    -------
    chosen : list of dict
        All of up to twelve, in their order, and of more the main ones of an
        evaluation: without those per proposal, of labels and of words but for
        the accuracy, and of subsets only the accuracy.
    """
    if len(rows) <= _FEW:
        return list(rows)
    places = [(_place(row["name"]), n) for n, row in enumerate(rows)]
    chosen = [rows[n] for place, n in sorted(p for p in places if p[0] is not None)]
    return chosen or list(rows)


def _place(name):
    """Return the place of a figure on the card, or None if it is not shown."""
    base, _, subset = name.partition(", ")
    whole = subset in ("", ALL)
    for n, (pattern, _) in enumerate(_MAIN):
        if re.fullmatch(pattern, base) and (whole or n < _OF_SUBSETS):
            return ("" if whole else subset, n)
    return None


def _meaning(name):
    base = name.partition(", ")[0]
    for pattern, said in _MAIN:
        if found := re.fullmatch(pattern, base):
            return said.format(*found.groups())
    return ""


def figure_table(rows):
    """
    Return the lines of a table of figures.

    Parameters
    ----------
    rows : list of dict
        All figures.

    Returns
    -------
    lines : list of str
        Markdown. Chance and meaning have columns if they are known, and a
        sentence says where the other figures are.
    """
    chosen = main_rows(rows)
    columns = {
        "figure": [plain_cell(row["name"]) for row in chosen],
        "value": [f"{row['value']:.4g}" for row in chosen],
        "interval (95 %)": [_interval(row) for row in chosen],
        "chance": [_number(row.get("chance")) for row in chosen],
        "meaning": [_meaning(row["name"]) for row in chosen],
    }
    for name in ("chance", "meaning"):
        if not any(columns[name]):
            del columns[name]
    lines = [_line(columns), "|---" * len(columns) + "|"]
    lines += map(_line, zip(*columns.values(), strict=True))
    if len(chosen) < len(rows):
        said = f"These are {len(chosen)} of {len(rows)} figures"
        lines += ["", f"{said}; all of them are in `training.json`."]
    return lines


def _line(cells):
    return f"| {' | '.join(cells)} |"


def _interval(row):
    low, high = row["low"], row["high"]
    return "" if low is None else f"{low:.4g} to {high:.4g}"


def _number(value):
    return "" if value is None else f"{value:.4g}"


def plain_cell(text):
    """
    Keep a text from ending a cell, a line or a heading.

    Parameters
    ----------
    text : object
        Anything.

    Returns
    -------
    text : str
        One line.
    """
    return " ".join(str(text).replace("|", "/").split())
