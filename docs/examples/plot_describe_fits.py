"""
.. _example-describe-fits:

================================
Put words to the image of a file
================================

A FITS image goes in, a table of terms comes out. The image is made up here, so that
we know what is in it; replace it with the path of a file of yours.

*Takes* some seconds, most of them for loading the model; no network.
"""

# %%
# Make an image
# -------------
# A spiral galaxy seen from above, with foreground stars and noise, and with
# coordinates.

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from paperclip import Paperclip
from paperclip.plotting import show_description

rng = np.random.default_rng(seed=7)
y, x = np.mgrid[-256:256, -256:256].astype(float)
radius, angle = np.hypot(x, y), np.arctan2(y, x)
arms = np.exp(3 * (np.cos(2 * (angle - 2.6 * np.log(1 + radius / 20))) - 1))
image = 900 * np.exp(-radius / 12)
image += (15 + 130 * arms) * np.exp(-radius / 75)
# knots of young stars along the arms
chance = (arms * np.exp(-radius / 90) * (radius > 25)).ravel()
for knot in rng.choice(image.size, size=260, p=chance / chance.sum()):
    row, column = np.unravel_index(knot, image.shape)
    distance = np.hypot(x - x[row, column], y - y[row, column])
    size = rng.uniform(1.5, 3)
    image += rng.uniform(20, 120) * np.exp(-((distance / size) ** 2))
for row, column in rng.uniform(-256, 256, size=(25, 2)):
    distance = np.hypot(x - column, y - row)
    flux = 10 ** rng.uniform(1.5, 3.3)
    image += flux * np.exp(-((distance / 1.8) ** 2))
image = rng.poisson(image + 40) + rng.normal(0, 4, image.shape)

wcs = WCS(naxis=2)
wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
wcs.wcs.crval = 24.174, 15.783
wcs.wcs.crpix = 256.5, 256.5
wcs.wcs.cdelt = -1 / 3600, 1 / 3600
hdu = fits.ImageHDU(image.astype(np.float32), wcs.to_header(), name="SCI")

# %%
# Describe it
# -----------
# All terms of the vocabulary are ranked. ``similarity`` is the cosine between image
# and term. Some terms are similar to any picture: ``percentile`` says how many
# pictures of the index are less similar to the term than this one.
# ``probability`` shares out one among the terms.

table = Paperclip.describe(hdu, limit=12)
for name in ("similarity", "percentile", "probability"):
    table[name].info.format = ".1f" if name == "percentile" else ".3f"
columns = ["rank", "term", "similarity", "percentile", "probability"]
table[columns].pprint(max_lines=-1, max_width=-1, show_unit=False)

# %%
# Draw it
# -------

figure = show_description(hdu, table, limit=8, figure=plt.figure())

# %%
# Ask your own question
# ---------------------
# A list of terms is a question with so many answers, of which one must be the best.
# Give the answers that could compete.

terms = ["spiral galaxy", "elliptical galaxy", "star cluster", "nebula"]
answer = Paperclip.describe(hdu, vocabulary=terms)
answer["probability"].info.format = ".2f"
answer["rank", "term", "probability"].pprint(show_unit=False)

# %%
# And find observations that look alike, by the image instead of a text:

alike = Paperclip.query_image(hdu, limit=5)
alike["similarity"].info.format = ".3f"
columns = ["rank", "similarity", "target_name", "instrument_name"]
alike[columns].pprint(show_unit=False, max_width=-1)
