# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Titles and abstracts of the proposals that observations were taken for."""

import re
from difflib import get_close_matches

import numpy as np
from astropy.table import Row, Table

from paperclip.exceptions import (
    FailedRowsWarning,
    InvalidQueryError,
    NoResultsWarning,
    OfflineError,
    RemoteServiceError,
)
from paperclip.mast import _sources
from paperclip.mast._fields import (
    PROPOSAL_COLUMNS,
    column_values,
    proposal_key,
    proposal_table,
)
from paperclip.mast._lookup import Lookup
from paperclip.results import empty_table
from paperclip.utils.checks import whole_number
from paperclip.utils.warn import warn_user

__all__ = [
    "PROPOSAL_COLUMNS",
    "get_proposals",
    "parse_cycles",
    "proposals_of_cycles",
]

_MISSIONS = ("HST", "JWST")
_MAX_CYCLE = 199
_PART = re.compile(r"(?:cycle\s*)?(\d{1,9})(?:\s*(?:-|\u2013|\.\.)\s*(\d{1,9}))?", re.I)


def get_proposals(client, ids, *, mission=None, catalogue=None, workers=None):
    """
    Return title, abstract and more of programmes.

    What ``catalogue`` has is taken from there. For HST the catalogue of
    abstracts at ``paperclip.conf.abstracts_url`` is read next, once in 30
    days. What is still missing, and all of JWST, comes from the public programme
    files on ``paperclip.conf.programme_server``, one request each, whose
    answers are kept for 30 days as well.

    Parameters
    ----------
    client : `~paperclip.mast.MastClient` or None
        Who asks; a new one when None.
    ids : str, int, sequence, `~astropy.table.Table` or `~astropy.table.Row`
        Numbers of programmes, or rows with ``proposal_id`` such as what
        ``query_text`` returned. Repeated ones are looked up and listed once;
        rows of a table without a number are passed over.
    mission : str, optional
        Mission of ids that come without one, ``"HST"`` or ``"JWST"``; a
        table says it in ``obs_collection`` or ``mission``. When nobody says, a
        number stands for the programme of HST, and for that of JWST where
        HST has none; a warning tells when that is ambiguous.
    catalogue : `~astropy.table.Table` or path-like, optional
        Proposals to look in first: a table with at least ``proposal_id`` and
        ``abstract``, such as what this function returned or one read from a
        CSV file; of the other columns ``mission`` (or ``obs_collection``, or
        ``meta["mission"]``), ``cycle`` (also as "Cycle 4"), ``type``, ``category``,
        ``title`` and ``pi`` are used. Rows without a mission stand for any.
        Or a file with such a table (CSV, ECSV, TSV, VOTable, FITS), or a file
        ``abstracts.cat``. Missions other than HST and JWST come only from here.
    workers : int, optional
        Files that are fetched at the same time; ``paperclip.conf.workers`` when
        not given.

    Returns
    -------
    table : `~astropy.table.Table`
        One row per programme in the order given: ``proposal_id, mission,
        cycle, type, category, title, pi, abstract, source, retrieved,
        status``. What is not known is masked; ``status`` is ``"ok"``, or says
        why there is no abstract.

    Raises
    ------
    InvalidQueryError
        If ``ids`` holds no numbers, or an argument is of no use.
    OfflineError
        If downloads are switched off and nothing asked for is on this
        machine.
    CatalogueError
        If ``catalogue`` cannot be read.

    Warns
    -----
    FailedRowsWarning
        If programmes have no abstract: how many, and why the first has none.
    NoResultsWarning
        If ``ids`` is empty.
    RemoteServiceWarning
        If the catalogue of HST cannot be had.
    """
    mission = _checked_mission(mission)
    workers = _checked_workers(workers)
    wanted = _wanted(ids, mission)
    if not wanted:
        warn_user("no proposals were asked for", NoResultsWarning)
        return empty_table(specs=PROPOSAL_COLUMNS)
    look = Lookup(client, catalogue, workers)
    records = look.up(wanted)
    if look.offline and not any(record["abstract"] for record in records):
        raise OfflineError(look.offline_message(wanted))
    table = proposal_table(records)
    failed = [record for record in records if record["status"] != "ok"]
    for text, kind in look.warnings:
        warn_user(text, kind)
    if failed:
        first = failed[0]
        msg = (
            f"{len(failed)} of {len(records)} proposals have no abstract; the first, "
            f"{first['mission'] or 'number'} {first['proposal_id']}: {first['status']}"
        )
        warn_user(msg, FailedRowsWarning)
    return table


