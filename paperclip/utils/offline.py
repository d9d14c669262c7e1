# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tell whether downloads are switched off."""

import os

__all__ = ["is_offline"]


def is_offline(offline=None):
    """
    Tell whether downloads are switched off.

    Parameters
    ----------
    offline : bool, optional
        The caller's wish. `None` asks ``paperclip.conf.offline`` and the
        environment variable ``HF_HUB_OFFLINE``.

    Returns
    -------
    offline : bool
        True when no socket may be opened.
    """
    if offline is not None:
        return bool(offline)
    from paperclip import conf

    variable = os.environ.get("HF_HUB_OFFLINE", "").upper()
    return conf.offline or variable in ("1", "ON", "YES", "TRUE")
