"""
.. _example-fits-to-rgb:

=====================================
See what a model sees in a FITS image
=====================================

A FITS file holds physical values over many orders of magnitude, a model sees
8-bit pictures. This example shows the way from one to the other: what stretches
do, what becomes of bad pixels, and how three filters become colour.

*Takes* a second; no network, no model.
"""

# %%
# Make three images
# -----------------
# The same field through three filters: a disk galaxy, old and red in the middle,
# blue outside, among stars. One image gets a dead column, a cluster of hot pixels
# and the hits of cosmic rays. With files of your own there is nothing to make:
# `~paperclip.imaging.to_rgb` takes their paths.

import matplotlib.pyplot as plt
import numpy as np

from paperclip.imaging import to_rgb

rng = np.random.default_rng(seed=3)
y, x = np.mgrid[-150:150, -200:200].astype(float)
radius = np.hypot(x, y / 0.55)
angle = np.arctan2(y / 0.55, x)
arms = 1 + 0.8 * np.cos(2 * (angle - 3.2 * np.log(1 + radius / 15)))
stars = rng.uniform([-150, -200], [150, 200], size=(40, 2))
fluxes = 10 ** rng.uniform(0.8, 3, size=40)
# bulge, disk and stars are brighter or fainter from filter to filter
weights = {
    "F435W": (30, 34, 0.8),
    "F606W": (60, 30, 1.0),
    "F814W": (100, 24, 1.1),
}

images = {}
for name, (bulge, disk, star) in weights.items():
    image = 10 * bulge * np.exp(-radius / 9)
    image += disk * arms * np.exp(-radius / 55)
    for (row, column), flux in zip(stars, fluxes, strict=True):
        distance = np.hypot(x - column, y - row)
        image += star * flux * np.exp(-((distance / 1.6) ** 2))
    image += rng.normal(0, 3, image.shape)
    images[name] = image

damaged = images["F606W"].copy()
damaged[:, 90] = np.nan  # a dead column
damaged[200:202, 290:292] = np.nan  # a cluster of hot pixels
hits = rng.integers(0, 300, 60), rng.integers(0, 400, 60)
damaged[hits] = 60_000  # cosmic rays

# %%
# Limits and stretch
# ------------------
# The levels run between two percentiles of the pixels, so a few extreme values do
# no harm, and follow an asinh curve: proportional for faint pixels, logarithmic
# for bright ones. Between minimum and maximum, nothing is left but the cosmic
# rays. A smaller ``softening`` brings out the faint parts, and the noise.

low, high = np.nanmin(damaged), np.nanmax(damaged)
linear = (np.nan_to_num(damaged, nan=low) - low) / (high - low)
linear = np.uint8(255 * linear)
pictures = {
    "minimum to maximum": np.repeat(linear[::-1, :, np.newaxis], 3, axis=2),
    "default": to_rgb(damaged),
    "softening=0.03": to_rgb(damaged, softening=0.03, white=0.126),
    "percentiles=(50, 99.9)": to_rgb(damaged, percentiles=(50, 99.9)),
}
fig, axes = plt.subplots(2, 2, figsize=(8, 6.4), layout="constrained")
for ax, (title, picture) in zip(axes.flat, pictures.items(), strict=True):
    ax.imshow(picture)
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()

# %%
# The column and the cluster are gone: small holes are filled from their
# neighbours. Wider gaps stay blank, at a level that can be chosen. Row 0 of an
# array is the bottom, as in FITS; row 0 of a picture is the top.

gap = images["F606W"].copy()
gap[120:150] = np.nan  # as between two chips
fig, axes = plt.subplots(1, 2, figsize=(8, 3.3), layout="constrained")
for ax, blank in zip(axes, (0, 255), strict=True):
    ax.imshow(to_rgb(gap, blank=blank))
    ax.set_title(f"blank={blank}", fontsize=10)
    ax.set_axis_off()

# %%
# Three filters, one colour picture
# ---------------------------------
# A mapping of filters to images is ordered by wavelength: the longest is red. All
# channels are stretched together, so the colours of bright stars survive.

fig, ax = plt.subplots(figsize=(8, 6), layout="constrained")
ax.imshow(to_rgb(images))
ax.set_title("blue F435W, green F606W, red F814W", fontsize=10)
ax.set_axis_off()
