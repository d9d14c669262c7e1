# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What all methods that ask the archive share: a client, and a signature."""

from datetime import UTC, datetime
from functools import lru_cache

from paperclip import __version__

__all__ = ["ClientHolder", "signed"]


class ClientHolder:
    """An object that asks MAST as ``paperclip.conf`` says at that moment."""

    _offline = None

    def _client(self, cache=False):
        from paperclip import conf

        return _shared_client(conf.mast_server, self._offline, bool(cache))


@lru_cache(maxsize=8)
def _shared_client(server, offline, cache):
    """Keep connections and the list of columns between calls."""
    from paperclip.mast import MastClient

    return MastClient(server=server, offline=offline, cache=cache)


def signed(table):
    """Add the version of this package and the time, where they are missing."""
    table.meta.setdefault("version", f"paperclip {__version__}")
    if not table.meta.get("time"):
        table.meta["time"] = datetime.now(tz=UTC).isoformat(timespec="seconds")
    return table