def proposals_of_cycles(client, mission, cycles, *, catalogue=None, workers=None):
    """
    Return the programmes of some cycles.

    Parameters
    ----------
    client : `~paperclip.mast.MastClient` or None
        Who asks; a new one when None.
    mission : str
        ``"HST"``, ``"JWST"``, or a mission that ``catalogue`` has.
    cycles : str, int or sequence of int
        As for `parse_cycles`.
    catalogue : `~astropy.table.Table` or path-like, optional
        As for `get_proposals`, with the column ``cycle``. When it has rows of
        the mission, nothing else is asked.
    workers : int, optional
        As for `get_proposals`.

    Returns
    -------
    ids : list of str
        Numbers of programmes in ascending order.

    Raises
    ------
    InvalidQueryError
        If an argument is of no use.
    OfflineError, RemoteServiceError, CatalogueError
        If the programmes cannot be found out.

    Warns
    -----
    FailedRowsWarning
        If the cycle of some programmes is not known.
    NoResultsWarning
        If there are no programmes in these cycles.

    Notes
    -----
    For HST it costs the catalogue of abstracts, some 20 MB once in 30 days.

    There is no public list of JWST's programmes by cycle. For JWST the public
    images of calibration level 3 are listed (some 10^5 rows, minutes and tens
    of megabytes), then the file of each programme among them is fetched
    (some 10^3 files of up to a few megabytes; kept for 30 days). A table as
    ``catalogue`` saves all of that.
    """
    mission = _checked_mission(mission)
    if mission is None:
        msg = f"mission must be a name such as {_MISSIONS}, got None"
        raise InvalidQueryError(msg)
    cycles = set(parse_cycles(cycles))
    workers = _checked_workers(workers)
    look = Lookup(client, catalogue, workers)
    records = [r for (name, _), r in look.given.items() if name in {mission, None}]
    if not records:
        records = _all_proposals(look, mission)
    for text, kind in look.warnings:
        warn_user(text, kind)
    unknown = [r["proposal_id"] for r in records if r["cycle"] is None]
    if unknown and mission != "HST":
        # engineering programmes of HST belong to no cycle
        msg = (
            f"the cycle of {len(unknown)} of {len(records)} programmes of {mission} is "
            f"not known, among them {unknown[:5]}; they are left out"
        )
        warn_user(msg, FailedRowsWarning)
    ids = {record["proposal_id"] for record in records if record["cycle"] in cycles}
    if not ids:
        text = ", ".join(map(str, sorted(cycles)))
        known = sorted({r["cycle"] for r in records} - {None})
        there = f"; those known are {known[0]} to {known[-1]}" if known else ""
        msg = f"no programmes of {mission} are known in the cycles {text}{there}"
        warn_user(msg, NoResultsWarning)
    return sorted(ids, key=lambda key: (not key.isdigit(), key.rjust(12)))


