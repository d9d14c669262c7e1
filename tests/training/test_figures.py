# Licensed under a 3-clause BSD style license - see LICENSE.rst
import io

import numpy as np
import pytest

from paperclip.exceptions import DataSetError, InvalidQueryError
from paperclip.training import (
    evaluate,
    plot_cosines,
    plot_pictures,
    plot_retrieval,
    plot_terms,
)

from .test_evaluate import COLOURS, ColourEncoder, coloured


@pytest.fixture(scope="module", name="pairs")
def fixture_pairs():
    return coloured(label=True, mission=["HST", "JWST"])


@pytest.fixture(scope="module", name="run")
def fixture_run(pairs):
    labels = [*COLOURS, "light"]
    options = {"bootstrap": 20, "by": "mission", "labels": labels}
    return evaluate(ColourEncoder(0.4), pairs, **options)


def drawn(figure):
    """Return the figure as an array; it must not be blank."""
    stream = io.BytesIO()
    figure.savefig(stream, format="rgba", dpi=40)
    pixels = np.frombuffer(stream.getvalue(), np.uint8)
    assert pixels.std() > 1
    return pixels


def words(figure):
    """Return all texts of a figure."""
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


def test_retrieval_is_drawn_for_each_run(run, tmp_path):
    run.save(tmp_path / "run")
    figure = plot_retrieval({"$one$": run, "two": tmp_path / "run"})
    drawn(figure)
    assert {"$one$", "two", "Chance"} <= set(words(figure))
    left, right = figure.axes
    first, second, chance = left.get_lines()
    curve = run.curve()
    assert np.allclose(first.get_ydata(), curve["value"])
    assert np.allclose(first.get_ydata(), second.get_ydata())
    assert np.allclose(chance.get_ydata(), curve["fraction"])
    assert right.get_xlim() == (0, 10)
    figure = plot_retrieval(run, direction="text", subset="HST")
    assert "Best part of all pictures (%)" in words(figure)


def test_cosines_are_drawn_with_their_area(run):
    figure = plot_cosines({"one": run, "two": run, "three": run, "four": run})
    drawn(figure)
    assert len(figure.axes) == 6
    row = run.metrics[(run.metrics["name"] == "auc") & (run.metrics["subset"] == "all")]
    text = f"AUC {row['value'][0]:.3f} ({row['low'][0]:.3f} to {row['high'][0]:.3f})"
    assert f"one\n{text}" in [a.get_title(loc="left") for a in figure.axes]
    none = evaluate(ColourEncoder(), coloured(), bootstrap=0)
    assert f"AUC {none['auc']:.3f}" in plot_cosines(none).axes[0].get_title(loc="left")


def test_terms_are_drawn_beside_pictures(run, pairs):
    figure = plot_terms(run, pairs, keys=["red-1", "blue-0"], terms=3)
    drawn(figure)
    pictures, bars = figure.axes[0], figure.axes[1]
    assert (np.asarray(pictures.images[0].get_array()) == pairs[1].picture).all()
    row = run.pictures[run.pictures["key"] == "red-1"][0]
    assert [t.get_text() for t in bars.get_yticklabels()] == list(row["terms"][:3])
    assert len(plot_terms(run, pairs).axes) == 8


def test_pictures_are_drawn_beside_texts(run, pairs):
    figure = plot_pictures(run, pairs, texts=["red light"], k=4)
    drawn(figure)
    row = run.queries[(run.queries["text"] == "red light")][0]
    ticks = [axes.get_title() for axes in figure.axes[1:]]
    assert ticks == ["✓" if right else "" for right in row["top_right"][:4]]
    assert "red light" in words(figure)
    drawn(plot_pictures(run, pairs, query="label", count=2, k=50, subset="JWST"))


def test_examples_are_from_best_to_worst(run, pairs):
    figure = plot_pictures(run, pairs, count=6, k=1)
    rows = run.queries[
        (run.queries["subset"] == "all")
        & (run.queries["query"] == "caption")
        & (run.queries["method"] == "model")
    ]
    order = np.argsort(-rows["ap"], kind="stable")
    shown = [axes.texts[0].get_text() for axes in figure.axes[::2]]
    assert shown == list(rows["text"][order])


def test_bad_arguments_are_refused(run, pairs, tmp_path):
    with pytest.raises(InvalidQueryError, match="runs must hold at least one"):
        plot_retrieval({})
    with pytest.raises(DataSetError, match="is no evaluation"):
        plot_cosines(tmp_path)
    with pytest.raises(InvalidQueryError, match="bins must be at least 2"):
        plot_cosines(run, bins=1)
    with pytest.raises(InvalidQueryError, match=r"keys must be among .* got 'x'"):
        plot_terms(run, pairs, keys=["x"])
    with pytest.raises(InvalidQueryError, match="pairs must be those that were"):
        plot_terms(run, pairs[:1])
    with pytest.raises(InvalidQueryError, match=r"texts must be among .* got none"):
        plot_pictures(run, pairs, texts=[])
    with pytest.raises(InvalidQueryError, match="query must be 'caption'"):
        plot_pictures(run, pairs, query="title")
    plain = evaluate(ColourEncoder(), coloured(), bootstrap=0)
    with pytest.raises(InvalidQueryError, match="run must have terms; give labels"):
        plot_terms(plain, pairs)
