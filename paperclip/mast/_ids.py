# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Identifiers of the archive: checked, ordered, and turned into others."""

import numpy as np

from paperclip.exceptions import InvalidQueryError

__all__ = ["check_obsids", "cloud_key", "obsid_order"]


def check_obsids(obsids):
    """
    Return different obsids as text, or say what is wrong with them.

    Parameters
    ----------
    obsids : sequence of str or int, str or int
        As they were given; empty and masked ones are left out.

    Returns
    -------
    obsids : list of str
        Each once, in their order.

    Raises
    ------
    InvalidQueryError
        If there is none, or one is not a whole number.
    """
    if isinstance(obsids, (str, int, np.integer)):
        obsids = [obsids]
    try:
        values = list(obsids)
    except TypeError:
        msg = f"obsids must be a sequence, got {type(obsids).__name__}"
        raise InvalidQueryError(msg) from None
    found = [str(value).strip() for value in values if not np.ma.is_masked(value)]
    found = [text for text in dict.fromkeys(found) if text]
    if not found:
        msg = f"obsids must hold at least one obsid, got {len(values)} empty ones"
        raise InvalidQueryError(msg)
    for text in found:
        if not (text.isascii() and text.isdecimal()):
            msg = (
                f"obsids must be whole numbers, got {text!r}; the column obsid holds "
                "them, obs_id is another one"
            )
            raise InvalidQueryError(msg)
    return found


def obsid_order(obsid):
    """
    Return what sorts obsids by their number.

    Parameters
    ----------
    obsid : object
        As it came from the archive.

    Returns
    -------
    key : tuple
        Numbers come first.
    """
    text = "" if obsid is None else str(obsid)
    return (0, int(text), "") if text.isdecimal() and text.isascii() else (1, 0, text)


def cloud_key(entry):
    """
    Return the key in the bucket for what the archive says of a file.

    Parameters
    ----------
    entry : dict or None
        With ``path``, where the archive has the file.

    Returns
    -------
    key : str or None
        None when the file is not in the cloud.
    """
    path = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(path, str) or not path.strip("/"):
        return None
    # the folders of the bucket differ for three collections
    if "galex" in path:
        return path.removeprefix("/mast/").lstrip("/")
    if "/ps1/" in path:
        return path.replace("/ps1/", "panstarrs/ps1/public/").lstrip("/")
    if "hlsp" in path:
        return path.replace("/hlsp_local/public/", "mast/").lstrip("/")
    return path.lstrip("/")
