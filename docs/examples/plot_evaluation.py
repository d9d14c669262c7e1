"""
.. _example-evaluation:

================
Evaluate a model
================

How good is a model on pictures that it has not seen, how sure is that, and is it
better than another one? Here the built-in model is asked about drawn pictures, once
with whole abstracts and once with titles; with a data set of telescope pictures
there is only ``PairList.from_dataset(data, "test")`` to write.

*Takes* about half a minute; no network.
"""

# %%
# Pairs to measure on
# -------------------
# Every four pictures belong to one made-up programme and share its abstract. The kind
# of object is in the titles, and becomes the label of a picture.

import dataclasses
import tempfile

import matplotlib.pyplot as plt

from paperclip.models import load_encoder
from paperclip.training import (
    Evaluation,
    PairList,
    evaluate,
    plot_cosines,
    plot_pictures,
    plot_retrieval,
    plot_terms,
    synthetic_pairs,
)

KINDS = ("spiral galaxy", "elliptical galaxy", "edge-on galaxy", "globular cluster",
         "ring nebula", "bipolar nebula", "comet", "galaxy pair")  # fmt: skip


def with_label(pair):
    """Return the pair with the kind of its object as a label."""
    kind = next(kind for kind in KINDS if kind in pair.texts["title"][0])
    return dataclasses.replace(pair, texts={**pair.texts, "label": (kind,)})


pairs = PairList(with_label(pair) for pair in synthetic_pairs(96, seed=3))
print(pairs, "\n", pairs[0].texts)

# %%
# Figures with intervals
# ----------------------
# Every picture is shown once and whole, every distinct caption read once. The intervals
# come from samples of programmes, since the four pictures of one are not independent.

folder = tempfile.TemporaryDirectory()
encoder = load_encoder("builtin")
abstracts = evaluate(encoder, pairs, texts="abstract", records=folder.name)
titles = evaluate(encoder, pairs, texts="title")

table = titles.metrics
names = ["top10", "top10_text", "recall@5", "median_rank", "auc", "batch96_top10",
         "class_accuracy", "class_majority", "label_precision@5", "label_proposals@5",
         "bm25_label_precision@5", "bm25_label_proposals@5"]  # fmt: skip
table[[name in names for name in table["name"]]].pprint(max_lines=-1, max_width=-1)

# %%
# The last rows search by the name of a class: by the pictures, and by the words of
# the texts alone (``bm25``). Words may be more precise, and then show fewer programmes.
#
# Retrieval accuracy
# ------------------
# The share of pictures whose own caption is in the best part of all captions. The
# records are enough to draw it; neither the model nor the pictures are needed.

again = Evaluation.load(folder.name)
_ = plot_retrieval({"Titles": titles, "Abstracts": again}, figure=plt.figure())

# %%
# Is one better than the other? Differences have an interval of their own, from the
# same samples for both, which is narrower than the two intervals suggest.

rows = titles.compare(again)
chosen = [name in ("top10", "recall@5", "auc") for name in rows["name"]]
rows[chosen].pprint(max_width=-1)

# %%
# Right and shuffled pairs
# ------------------------

_ = plot_cosines({"Titles": titles, "Abstracts": again}, figure=plt.figure())

# %%
# From a picture to terms
# -----------------------
# Four pictures from the best to the worst. Dark bars are right.

_ = plot_terms(titles, pairs, figure=plt.figure())

# %%
# From a text to pictures
# -----------------------
# Titles from the best to the worst, and the pictures of their programmes framed.

_ = plot_pictures(titles, pairs, figure=plt.figure())

# %%
# Records may be kept as long as they are of use; here they are not.

folder.cleanup()
