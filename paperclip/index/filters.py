# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From the conditions of a user to the rows of an index that fulfil them."""

import math
import re
from dataclasses import dataclass, field
from datetime import date, datetime
from numbers import Real

import numpy as np

from paperclip.exceptions import InvalidQueryError
from paperclip.footprints import Footprints, SkyArea, sky_area
from paperclip.index._checks import check_unicode
from paperclip.index._reading import (
    ADDRESS,
    STORE_ERRORS,
    address_condition,
    first_line,
    scan,
)
from paperclip.index._sky import AREA_COLUMNS, coarse_condition, sorted_by_circles
from paperclip.index.schema import INTERNAL, VECTOR, nearest

__all__ = ["TEXT_FILTERS", "RowFilter", "row_filter"]

#: Columns of text that have an argument of their own in a search.
TEXT_FILTERS = (
    "instrument_name",
    "filters",
    "obs_collection",
    "proposal_id",
    "target_name",
)

_BATCH = 8192  # rows whose footprints are held at a time
_QUOTED = re.compile(r"'(?:[^']|'')*'")
_FIELD = re.compile(r"No field named [`\"']?([^`\"'\s,]+?)[`\"']?\.(?:\s|$)")
# names that begin with an underscore are the engine's own
_HIDDEN = re.compile(
    rf"(?<![\w.])({'|'.join((*INTERNAL, VECTOR, r'_row[a-z_]*'))})(?!\w)", re.I
)
_YEARS = range(1850, 2200)  # not taken for days of the 19th century
_LIKE = {"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": r"\\"}


@dataclass(frozen=True)
class RowFilter:
    """
    Conditions on the rows of an index, made by `row_filter`.

    Parameters
    ----------
    predicate : str
        Condition in SQL for Lance. With an ``area`` it holds for all rows that
        meet the area and for some that do not.
    area : `~paperclip.footprints.SkyArea` or `None`
        The part of the sky that footprints must meet.
    where : str or `None`
        The part of ``predicate`` that the user wrote.
    names : tuple of str
        Columns that the user may name.
    facts : dict of str to str
        The conditions for people, under keys of at most eight characters.
    """

    predicate: str
    area: SkyArea | None = None
    where: str | None = None
    names: tuple = ()
    facts: dict = field(default_factory=dict)

    @property
    def exact_in_sql(self):
        """Whether ``predicate`` says it all (bool)."""
        return self.area is None

    @property
    def text(self):
        """The conditions in one line (str)."""
        return "; ".join(f"{key}: {value}" for key, value in self.facts.items())

    def check(self, dataset):
        """
        Check the condition that the user wrote, without reading rows.

        Parameters
        ----------
        dataset : `lance.LanceDataset`
            The version to search.

        Raises
        ------
        InvalidQueryError
            If it is not one condition in SQL on the columns of the index.
        """
        if self.where is not None:
            _check_condition(self.where, self.names, dataset)

    def addresses(self, dataset, uri):
        """
        Find the rows that fulfil all conditions.

        Parameters
        ----------
        dataset : `lance.LanceDataset`
            The version to search.
        uri : str
            Where it is, for messages.

        Returns
        -------
        addresses : `~numpy.ndarray` of uint64, shape (n,)
            Row addresses of Lance, ascending.

        Raises
        ------
        InvalidQueryError
            If the condition in SQL is wrong, or fails on a value.
        DamagedIndexError
            If the files cannot be read.
        """
        self.check(dataset)
        found, open_ = ([np.empty(0, dtype=np.uint64)] for _ in range(2))
        columns = [] if self.area is None else list(AREA_COLUMNS)
        try:
            for batch in scan(dataset, uri, columns, where=self.predicate):
                rows = batch[ADDRESS].to_numpy()
                if self.area is None:
                    found.append(rows)
                    continue
                for start in range(0, len(rows), _BATCH):
                    part = slice(start, start + _BATCH)
                    sure, unsure = sorted_by_circles(self.area, batch[part])
                    found.append(rows[part][sure])
                    open_.append(rows[part][unsure])
        except InvalidQueryError as exc:  # it names all of the predicate
            reason = str(exc).rpartition("cannot be computed: ")[2]
            msg = f"where={self.where!r} cannot be computed: {reason}"
            raise InvalidQueryError(msg) from exc
        found += self._meeting(dataset, uri, np.sort(np.concatenate(open_)))
        return np.sort(np.concatenate(found))

    def _meeting(self, dataset, uri, addresses):
        """Yield those of some rows whose footprints meet the area."""
        for start in range(0, len(addresses), _BATCH):
            some = addresses[start : start + _BATCH]
            where = address_condition(some)
            for batch in scan(dataset, uri, ["s_region"], where=where):
                footprints = Footprints(batch["s_region"].to_pylist())
                yield batch[ADDRESS].to_numpy()[self.area.intersects(footprints)]


