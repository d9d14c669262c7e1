# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""World coordinates of reduced pictures, and chips put side by side."""

import numpy as np
from astropy.wcs import WCS, Sip

__all__ = ["chip_wcs", "mosaic", "reduced_wcs"]

# the planetary camera has pixels of 0.0455 arcsec, the wide fields 0.0996
_PC_SCALE = 0.0455 / 0.0996
# cards that astropy silently takes as 0 when they are text
_NUMBERS = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CDELT1", "CDELT2")
# the edge of the pyramid mirror hides the first rows and columns of each chip,
# where the neighbouring chip shows the sky (headers of real exposures agree)
_WFPC2_SHADOW = 0.055
# quarter turns (numpy.rot90 of arrays whose row 0 is at the bottom) that bring
# the first pixel of PC1, WF2, WF3 and WF4 to the common corner
_WFPC2_TURNS = (0, -1, 2, 1)


def chip_wcs(header):
    """
    Return the celestial coordinates of an image header, if there are any.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header of the image.

    Returns
    -------
    wcs : `~astropy.wcs.WCS` or None
        Two-dimensional WCS. Distortion tables, which shift positions by a
        tenth of a pixel, are left out; SIP polynomials stay.
    """
    if "CTYPE1" not in header:
        return None
    keep = header.copy()
    types = (str(header[name]) for name in ("CTYPE1", "CTYPE2") if name in header)
    if not all(text.rstrip().endswith("-SIP") for text in types):
        # left-overs in resampled images: astropy would apply them
        for name in ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER"):
            keep.remove(name, ignore_missing=True, remove_all=True)
    for axis in (1, 2):
        for name in ("CPDIS", "CQDIS", "D2IMDIS"):
            keep.remove(f"{name}{axis}", ignore_missing=True, remove_all=True)
    wcs = WCS(keep, naxis=2)
    values = [header.get(name, 0.0) for name in _NUMBERS]
    plausible = all(isinstance(v, (int, float)) and abs(v) < 1e9 for v in values)
    return wcs if plausible and wcs.has_celestial else None


def reduced_wcs(wcs, factor, shape):
    """
    Return the WCS of an image averaged over square blocks.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS` or None
        Coordinates of the original pixels.
    factor : int
        Side of the blocks.
    shape : tuple of int
        Rows and columns of the reduced image.

    Returns
    -------
    wcs : `~astropy.wcs.WCS` or None
        Coordinates of the reduced pixels in FITS order (row 0 at the bottom);
        None if the centre of the image has no finite position.
    """
    if wcs is None:
        return None
    if factor > 1:
        wcs = wcs.deepcopy()
        wcs.wcs.crpix = (np.asarray(wcs.wcs.crpix) - 0.5) / factor + 0.5
        if wcs.wcs.has_cd():
            wcs.wcs.cd = wcs.wcs.cd * factor
        else:
            wcs.wcs.cdelt = np.asarray(wcs.wcs.cdelt) * factor
        if wcs.sip is not None:
            wcs.sip = _reduced_sip(wcs.sip, factor, wcs.wcs.crpix)
        wcs.wcs.set()
    wcs.array_shape = shape
    middle = wcs.wcs_pix2world([[(shape[1] - 1) / 2, (shape[0] - 1) / 2]], 0)
    return wcs if np.isfinite(middle).all() else None


def _reduced_sip(sip, factor, crpix):
    """Rescale SIP polynomials: a coefficient of order n gains factor**(n-1)."""
    scaled = []
    for matrix in (sip.a, sip.b, sip.ap, sip.bp):
        if matrix is None:
            scaled.append(None)
            continue
        order = np.add.outer(np.arange(matrix.shape[0]), np.arange(matrix.shape[1]))
        scaled.append(matrix * float(factor) ** (order - 1))
    return Sip(*scaled, crpix)


