"""
.. _example-region-and-text:

==========================
Search a region with words
==========================

A region of the sky and a text in one query: only observations whose footprints
meet the region are compared with the text. Two regions, one across right ascension
0, are searched and drawn.

*Takes* some seconds, most of them for loading the model; no network.
"""

# %%
# A region
# --------
# Any sky region of the package *regions* will do, in any frame, or several in a
# list. This is a band along the Galactic plane towards the centre of the Galaxy, and
# a circle at the south Galactic pole, near which right ascension 0 lies.

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from regions import CircleSkyRegion, RectangleSkyRegion

from paperclip import Paperclip

centre = SkyCoord(0, 0, unit="deg", frame="galactic")
band = RectangleSkyRegion(centre, width=120 * u.deg, height=20 * u.deg)
pole = CircleSkyRegion(SkyCoord(0, -90, unit="deg", frame="galactic"), 35 * u.deg)

# %%
# The same words in both
# ----------------------
# ``n_match`` is the number of observations in the region, which are then ranked;
# ``similarity_percentile`` still compares with the whole index.

text = "cloud of gas and dust with young stars"
shown = ["rank", "similarity", "similarity_percentile", "target_name"]
found = {}
for name, region in (("band", band), ("pole", pole)):
    table = found[name] = Paperclip.query_text(text, limit=30, region=region)
    table["similarity"].info.format = ".3f"
    table["similarity_percentile"].info.format = ".1f"
    print(f"{name}: {table.meta['n_match']} of {table.meta['n_index']} observations")
    table[shown][:3].pprint(show_unit=False, max_width=-1)

# %%
# Further conditions
# ------------------
# Instrument, filters, mission, programme, target and time go into the same call.

table = Paperclip.query_text(
    text,
    limit=3,
    region=[band, pole],
    instrument_name="nircam*",
    t_min="2022-07-01",
    columns=["rank", "similarity", "target_name", "instrument_name", "t_min"],
)
table.pprint(show_unit=False, max_width=-1)

# %%
# On the sky
# ----------
# Every observation of the index that has a position is a dot; those that were found
# are coloured by their similarity to the text.

figure = plt.figure(figsize=(8, 4.4), layout="constrained")
ax = figure.add_subplot(projection="mollweide")
ax.grid(visible=True, alpha=0.3)


def on_map(ra, dec):
    """Return Galactic coordinates as the projection takes them, l to the left."""
    place = SkyCoord(ra, dec, unit="deg").galactic
    return -place.l.wrap_at(180 * u.deg).rad, place.b.rad


index = Paperclip.index.to_table(["s_ra", "s_dec"])
known = np.isfinite(np.ma.filled(np.ma.asarray(index["s_ra"]), np.nan))
ax.plot(*on_map(index["s_ra"][known], index["s_dec"][known]), ".", color="0.8", ms=3)

# the edges of a rectangle are great circles, which come closer to the plane
lon = np.radians(np.linspace(-60, 60, 100))
lat = np.arctan(np.tan(np.radians(10)) * np.cos(lon))
outline = np.append(lon, lon[::-1]), np.append(lat, -lat[::-1])
ax.fill(*outline, facecolor="none", edgecolor="0.3", lw=1)
ax.plot(
    np.linspace(-np.pi, np.pi, 200), np.full(200, np.radians(-55)), color="0.3", lw=1
)

for table, marker in zip(found.values(), "os", strict=True):
    points = ax.scatter(
        *on_map(table["s_ra"], table["s_dec"]),
        c=table["similarity"],
        vmin=min(t["similarity"].min() for t in found.values()),
        vmax=max(t["similarity"].max() for t in found.values()),
        marker=marker,
        s=28,
        edgecolor="black",
        linewidth=0.4,
        zorder=3,
    )
figure.colorbar(points, label="similarity", shrink=0.7)
ax.set_xticklabels([])
ax.set_title("Galactic coordinates, longitude grows to the left")
