# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Look programmes up: in the user's table, the catalogue, and their files."""

import threading
from concurrent.futures import ThreadPoolExecutor

from paperclip.exceptions import (
    CatalogueError,
    InvalidQueryError,
    OfflineError,
    PaperclipWarning,
    RemoteServiceError,
    RemoteServiceWarning,
)
from paperclip.mast import _sources
from paperclip.mast._fields import PROPOSAL_COLUMNS, is_number

__all__ = ["Lookup"]

_MISSIONS = ("HST", "JWST")
# numbers that programmes of both missions have
_SHARED_NUMBERS = 10_000
# after so many failures in a row the server is left alone
_MOST_FAILURES = 16
# answers of a server that works: there is no such file for the public
_REFUSALS = frozenset({401, 403, 404, 410})


class Lookup:
    """
    Look programmes up, in one place after the other.

    Parameters
    ----------
    client : MastClient or None
        Who asks.
    catalogue : Table, path-like or None
        What the user gave.
    workers : int
        Threads.
    """

    def __init__(self, client, catalogue, workers):
        if client is None:
            from paperclip.mast.client import MastClient

            client = MastClient()
        self.client = client
        self.workers = workers
        self.warnings = []  # (text, class), for the caller to give
        self.given = _sources.user_catalogue(catalogue, self.warnings)
        self.offline = False
        self.catalogue = False  # whether that of HST could be read
        self.down = None  # why no more files are asked for
        self._failures = 0
        self._lock = threading.Lock()

    def up(self, wanted):
        """Return one record for each (mission, number), in order."""
        records = [self._given(*pair) for pair in wanted]
        self._from_catalogue(wanted, records)
        open_ = [
            number
            for number, record in enumerate(records)
            if record is None or record["abstract"] is None
        ]
        with ThreadPoolExecutor(self.workers, "paperclip-proposals") as pool:
            jobs = [
                pool.submit(self._from_files, *wanted[number], records[number])
                for number in open_
            ]
            try:
                for number, job in zip(open_, jobs, strict=True):
                    records[number] = job.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [_finished(record) for record in records]

    def _given(self, mission, key):
        """Return what the user's catalogue says, or None."""
        names = _MISSIONS if mission is None else (mission,)
        for name in (*names, None):
            if (record := self.given.get((name, key))) is not None:
                return {**record, "mission": record["mission"] or mission}
        return None

    def _from_catalogue(self, wanted, records):
        """Fill in what the catalogue of HST has."""
        open_ = [
            number
            for number, (mission, key) in enumerate(wanted)
            if records[number] is None and mission in {"HST", None} and is_number(key)
        ]
        if not open_:
            return
        try:
            found = _sources.archive_catalogue(self.client, self.warnings)
            self.catalogue = True
        except OfflineError:
            self.offline = True
            return
        except (RemoteServiceError, CatalogueError) as exc:
            msg = "the catalogue of HST abstracts cannot be used, so that the file of "
            msg += f"each programme is fetched instead: {exc}"
            self.warnings.append((msg, RemoteServiceWarning))
            return
        guessed = []
        for number in open_:
            mission, key = wanted[number]
            record = found.get(("HST", key))
            if record is None:
                continue
            records[number] = dict(record)
            if mission is None and int(key) < _SHARED_NUMBERS:
                guessed.append(key)
        if guessed:
            msg = (
                f"{guessed[:5]} may be programmes of HST and of JWST; those of HST "
                "were taken. Give mission='HST' or mission='JWST'"
            )
            self.warnings.append((msg, PaperclipWarning))

    def _from_files(self, mission, key, record):
        """Return a record from the file of a programme, completing what there is."""
        if mission is None:
            mission = record["mission"] if record else None
        missions = (mission,)
        if mission is None:
            # what the catalogue lacks is rather no programme of HST
            missions = _MISSIONS[::-1] if self.catalogue else _MISSIONS
        reasons = []
        for name in missions:
            try:
                found = self._file(name, key)
            except (InvalidQueryError, CatalogueError, RemoteServiceError) as exc:
                reasons.append(self._reason(name, exc))
                continue
            except OfflineError:
                self.offline = True
                reasons.append("not on this machine, and downloads are switched off")
                continue
            if record is None:
                return found
            # the abstract is the text whose source is told
            places = {name: found[name] for name in ("source", "retrieved")}
            known = {k: v for k, v in record.items() if v is not None}
            return {**found, **known, **places}
        status = "; ".join(dict.fromkeys(reasons))
        if record is not None:
            return {**record, "status": f"no abstract in {record['source']}; {status}"}
        return {
            "proposal_id": key,
            "mission": mission,
            "abstract": None,
            "status": status,
        }

    def _file(self, mission, key):
        """Fetch the file of a programme, unless the server seems to be down."""
        if mission not in _MISSIONS:
            msg = (
                f"abstracts of mission {mission!r} are not public in one place; give "
                f"mission='HST' or 'JWST', or catalogue="
            )
            raise InvalidQueryError(msg)
        if self.down is not None:
            raise RemoteServiceError(self.down)
        try:
            record = _sources.programme_file(self.client, mission, key)
        except RemoteServiceError as exc:
            with self._lock:
                alive = exc.status in _REFUSALS
                self._failures = 0 if alive else self._failures + 1
                if self._failures >= _MOST_FAILURES and self.down is None:
                    self.down = (
                        f"{self._failures} programme files in a row could not be "
                        f"fetched, so that the others were not tried: {exc}"
                    )
            raise
        with self._lock:
            self._failures = 0
        return record

    def _reason(self, mission, exc):
        """Return in one line why a file is of no use."""
        if isinstance(exc, RemoteServiceError) and exc.status in _REFUSALS:
            return f"no public programme file of {mission} (status {exc.status})"
        return " ".join(str(exc).split())[:300]

    def offline_message(self, wanted):
        """Return what is missing on this machine, and what helps."""
        from paperclip import conf

        missions = sorted({mission or "HST" for mission, _ in wanted})
        places = []
        if "HST" in missions:
            places.append(f"the catalogue of HST abstracts ({conf.abstracts_url})")
        if "JWST" in missions:
            places.append(f"the programme files of JWST ({conf.programme_server})")
        return (
            f"{len(wanted)} proposals of {' and '.join(missions)} need "
            f"{' and '.join(places)}, which are not on this machine, and downloads are "
            "switched off. Run get_proposals once with a network (the answers are "
            "kept), or give catalogue= or set paperclip.conf.abstracts_url to a file"
        )


def _finished(record):
    """Return a record with a status and without what is left over."""
    if record["abstract"] is not None:
        status = "ok"
    else:
        status = record.get("status")
        status = "no abstract" if status in {None, "ok"} else status
    return {name: record.get(name) for name in PROPOSAL_COLUMNS} | {"status": status}