def mosaic(images, coordinates, *, layout, gap):
    """
    Put the chips of one exposure into one picture.

    Parameters
    ----------
    images : list of `~numpy.ndarray`
        Reduced chips, row 0 at the bottom.
    coordinates : list of `~astropy.wcs.WCS` or None
        Coordinates of each chip.
    layout : {"stack", "wfpc2"}
        Two chips, the second above the first, or the four of WFPC2 around
        their common corner: PC1 upper right (shrunk to the scale of the
        others), WF2 upper left, WF3 lower left, WF4 lower right.
    gap : int
        Blank rows between stacked chips.

    Returns
    -------
    image : `~numpy.ndarray`, shape (ny, nx), float32
        The mosaic; NaN where there is no chip.
    wcs : `~astropy.wcs.WCS` or None
        Tangential projection fitted to the positions of all chips; None if
        there are none or they do not fit the layout.
    """
    place = _stacked if layout == "stack" else _around_corner
    tiles, shape = place([image.shape for image in images], gap)
    canvas = np.full(shape, np.nan, dtype=np.float32)
    pixels, sky = [], []
    for image, wcs, (y0, x0, rows, columns) in zip(
        images, coordinates, tiles, strict=True
    ):
        part = image[rows, columns]
        canvas[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part
        if wcs is not None:
            y, x = (g.ravel() for g in np.meshgrid(*_grid(part.shape), indexing="ij"))
            here = np.broadcast_to(rows, part.shape)[y, x]
            across = np.broadcast_to(columns, part.shape)[y, x]
            sky.append(wcs.all_pix2world(np.column_stack([across, here]), 0))
            pixels.append(np.column_stack([x + x0, y + y0]))
    if not pixels:
        return canvas, None
    frame = next(wcs for wcs in coordinates if wcs is not None)
    return canvas, _fit_tangential(
        np.concatenate(pixels), np.concatenate(sky), frame, shape
    )


def _grid(shape):
    return [np.unique(np.linspace(0, side - 1, 8).astype(int)) for side in shape]


def _stacked(shapes, gap):
    """Return origin, rows and columns of two chips one above the other."""
    (ny, nx), (ny2, nx2) = shapes
    tiles = [
        (0, 0, np.arange(ny)[:, None], np.arange(nx)),
        (ny + gap, 0, np.arange(ny2)[:, None], np.arange(nx2)),
    ]
    return tiles, (ny + gap + ny2, max(nx, nx2))


def _around_corner(shapes, gap):
    """Return origin, rows and columns of the four chips of WFPC2."""
    side = max(_resampled(max(shape), 1.0).size for shape in shapes[1:])
    tiles = []
    for number, (ny, nx) in enumerate(shapes):
        scale = _PC_SCALE if number == 0 else 1.0
        rows = _resampled(ny, scale)[:, None]
        columns = _resampled(nx, scale)
        shape = (rows.size, columns.size)
        turn = _WFPC2_TURNS[number]
        rows = np.rot90(np.broadcast_to(rows, shape), turn)
        columns = np.rot90(np.broadcast_to(columns, shape), turn)
        height, width = rows.shape
        y0 = side if number in (0, 1) else side - height
        x0 = side if number in (0, 3) else side - width
        tiles.append((y0, x0, rows, columns))
    return tiles, (2 * side, 2 * side)


def _resampled(length, scale):
    """Return positions of the nearest pixels of a shrunk axis, shadow left out."""
    first = round(length * _WFPC2_SHADOW)
    size = max(1, round((length - first) * scale))
    return first + ((np.arange(size) + 0.5) * (length - first) / size).astype(int)


def _fit_tangential(pixels, sky, frame, shape):
    """Fit a linear tangential WCS to pixel and sky positions."""
    keep = np.isfinite(sky).all(axis=1)
    if keep.sum() < 3 or not frame.wcs.ctype[0].startswith("RA"):
        return None
    pixels, sky = pixels[keep], sky[keep]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = sky[len(sky) // 2]
    wcs.wcs.radesys = frame.wcs.radesys
    plane = wcs.wcs_world2pix(sky, 0) + 1  # degrees: CDELT is 1, CRPIX is 0
    matrix = np.column_stack([pixels + 1, np.ones(len(pixels))])
    solution, _, rank, _ = np.linalg.lstsq(matrix, plane, rcond=None)
    linear = solution[:2].T
    if rank < 3 or not np.isfinite(solution).all():
        return None
    miss = np.linalg.solve(linear, (matrix @ solution - plane).T)
    if np.sqrt((miss**2).sum(axis=0).mean()) > 0.03 * max(shape):
        return None
    wcs.wcs.cd = linear
    wcs.wcs.crpix = -np.linalg.solve(linear, solution[2])
    wcs.wcs.set()
    wcs.array_shape = shape
    return wcs
