# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From what a FITS file says about itself to the columns of a row."""

import math

import numpy as np
from astropy.time import Time

__all__ = ["row_from_picture"]

_TEXTS = {"target": "target_name", "pi": "proposal_pi", "title": "obs_title"}
_MJD = (0.0, 200_000.0)  # the years 1858 to 2406
_DAY = 86_400.0


def row_from_picture(picture):
    """
    Return the columns of an index that a picture of a FITS file fills.

    Parameters
    ----------
    picture : `~paperclip.imaging.Picture`
        Picture with the facts of its headers.

    Returns
    -------
    row : dict of str to str or float
        Values by the name of the column: target, mission, instrument,
        filters, programme, times (MJD), centre and footprint of the frame in
        ICRS degrees. What is unknown or makes no sense is absent.

    Notes
    -----
    Instruments and programmes are spelt as in MAST's observation tables:
    ``ACS/WFC``, ``NIRCAM/IMAGE``, ``2739`` for the programme 02739. The footprint
    is that of the whole frame, blank parts included.
    """
    meta = picture.meta
    row = {column: str(meta[fact]) for fact, column in _TEXTS.items() if meta.get(fact)}
    mission = str(meta.get("telescope", "")).strip()
    if mission:
        row["obs_collection"] = mission
    instrument = str(meta.get("instrument", "")).strip()
    if instrument:
        mode = {"HST": meta.get("detector"), "JWST": "IMAGE"}.get(mission)
        row["instrument_name"] = f"{instrument}/{mode}" if mode else instrument
    if meta.get("filters"):
        row["filters"] = str(meta["filters"])
    programme = str(meta.get("proposal_id", "")).strip()
    if programme:
        row["proposal_id"] = programme.lstrip("0") or programme
    return row | _times(meta) | _place(picture, meta)


def _number(text, low, high):
    """Return a finite number within limits, or None."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and low <= value <= high else None


def _mjd(text):
    """Return the MJD of a date in ISO 8601, or None."""
    try:
        value = float(Time(text.strip(), scale="utc").mjd)
    except (ValueError, TypeError):
        return None
    return _number(value, *_MJD)


def _times(meta):
    start = _number(meta.get("mjd_start"), *_MJD)
    # 0 stands for "not filled in" as often as for the year 1858
    start = start or None
    date = str(meta.get("date_obs", ""))
    if start is None and date:
        clock = str(meta.get("time_obs", "")).strip()
        start = _mjd(date if "T" in date or not clock else f"{date.strip()}T{clock}")
    end = _number(meta.get("mjd_end"), *_MJD) or None
    if end is None and meta.get("date_end"):
        end = _mjd(str(meta["date_end"]))
    exposure = _number(meta.get("exposure"), 0, 1e8)
    if end is None and start is not None and exposure:
        end = start + exposure / _DAY
    if start is not None and end is not None and end < start:
        end = None
    return {k: v for k, v in (("t_min", start), ("t_max", end)) if v is not None}


def _place(picture, meta):
    """Return centre and footprint, or the position that was aimed at."""
    corners = picture.footprint()
    if corners is not None:
        ny, nx = picture.rgb.shape[:2]
        centre = picture.pixel_to_world((nx - 1) / 2, (ny - 1) / 2).icrs
        ra, dec = float(centre.ra.deg), float(centre.dec.deg)
        around = np.stack([corners.ra.deg, corners.dec.deg], axis=1)
        if math.isfinite(ra) and math.isfinite(dec):
            row = {"s_ra": ra, "s_dec": dec}
            if np.isfinite(around).all():
                numbers = " ".join(f"{value:.8f}" for value in around.ravel())
                row["s_region"] = f"POLYGON ICRS {numbers}"
            return row
    ra = _number(meta.get("target_ra"), 0, 360)
    dec = _number(meta.get("target_dec"), -90, 90)
    return {} if ra is None or dec is None else {"s_ra": ra, "s_dec": dec}
