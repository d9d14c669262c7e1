# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pictures and FITS files of an archive that does not exist."""

import io
from functools import lru_cache

import numpy as np

__all__ = ["fits_file", "picture", "scene"]


@lru_cache(maxsize=1024)
def scene(seed, size=200):
    """Return galaxies and stars on a noisy sky, float32 (size, size, 3)."""
    rng = np.random.default_rng([seed, 77])
    y, x = np.mgrid[:size, :size].astype("f4")
    image = rng.normal(14, 3, (size, size, 3)).astype("f4")
    for _ in range(rng.integers(1, 4)):
        angle, axis = rng.uniform(0, np.pi), rng.uniform(0.3, 1)
        x0, y0 = rng.uniform(0.2, 0.8, 2) * size
        along = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
        across = (y - y0) * np.cos(angle) - (x - x0) * np.sin(angle)
        radius = np.hypot(along, across / axis) / rng.uniform(6, 22)
        light = rng.uniform(90, 240) * np.exp(-radius)
        image += light[..., None] * rng.uniform(0.4, 1, 3).astype("f4")
    for _ in range(rng.integers(8, 30)):
        x0, y0 = rng.integers(4, size - 5, 2)
        part = (slice(y0 - 4, y0 + 5), slice(x0 - 4, x0 + 5))
        near = np.exp(-((x[part] - x0) ** 2 + (y[part] - y0) ** 2) / 3)
        image[part] += (rng.uniform(60, 255) * near)[..., None]
    return image


@lru_cache(maxsize=1024)
def picture(seed, size=200, *, kind="JPEG"):
    """Return the bytes of a preview."""
    from PIL import Image

    rgb = np.clip(scene(seed, size), 0, 255).astype("u1")
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, kind, quality=90)
    return stream.getvalue()


@lru_cache(maxsize=1024)
def fits_file(seed, ra, dec, size=64):
    """Return the bytes of an image with a WCS in its first extension."""
    from astropy.io import fits

    header = fits.Header()
    for axis, (name, value, step) in enumerate(
        (("RA---TAN", ra, -1e-5), ("DEC--TAN", dec, 1e-5)), start=1
    ):
        header[f"CTYPE{axis}"] = name
        header[f"CRVAL{axis}"] = value
        header[f"CRPIX{axis}"] = size / 2
        header[f"CDELT{axis}"] = step
        header[f"CUNIT{axis}"] = "deg"
    data = scene(seed)[:size, :size, 0].astype(">f4")
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"] = "TEST"
    image = fits.ImageHDU(data, header, name="SCI")
    stream = io.BytesIO()
    fits.HDUList([primary, image]).writeto(stream)
    return stream.getvalue()