def parse_cycles(cycles):
    """
    Return the numbers of cycles from a text like "25-27,30".

    Parameters
    ----------
    cycles : str, int or sequence of int
        Numbers and ranges, both ends included, with commas between.

    Returns
    -------
    numbers : tuple of int
        In ascending order, each once.

    Raises
    ------
    InvalidQueryError
        If it is no such text, or a number is above 199.
    """
    if not isinstance(cycles, str):
        try:
            values = list(cycles)
        except TypeError:
            values = [cycles]
        parts = [(v, v) for v in (whole_number("cycles", v, 0) for v in values)]
    else:
        parts = []
        for text in cycles.split(","):
            match = _PART.fullmatch(text.strip())
            if match is None:
                msg = "cycles must be numbers and ranges like '25-27,30', got "
                raise InvalidQueryError(msg + repr(cycles))
            low = int(match[1])
            parts.append((low, int(match[2] or low)))
    numbers = set()
    for low, high in parts:
        if not low <= high <= _MAX_CYCLE:
            msg = f"cycles must rise and be at most {_MAX_CYCLE}, got {cycles!r}"
            raise InvalidQueryError(msg)
        numbers.update(range(low, high + 1))
    if not numbers:
        msg = f"cycles must hold at least one number, got {cycles!r}"
        raise InvalidQueryError(msg)
    return tuple(sorted(numbers))


def _checked_mission(mission):
    if mission is None:
        return None
    if not isinstance(mission, str) or not mission.strip():
        msg = f"mission must be a name such as {_MISSIONS}, got {mission!r}"
        raise InvalidQueryError(msg)
    return _sources.archive_mission(mission)


def _checked_workers(workers):
    from paperclip import conf

    if workers is None:
        return whole_number("workers (paperclip.conf.workers)", conf.workers, 1, 256)
    return whole_number("workers", workers, 1, 256)


def _wanted(ids, mission):
    """Return different (mission or None, number) in the order given."""
    if isinstance(ids, Row):
        ids = Table(ids)
    if isinstance(ids, Table):
        return _wanted_of_table(ids, mission)
    if isinstance(ids, str):
        ids = ids.split(",")
    elif isinstance(ids, (int, np.number, np.str_)) or ids is None:
        ids = [ids]
    try:
        ids = list(ids)
    except TypeError:
        msg = f"ids must be numbers of programmes or a Table, got {ids!r}"
        raise InvalidQueryError(msg) from None
    pairs = []
    for value in ids:
        key = proposal_key(value)
        if key is None or isinstance(value, (bool, np.bool_)) or len(key) > 64:
            msg = f"ids must be numbers of programmes, got {value!r}"
            raise InvalidQueryError(msg)
        pairs.append((mission, key))
    return list(dict.fromkeys(pairs))


def _wanted_of_table(table, mission):
    if "proposal_id" not in table.colnames:
        msg = f"ids must have a column 'proposal_id', got a table with {table.colnames}"
        raise InvalidQueryError(msg)
    name = next((c for c in ("obs_collection", "mission") if c in table.colnames), None)
    keys = map(proposal_key, column_values(table, "proposal_id"))
    places = column_values(table, name) if name else [None] * len(table)
    pairs = [
        ((place and _sources.archive_mission(place)) or mission, key)
        for place, key in zip(places, keys, strict=True)
        if key is not None
    ]
    if len(table) and not pairs:
        msg = f"ids has {len(table)} rows, and proposal_id is masked in all of them"
        raise InvalidQueryError(msg)
    return list(dict.fromkeys(pairs))


def _all_proposals(look, mission):
    """Return records of all programmes of a mission, with their cycles."""
    if mission == "HST":
        return list(_sources.archive_catalogue(look.client, look.warnings).values())
    if mission != "JWST":
        near = get_close_matches(mission, _MISSIONS, 1, 0.6)
        hint = f"did you mean {near[0]!r}? Otherwise " if near else ""
        msg = (
            f"the programmes of {mission!r} are not public in one place; {hint}give "
            "catalogue=, a Table with proposal_id, mission, cycle and abstract"
        )
        raise InvalidQueryError(msg)
    filters = {
        "obs_collection": [mission],
        "intentType": ["science"],
        "dataRights": ["PUBLIC"],
        "dataproduct_type": ["image"],
        "calib_level": [3],
    }
    observations = look.client.observations(filters)
    if not len(observations):
        return []
    wanted = _wanted_of_table(observations["obs_collection", "proposal_id"], mission)
    records = look.up(wanted)
    if look.offline:
        raise OfflineError(look.offline_message(wanted))
    if look.down is not None:
        raise RemoteServiceError(look.down)
    return records
