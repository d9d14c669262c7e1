"""
.. _example-training-set:

====================
Build a training set
====================

From an archive to pairs of pictures and texts, dealt out to training, validation and
test so that these share no proposal and no place on the sky. The archive is made
up and runs on this machine, and its pictures are drawn; with the real one there are
only the lines with ``build_dataset`` to write.

*Takes* some ten seconds; no network, no model.
"""

# %%
# An archive on this machine
# --------------------------
# The tests of this package come with a server that speaks as much of MAST as is
# needed. It is part of the source, not of an installed package.

import sys
import tempfile
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

places = (Path.cwd(), *Path.cwd().parents)
source = next((p for p in places if (p / "tests" / "mast_server").is_dir()), None)
if source is None:
    msg = "run this example in the source of paperclip, or use MAST itself"
    raise RuntimeError(msg)
sys.path.insert(0, str(source))

from paperclip.training import DataSet, build_dataset
from tests.mast_server import mast_server, small_archive

folder = tempfile.TemporaryDirectory()
place = Path(folder.name) / "my-set"
archive = small_archive(n_proposals=120, n_observations=4, size=96)

# %%
# Build it
# --------
# Some cycles of one mission, at most three pictures of each proposal. In the shell:
# ``paperclip dataset build my-set --mission HST --cycles 25-64 --max-per-proposal 3``.

with mast_server(archive) as mast, mast.conf(cache_dir=folder.name):
    data = build_dataset(place, mission="HST", cycles="25-64", max_per_proposal=3)
    print(data)

    # more cycles later: what is there stays in its split
    before = dict(data.pairs["picture_id", "split"].iterrows())
    data = build_dataset(place, mission="HST", cycles="25-84", max_per_proposal=3)
    after = dict(data.pairs["picture_id", "split"].iterrows())
    print(data)
    print("moved:", sum(after[name] != split for name, split in before.items()))

    # and once more, which has nothing to do
    asked = len(mast.requests)
    build_dataset(place, mission="HST", cycles="25-84", max_per_proposal=3)
    print("requests of the last build:", len(mast.requests) - asked)

# %%
# Look at the split
# -----------------
# The report counts, and gives the distance from each split to the nearest position
# of another one, which must be larger than the radius.

report = data.report()
report["split", "rows", "fraction", "proposals", "positions", "nearest"].pprint()

fig = plt.figure(figsize=(8, 4.2), layout="constrained")
ax = fig.add_subplot(projection="mollweide")
for split, marker in zip(data.splits, "o^s", strict=True):
    rows = data.pairs[data.pairs["split"] == split]
    longitude = np.radians((np.asarray(rows["s_ra"]) + 180) % 360 - 180)
    ax.scatter(longitude, np.radians(rows["s_dec"]), s=18, marker=marker, label=split)
ax.grid(alpha=0.4)
ax.set_xticklabels([])
fig.legend(loc="outside lower center", ncols=3, frameon=False)

# %%
# Look at the pairs
# -----------------
# `~paperclip.training.DataSet.iter_samples` streams pictures and texts, here in an
# order that the generator decides.

data = DataSet.open(place)
samples = data.iter_samples("train", rng=np.random.default_rng(5))
fig, axes = plt.subplots(2, 4, figsize=(9, 6.4), layout="constrained")
for ax, sample in zip(axes.flat, samples, strict=False):
    ax.imshow(sample.picture())
    first = textwrap.fill(sample.text.partition(".")[0] + ".", 34)
    title = f"proposal {sample.meta['proposal_id']}:\n{first}"
    ax.set_title(title, fontsize=8, loc="left")
    ax.set_axis_off()

# %%
# The shards are tar files in the WebDataset layout, which other programs read too.

for split in data.splits:
    for path in data.shards(split):
        print(path.name, path.stat().st_size, "bytes")
folder.cleanup()
