"""
.. _example-query-text:

=========================================
Find observations that look like a phrase
=========================================

A text query over the built-in index of JWST and HST observations: the table that
comes back, its mosaic, and where on the sky the answers to two questions lie.

*Takes* some seconds, most of them for loading the model; no network.
"""

# %%
# Ask
# ---
# The answer is an `~astropy.table.Table`, best first. The similarity compares the
# text with the preview of an observation, whose title the model does not see.

import matplotlib.pyplot as plt
import numpy as np

from paperclip import Paperclip
from paperclip.plotting import show_results

table = Paperclip.query_text("face-on spiral galaxy", limit=6)
shown = ["rank", "similarity", "target_name", "instrument_name", "filters"]
table["similarity"].info.format = ".3f"
table[shown].pprint(show_unit=False, max_width=-1)

# %%
# Look
# ----
# With a network, every panel shows the preview from the archive. These pages are
# made without one, so the panels show where the observations lie: right ascension
# grows to the left, and the Galactic plane is blue.

figure = show_results(table, columns=3, offline=True, figure=plt.figure())

# %%
# Condition
# ---------
# What the archive knows exactly is better said in SQL than in words.

webb = Paperclip.query_text(
    "star-forming region with pillars of dust",
    limit=5,
    where="obs_collection = 'JWST' AND instrument_name LIKE 'NIRCAM%'",
)
webb["similarity"].info.format = ".3f"
webb[shown].pprint(show_unit=False, max_width=-1)

# %%
# Compare
# -------
# Galaxies are found away from the plane of the Milky Way, star clusters and nebulae
# closer to it. Nobody told the model about coordinates: this is a check of the
# answers against something that they were not made from.

from astropy.coordinates import SkyCoord

fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
bins = np.linspace(0, 90, 10)
for text in ("distant galaxies in a deep field", "nebula with young stars"):
    found = Paperclip.query_text(text, limit=60)
    position = SkyCoord(found["s_ra"], found["s_dec"]).galactic
    latitude = np.abs(position.b.deg)
    ax.hist(latitude, bins, histtype="step", linewidth=2, label=text)
ax.set(xlabel="distance from the Galactic plane (degrees)", ylabel="observations")
ax.legend(frameon=False)

# %%
# How it was made is part of the table, and goes into the files it is written to.

for name, value in table.meta.items():
    if name in {"query", "model", "indexver", "n_index", "n_props"}:
        print(f"{name}: {value}")
