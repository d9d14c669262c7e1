# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pixel values to 8-bit levels: limits, asinh curve, Lupton colour."""

import math

import numpy as np

__all__ = ["colour_levels", "display_limits", "grey_levels"]

_SAMPLES = 262_144  # pixels that the percentiles are taken from


def display_limits(image, conversion):
    """
    Return the values that mark the lower and upper end of the display range.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Reduced image; blank pixels are NaN.
    conversion : `~paperclip.imaging.ImageConversion`
        Settings.

    Returns
    -------
    low, high : float
        Limits; equal when every pixel has the same value.

    Notes
    -----
    Images of more than 262,144 pixels are sampled at a regular step that has
    no common divisor with the width, so that the result does not depend on
    columns and is the same in every run.
    """
    values = _sample(image)
    below, above = conversion.percentiles
    low, median, high = (_quantile(values, q) for q in (below, 50.0, above))
    high = max(high, median + conversion.noise_range * (median - low))
    if high <= low:
        # nearly all pixels are equal, as in photon-counting frames: let the
        # ones that differ set the range
        brighter = values[values > low]
        if brighter.size:
            high = _quantile(brighter, above)
    return low, high


def _sample(image):
    """Return finite values in order, at most about `_SAMPLES` of them."""
    flat = image.ravel()
    step = math.ceil(flat.size / _SAMPLES)
    if step > 1:
        while math.gcd(step, image.shape[1]) > 1:
            step += 1
    values = flat[::step]
    values = values[np.isfinite(values)]
    if not values.size:
        values = flat[np.isfinite(flat)]
    values.sort()
    return values


def _quantile(values, percent):
    """Interpolate in sorted values, as `numpy.percentile` does."""
    place = percent / 100 * (values.size - 1)
    first = int(place)
    low = float(values[first])
    high = float(values[min(first + 1, values.size - 1)])
    return low + (place - first) * (high - low)


def grey_levels(image, conversion):
    """
    Map an image to grey levels with the asinh curve of the archive previews.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx), float
        Reduced image with at least one finite pixel; blank pixels are NaN.
    conversion : `~paperclip.imaging.ImageConversion`
        Settings.

    Returns
    -------
    levels : `~numpy.ndarray`, shape (ny, nx), uint8
        Grey levels. A constant image is black.

    Notes
    -----
    With ``x`` running from 0 to 1 between the limits, the level is ``255 *
    softening * asinh(x / softening) / white``. This is
    `~astropy.visualization.AsinhStretch` up to the scale of ``x``; it is
    written out here because `astropy.visualization` imports matplotlib.
    """
    low, high = display_limits(image, conversion)
    if not high > low:
        return np.where(np.isnan(image), conversion.blank, 0).astype(np.uint8)
    span = high - low
    extreme = not (1e-30 < span < 1e30 and abs(low) < 1e30)
    x = image.astype(np.float64 if extreme else np.float32)
    x -= x.dtype.type(low)
    x *= x.dtype.type(1 / (span * conversion.softening))
    np.arcsinh(x, out=x)
    x *= x.dtype.type(255 * conversion.softening / conversion.white)
    np.rint(x, out=x)
    np.fmax(x, 0, out=x)  # NaN becomes 0
    np.minimum(x, 255, out=x)
    levels = x.astype(np.uint8)
    if conversion.blank:
        levels[np.isnan(image)] = conversion.blank
    return levels


def _curve(x, conversion):
    soft = conversion.softening
    return np.arcsinh(x / soft) * (soft / conversion.white)


def colour_levels(channels, conversion):
    """
    Combine aligned images into colour levels after Lupton et al. (2004).

    Parameters
    ----------
    channels : sequence of three lists of `~numpy.ndarray`, shape (ny, nx)
        Images of the red, green and blue channel. Each image is scaled to its
        own limits; several images of one channel are averaged after that.
    conversion : `~paperclip.imaging.ImageConversion`
        Settings.

    Returns
    -------
    levels : `~numpy.ndarray`, shape (ny, nx, 3), uint8
        Colour levels; pixels that are blank in every image have level
        ``blank``, pixels blank in one image count as 0 there.

    Notes
    -----
    The asinh curve acts on the mean of the three channels and all are
    multiplied by the same factor, so bright pixels keep their colour; where a
    channel exceeds white, the three are divided by the largest [1]_. Three
    equal channels give exactly the grey picture.

    References
    ----------
    .. [1] Lupton, R. et al. 2004, PASP, 116, 133
    """
    scaled = [_scaled_mean(images, conversion) for images in channels]
    rgb = np.stack([values for values, _ in scaled], axis=-1)
    blank = np.logical_and.reduce([empty for _, empty in scaled])
    mean = rgb.mean(axis=-1)
    positive = mean > 0
    factor = np.zeros_like(mean)
    factor[positive] = _curve(mean[positive], conversion) / mean[positive]
    np.maximum(rgb, 0.0, out=rgb)
    rgb *= factor[..., np.newaxis]
    rgb /= np.maximum(rgb.max(axis=-1, keepdims=True), 1.0)
    levels = np.rint(255.0 * rgb).astype(np.uint8)
    levels[blank] = conversion.blank
    return levels


def _scaled_mean(images, conversion):
    """Return the mean of the images scaled to their limits, and where blank."""
    total = np.zeros(images[0].shape)
    empty = np.ones(images[0].shape, dtype=bool)
    for image in images:
        low, high = display_limits(image, conversion)
        finite = np.isfinite(image)
        empty &= ~finite
        if high > low:
            value = (image.astype(np.float64) - low) / (high - low)
            total += np.where(finite, value, 0.0)
    return total / len(images), empty
