# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The one place that talks to MAST's services, through astroquery."""

import json
import threading
import time
from datetime import UTC, datetime

from astropy.table import MaskedColumn, Table

from paperclip.exceptions import (
    InvalidQueryError,
    RemoteServiceError,
)
from paperclip.utils import retry as _retry
from paperclip.utils.checks import whole_number

from . import cache as _cache
from ._filters import build_filters, position_text
from ._ids import check_obsids, obsid_order
from ._lookups import Lookups
from ._replies import Columns, Page, read_rows
from ._transport import Trouble

__all__ = ["MastClient"]

_CONFIGS = {"observations": "Mast.Caom.Cone", "products": "Mast.Caom.Products"}
_PAGE_ROWS = 20_000
_BATCH = 200  # observations whose products are asked for at a time
_MAX_REPLY = 1 << 29  # bytes of one answer in JSON


class MastClient(Lookups):
    """
    Questions to MAST, asked until they are answered.

    One client serves any number of threads. It keeps connections, the list
    of columns, and nothing else.

    Parameters
    ----------
    server : str, optional
        Address of MAST; ``paperclip.conf.mast_server`` when not given.
    timeout : float, optional
        Seconds to wait for an answer, and between two parts of it; a whole
        answer may take five times that. ``paperclip.conf.timeout`` when not
        given.
    retries : int, optional
        How often a question is asked at most; ``paperclip.conf.retries`` when
        not given.
    rng : `numpy.random.Generator`, optional
        Source of the jitter of the pauses between two attempts.
    cache : bool, optional
        Store the answers of `observations` and `products` on disk and use
        them for 30 days; see `paperclip.mast.list_cached`.
    offline : bool, optional
        Open no socket; ``paperclip.conf.offline`` and the environment
        variable ``HF_HUB_OFFLINE`` when not given.

    Notes
    -----
    Every question may be repeated without harm. A question that fails raises
    `~paperclip.exceptions.RemoteServiceError` with ``url`` and ``status``
    after all attempts, at once where another attempt is pointless, and
    `~paperclip.exceptions.OfflineError` when downloads are switched off. The
    services are those of MAST's portal API [1]_.

    References
    ----------
    .. [1] https://mast.stsci.edu/api/v0/
    """

    def __init__(
        self,
        *,
        server=None,
        timeout=None,
        retries=None,
        rng=None,
        cache=False,
        offline=None,
    ):
        super().__init__(
            server=server, timeout=timeout, retries=retries, rng=rng, offline=offline
        )
        self.cache = bool(cache)
        self._lock = threading.Lock()
        self._configs = {}

    def __repr__(self):
        return f"<{type(self).__name__} of {self.server}>"

    # questions

    def columns(self, what="observations"):
        """
        Return the columns that the archive knows.

        Parameters
        ----------
        what : {"observations", "products"}
            Rows of which kind.

        Returns
        -------
        table : `~astropy.table.Table`
            ``name``, ``type``, ``unit`` and ``description``, all str. The
            archive is asked once per client.
        """
        config = self._config(what)
        rows = [
            (
                name,
                str(entry.get("vot.datatype") or entry.get("type") or ""),
                str(entry.get("vot.unit") or ""),
                str(entry.get("vot.description") or ""),
            )
            for name, entry in config.items()
        ]
        names = ("name", "type", "unit", "description")
        return Table(rows=rows, names=names, dtype=(str,) * 4)

    def count(self, filters, *, position=None):
        """
        Count observations.

        Parameters
        ----------
        filters : dict
            As for `observations`.
        position : tuple, optional
            As for `observations`.

        Returns
        -------
        n : int
            How many there are.
        """
        service, params = self._caom(filters, position, "COUNT_BIG(*)")

        def ask():
            page = Page(self._service(service, params, 1, 10), 1, 10)
            try:
                n = int(next(iter(page.rows[0].values())))
            except (IndexError, StopIteration, TypeError, ValueError):
                n = -1
            if n < 0:
                msg = "the answer holds no number"
                raise Trouble(msg, status=200, advice="Try again later")
            return n

        return self._ask(ask, "counting observations", self._invoke)

    def observations(self, filters, *, position=None, limit=None):
        """
        Return observations.

        Parameters
        ----------
        filters : dict
            Column name to the values that are wanted, at least one. For
            columns of real numbers, (min, max); None is an open end. One
            value of a text column may hold ``*`` as a wildcard.
        position : tuple of (`~astropy.coordinates.SkyCoord`, angle), optional
            Centre and radius of a cone. MAST compares it with its own idea of
            the footprints.
        limit : int, optional
            Most rows to return; all when not given.

        Returns
        -------
        table : `~astropy.table.Table`
            One row per ``obsid``, in their order; the columns are those of
            MAST, masked where a value is missing. ``meta`` has ``server``,
            ``retrieved``, and ``rows_available``: how many there are.

        Raises
        ------
        InvalidQueryError
            If the archive has no such column, or a value does not fit it.
        RemoteServiceError
            If the archive does not answer, or not completely.
        """
        limit = None if limit is None else whole_number("limit", limit)
        service, params = self._caom(filters, position, "*")
        query = {"server": self.server, "service": service, "params": params}
        query["limit"] = limit

        def read():
            columns = Columns("obsid", limit=limit)
            total = self._rows(service, params, columns, "observations", limit=limit)
            order = sorted(
                range(columns.length),
                key=lambda i: obsid_order(columns.values("obsid")[i]),
            )
            return self._whole(columns.table(order), "observations"), total

        return self._cached(query, read)

    def products(self, obsids, *, keep=None, limit=None):
        """
        Return the products of observations.

        Parameters
        ----------
        obsids : sequence of str or int
            ``obsid`` of the observations (not ``obs_id``).
        keep : callable, optional
            Takes a `~astropy.table.Table` of some of the products and returns
            a bool array, which of them to keep. What is not kept takes no
            memory. Answers are not cached then.
        limit : int, optional
            Most rows to return; all when not given.

        Returns
        -------
        table : `~astropy.table.Table`
            One row per ``dataURI``, in the order of the observations and of
            the names; ``meta`` as for `observations`.

        Raises
        ------
        InvalidQueryError
            If there is no obsid, or one is not a number.
        RemoteServiceError
            If the archive does not answer, or not completely.
        """
        limit = None if limit is None else whole_number("limit", limit)
        obsids = check_obsids(obsids)
        query = {"server": self.server, "service": "Mast.Caom.Products"}
        query |= {"params": obsids, "limit": limit}

        def read():
            columns = Columns("dataURI", keep=keep, limit=limit)
            total = 0
            for first in range(0, len(obsids), _BATCH):
                if columns.enough:
                    break
                params = {"obsid": ",".join(obsids[first : first + _BATCH])}
                total += self._rows(query["service"], params, columns, "products")
            place = {obsid: i for i, obsid in enumerate(obsids)}
            parents, owners = columns.values("parent_obsid"), columns.values("obsID")
            uris = columns.values("dataURI")

            def key(i):
                parent = parents[i] if parents[i] is not None else owners[i]
                return place.get(str(parent), len(place)), str(uris[i])

            order = sorted(range(columns.length), key=key)
            return self._whole(columns.table(order), "products"), total

        return self._cached(query if keep is None else None, read)

    # how rows are read

    def _rows(self, service, params, columns, what, *, limit=None):
        """Read all pages of a service into columns; return how many rows."""
        size = _PAGE_ROWS if limit is None else min(limit, _PAGE_ROWS)

        def ask(number, size):
            def call():
                return Page(self._service(service, params, number, size), number, size)

            return self._ask(call, f"asking for {what}", self._invoke, _MAX_REPLY)

        def need(total):
            return total if limit is None else min(total, limit)

        def pause(attempt):
            seconds = _retry.FIRST_WAIT * 2 ** (attempt - 1)
            time.sleep(min(seconds, _retry.LONGEST_WAIT))

        attempts = self.retries
        try:
            return read_rows(
                ask, columns, size=size, need=need, attempts=attempts, pause=pause
            )
        except Trouble as exc:
            msg = f"asking for {what} failed at {self._invoke}: {exc}. {exc.advice}"
            raise RemoteServiceError(msg, url=self._invoke, status=exc.status) from exc

    def _config(self, what):
        """Return how the archive describes the columns of rows of a kind."""
        if what not in _CONFIGS:
            msg = f"what must be one of {list(_CONFIGS)}, got {what!r}"
            raise InvalidQueryError(msg)
        url = f"{self.server}/portal/Mashup/Mashup.asmx/columnsconfig"

        def ask():
            kind = "application/x-www-form-urlencoded"
            response = self._transport.request(
                "POST",
                url,
                data=f"colConfigId={_CONFIGS[what]}",
                headers={"Content-type": kind, "Accept": "text/plain"},
            )
            config = {
                name: entry
                for name, entry in response.json().items()
                if not entry.get("remove") and name != "_selected_"
            }
            if not config:
                msg = "the list of columns is empty"
                raise Trouble(msg, status=200, advice="Try again later")
            return config

        def read():
            config = self._ask(ask, f"asking for the columns of {what}", url)
            texts = [json.dumps(entry) for entry in config.values()]
            columns = {"name": list(config), "entry": texts}
            return Table(columns, masked=True), len(config)

        with self._lock:
            if what not in self._configs:
                query = {"server": self.server, "service": "columns", "params": what}
                table = self._cached(query, read)
                self._configs[what] = {
                    str(name): json.loads(entry) for name, entry in table.iterrows()
                }
            return self._configs[what]

    def _caom(self, filters, position, columns):
        """Return the service and the parameters of a query."""
        if not isinstance(filters, dict):
            msg = (
                "filters must be a dict of column names to values, got "
                f"{type(filters).__name__}"
            )
            raise InvalidQueryError(msg)
        if not filters and position is None:
            msg = "filters must hold at least one condition, or a position be given"
            raise InvalidQueryError(msg)
        place = None if position is None else position_text(position)
        config = self._config("observations") if filters else {}
        params = {"columns": columns, "filters": build_filters(filters, config)}
        if place is None:
            return "Mast.Caom.Filtered", params
        return "Mast.Caom.Filtered.Position", params | {"position": place}

    def _whole(self, table, what):
        """Give an answer without rows its columns, if it came without."""
        if not table.colnames:
            kinds = {"double": "f8", "float": "f8", "int": "i8", "boolean": "?"}
            for name, kind, *_ in self.columns(what).iterrows():
                table[name] = MaskedColumn([], dtype=kinds.get(kind, "U1"))
        return table

    def _cached(self, query, read):
        """Return an answer from disk, or read it and store it."""
        use = self.cache and query is not None
        if use:
            table = _cache.load_answer(query, any_age=self.offline)
            if table is not None:
                return table
        table, total = read()
        table.meta["server"] = self.server
        table.meta["retrieved"] = datetime.now(UTC).isoformat(timespec="seconds")
        table.meta["rows_available"] = total
        if use:
            _cache.store_answer(query, table)
        return table