def row_filter(
    specs,
    *,
    where=None,
    region=None,
    radius=None,
    t_min=None,
    t_max=None,
    **columns,
):
    """
    Return conditions on rows in a form that an index can use.

    Parameters
    ----------
    specs : mapping of str to `~paperclip.results.ColumnSpec`
        Columns of the index.
    where : str, optional
        Condition in SQL on them.
    region : object, optional
        Part of the sky, as `~paperclip.footprints.sky_area` takes it. Rows are
        kept whose footprint (``s_region``) has a point in common with it, or
        whose position where there is no footprint that can be read.
    radius : `~astropy.coordinates.Angle`, quantity, str or float, optional
        Of a circle around a position; a number is in degrees.
    t_min, t_max : `~astropy.time.Time`, str or float, optional
        Keep rows whose exposure overlaps this interval, ends included: a time,
        ISO text (UTC) or MJD. A row that lacks the start or the end of the
        exposure counts as an instant.
    **columns
        Values for the columns of `TEXT_FILTERS`: a text or several, of which
        one must match, upper and lower case alike; ``*`` is any text and ``?``
        any character. Rows without a value never match.

    Returns
    -------
    conditions : `RowFilter` or `None`
        `None` if nothing is asked for.

    Raises
    ------
    InvalidQueryError
        If an argument has no meaning.
    """
    parts, facts, area = [], {}, None
    if where is not None:
        if not isinstance(where, str) or not where.strip():
            msg = f"where must be a condition in SQL or None, got {where!r}"
            raise InvalidQueryError(msg)
        check_unicode("where", where)
        parts.append(f"({where})")
        facts["where"] = where
    if region is None and radius is not None:
        msg = f"radius needs region, a position, beside it; got radius={radius!r:.60}"
        raise InvalidQueryError(msg)
    words = []
    for name, given in columns.items():
        if name not in TEXT_FILTERS:
            msg = f"there is no condition {name!r}{nearest(name, TEXT_FILTERS)}"
            raise InvalidQueryError(msg)
        if given is not None:
            values = _values(name, given)
            parts.append(_choice(name, values))
            words.append(f"{name}={','.join(values)}")
    if words:
        facts["filter"] = " ".join(words)
    parts += _times(t_min, t_max, facts)
    if region is not None:
        area = sky_area(region, radius)
        parts.append(coarse_condition(area))
        facts["region"] = _area_text(area)
    if not parts:
        return None
    return RowFilter(" AND ".join(parts), area, where, tuple(specs), facts)


def _values(name, given):
    """Return what was given for a column of text as a list of texts."""
    several = not isinstance(given, str | bytes) and np.ndim(given) > 0
    several = several or isinstance(given, list | tuple | set | frozenset)
    values = list(given) if several else [given]
    if not values:
        msg = f"{name} must have at least one value, got {given!r}"
        raise InvalidQueryError(msg)
    texts = []
    for value in values:
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            value = str(value)  # the number of a programme
        if not isinstance(value, str) or not value.strip():
            msg = f"{name} must be texts that are not blank, got {value!r}"
            raise InvalidQueryError(msg)
        if "\0" in value:
            msg = f"{name} must not hold the character NUL, got {value!r}"
            raise InvalidQueryError(msg)
        check_unicode(name, value)
        texts.append(str(value.strip()))
    return list(dict.fromkeys(texts))


def _choice(name, values):
    """Return the condition that a column of text matches one of some values."""
    plain = [v.lower() for v in values if not ("*" in v or "?" in v)]
    wild = [v.lower() for v in values if "*" in v or "?" in v]
    parts = []
    if plain:
        parts.append(f"lower({name}) IN ({', '.join(map(_quoted, plain))})")
    for value in wild:
        pattern = "".join(_LIKE.get(letter, letter) for letter in value)
        parts.append(f"lower({name}) LIKE {_quoted(pattern)}")
    return f"({' OR '.join(parts)})"


def _quoted(text):
    return "'" + text.replace("'", "''") + "'"


def _times(t_min, t_max, facts):
    """Return the conditions of an interval of time."""
    low, high = _mjd("t_min", t_min), _mjd("t_max", t_max)
    if low is not None and high is not None and low > high:
        msg = (
            f"t_min must not be after t_max, got MJD {low:.6f} to {high:.6f}; did "
            "you mix them up?"
        )
        raise InvalidQueryError(msg)
    # differences, so that no index is asked: half of the sky's history lies on one
    # side of a time, and a BTREE takes ten times as long as a scan to list it
    parts = []
    if low is not None:
        facts["t_min"] = f"MJD {low:.6f}"
        late, only = f"t_max - {low!r} >= 0", f"t_min - {low!r} >= 0"
        parts.append(f"({late} OR (t_max IS NULL AND {only}))")
    if high is not None:
        facts["t_max"] = f"MJD {high:.6f}"
        early, only = f"t_min - {high!r} <= 0", f"t_max - {high!r} <= 0"
        parts.append(f"({early} OR (t_min IS NULL AND {only}))")
    return parts


def _mjd(name, value):
    """Return a time as MJD (UTC)."""
    if value is None:
        return None
    rule = f"{name} must be a Time, a text such as '2022-07-12' or '2022-07-12T10:30'"
    rule += f", or an MJD, got {value!r:.60}"
    if isinstance(value, str):
        value = value.strip()
        if re.fullmatch(r"[-+]?[0-9]+(\.[0-9]*)?", value):
            value = float(value)
    if isinstance(value, Real) and not isinstance(value, bool | np.bool_):
        mjd = float(value)
        if mjd in _YEARS:
            msg = (
                f"{rule}; as an MJD that is a day before 1865, so write the year as "
                f"'{mjd:.0f}-01-01', or the day as Time({mjd:.0f}, format='mjd')"
            )
            raise InvalidQueryError(msg)
    else:
        mjd = _time(value, rule)
    if not math.isfinite(mjd):
        raise InvalidQueryError(rule)
    if abs(mjd) > 1e6:
        msg = f"{rule}; MJD lie between -1e6 and 1e6 here, is it a Julian date?"
        raise InvalidQueryError(msg)
    return mjd


def _time(value, rule):
    from astropy.time import Time

    if not isinstance(value, Time | str | date):
        raise InvalidQueryError(rule)
    try:
        time = value if isinstance(value, Time) else Time(_plain(value), scale="utc")
        if not time.isscalar or np.any(time.mask):
            raise InvalidQueryError(rule)
        return float(time.utc.mjd)
    except ValueError as exc:
        raise InvalidQueryError(rule) from exc


def _plain(value):
    return value if isinstance(value, str | datetime) else value.isoformat()


def _area_text(area):
    """Return where an area is, for people."""
    centre, _ = area.bounding_circle
    radius = math.degrees(area.cap[1])
    kind = "circle" if area.is_circle else f"{len(area.parts)} part(s) within"
    return f"{kind} {centre.ra.deg:.6f} {centre.dec.deg:+.6f} {radius:.6g} deg"


def _check_condition(where, names, dataset):
    """Let Lance plan a condition; say in our words what is wrong with it."""
    bare = _QUOTED.sub("''", where)
    for sign in (";", "--", "/*"):
        if sign in bare:
            msg = f"where={where!r} must be one condition, without {sign!r}"
            raise InvalidQueryError(msg)
    _check_brackets(where, bare)
    known = {name.lower() for name in names}
    for name in re.findall(r'"([^"]*)"', bare):
        if name.lower() in known:  # Lance would compare a text, not a column
            msg = f"where={where!r}: write {name} without double quotes"
            raise InvalidQueryError(msg)
    hidden = _HIDDEN.search(bare)
    if hidden:
        msg = f"where={where!r}: no column {hidden[1]!r}{nearest(hidden[1], names)}"
        raise InvalidQueryError(msg)
    try:
        # in brackets: Lance ignores what follows a complete condition
        dataset.scanner(
            columns=[], filter=f"({where})", with_row_address=True, prefilter=True
        ).explain_plan()
    except STORE_ERRORS as exc:
        unknown = _FIELD.search(str(exc))
        if unknown:
            hint = nearest(unknown[1], names)
            msg = f"where={where!r}: no column {unknown[1]!r}{hint}"
        else:
            msg = (
                f"where={where!r} is not a condition in SQL such as "
                f"\"instrument_name = 'NIRCAM'\": {first_line(exc)}"
            )
        raise InvalidQueryError(msg) from exc


def _check_brackets(where, bare):
    depth = 0
    for letter in bare:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
    if depth:
        msg = f"where={where!r} is not a condition in SQL: brackets do not match"
        raise InvalidQueryError(msg)
