# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Where proposals are read from: a table or file of the user, or the archive."""

from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from astropy.table import Table

from paperclip.exceptions import CatalogueError, CatalogueWarning, InvalidQueryError
from paperclip.mast import cache as _cache
from paperclip.mast._fields import (
    clean_line,
    clean_text,
    column_values,
    cycle_number,
    longest,
    proposal_key,
    proposal_table,
)
from paperclip.mast._unpack import is_gzip, is_zip
from paperclip.mast.abstracts import (
    ENDS_EARLY,
    MAX_BYTES,
    catalogue_bytes,
    parse_abstracts,
    summary_of_problems,
)
from paperclip.mast.programmes import MAX_BYTES as MAX_PROGRAMME_BYTES
from paperclip.mast.programmes import programme_path, read_programme

__all__ = [
    "archive_catalogue",
    "now",
    "programme_file",
    "records_of",
    "user_catalogue",
]

_TABLES = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".tsv": "ascii.tab"}
_TABLES |= {".vot": "votable", ".xml": "votable", ".fits": "fits"}
# a body that broke off, or an error page, may have status 200
_ATTEMPTS = 3
_LINKS = (".cat", ".cat.gz", ".zip")
_TEXTS = ("type", "category", "title", "pi", "source", "retrieved")


def now():
    """Return the present in UTC as text."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def archive_mission(value):
    """Return the mission whose proposals a collection of MAST goes back to."""
    text = clean_line(str(value)).upper()
    return {"HLA": "HST"}.get(text, text) or None


def records_of(table, *, source):
    """
    Return the rows of a table by mission and number.

    Parameters
    ----------
    table : `~astropy.table.Table`
        With ``proposal_id`` and ``abstract`` at least; ``mission`` or
        ``obs_collection``, ``cycle``, ``type``, ``category``, ``title`` and
        ``pi`` count, other columns do not.
    source : str
        What to say where the rows are from, when the table does not.

    Returns
    -------
    records : dict
        (mission, proposal_id) to dict. The mission is None where the table
        has none: such a row stands for any mission.

    Raises
    ------
    InvalidQueryError
        If one of the two columns is missing.
    """
    missing = [
        name for name in ("proposal_id", "abstract") if name not in table.colnames
    ]
    if missing:
        msg = (
            f"catalogue must have the columns 'proposal_id' and 'abstract'; "
            f"{missing} not found among {table.colnames}"
        )
        raise InvalidQueryError(msg)
    place = next(
        (c for c in ("mission", "obs_collection") if c in table.colnames), None
    )
    common = table.meta.get("mission") if place is None else None
    columns = {
        name: column_values(table, name)
        for name in ("proposal_id", "abstract", "cycle", *_TEXTS)
    }
    missions = [common] * len(table) if place is None else column_values(table, place)
    records, present = {}, now()
    for number, mission in enumerate(missions):
        key = proposal_key(columns["proposal_id"][number])
        if key is None:
            continue
        mission = None if mission is None else archive_mission(mission)
        record = {"proposal_id": key, "mission": mission}
        for name in _TEXTS:
            value = columns[name][number]
            record[name] = None if value is None else clean_line(str(value)) or None
        text = columns["abstract"][number]
        record["abstract"] = None if text is None else clean_text(str(text)) or None
        record["cycle"] = cycle_number(columns["cycle"][number])
        for name, value in record.items():
            if isinstance(value, str) and len(value) > longest(name):
                record[name] = None
        record["source"] = record["source"] or source
        record["retrieved"] = record["retrieved"] or present
        other = records.get((mission, key))
        if other is None or _length(record) > _length(other):
            records[mission, key] = record
    return records


def _length(record):
    return len(record["abstract"] or "")


def user_catalogue(catalogue, notes):
    """
    Return the proposals that the user gave.

    Parameters
    ----------
    catalogue : `~astropy.table.Table`, path-like or None
        A table, a file with one (CSV, ECSV, TSV, VOTable, FITS), or a file
        ``abstracts.cat`` of HST.
    notes : list
        (text, class) of warnings are added to it.

    Returns
    -------
    records : dict
        As `records_of`.

    Raises
    ------
    InvalidQueryError
        If it is neither, or there is no such file.
    CatalogueError
        If the file cannot be read.
    """
    if catalogue is None:
        return {}
    if isinstance(catalogue, Table):
        return records_of(catalogue, source="table")
    try:
        path = Path(catalogue).expanduser()
    except TypeError:
        path = None
    if path is None or not path.is_file():
        msg = "catalogue must be a Table or the path of a file that exists, got "
        msg += repr(catalogue)
        raise InvalidQueryError(msg)
    form = _TABLES.get(path.suffix.lower())
    if form is None:
        return _local_catalogue(path, notes)
    try:
        table = Table.read(path, format=form)
    except (ValueError, TypeError, OSError, IndexError, KeyError) as exc:
        msg = f"{path} is no table that can be read: {exc}"
        raise CatalogueError(msg) from exc
    return records_of(table, source=str(path))


def _local_catalogue(path, notes):
    """Read ``abstracts.cat`` from disk."""
    return _by_number(*_parsed(catalogue_bytes(path), str(path)), notes)


def _parsed(data, name):
    """Return the records and problems of a catalogue, and its name."""
    return (*parse_abstracts(data, name=name), name)


def _by_number(records, problems, name, notes):
    """Return the records of a catalogue of HST by mission and number."""
    if problems:
        text = summary_of_problems(name, len(records), problems)
        notes.append((text, CatalogueWarning))
    present = now()
    found = {}
    for record in records:
        key = record["proposal_id"]
        if key is not None:
            record.update(mission="HST", source=name, retrieved=present)
            found["HST", key] = record
    return found


def archive_catalogue(client, notes):
    """
    Return the HST catalogue at ``paperclip.conf.abstracts_url``.

    It is fetched once and then read from the cache for 30 days.

    Parameters
    ----------
    client : `~paperclip.mast.MastClient`
        Who fetches it.
    notes : list
        (text, class) of warnings are added to it.

    Returns
    -------
    records : dict
        As `records_of`.

    Raises
    ------
    OfflineError
        If it is not in the cache, and downloads are switched off.
    RemoteServiceError
        If it cannot be fetched.
    CatalogueError
        If what came is no catalogue.
    """
    from paperclip import conf

    url = str(conf.abstracts_url)
    if not url.lower().startswith(("http://", "https://")):
        path = Path(url.removeprefix("file://")).expanduser()
        if not path.is_file():
            msg = "paperclip.conf.abstracts_url must be an address (http, https) or a "
            msg += f"file that exists, got {url!r}"
            raise InvalidQueryError(msg)
        return _local_catalogue(path, notes)
    query = {"service": "HST abstracts", "url": url, "version": 1}
    table = _cache.load_answer(query, any_age=client.offline)
    if table is not None:
        return records_of(table, source=url)
    found = _by_number(*_fetched_catalogue(client, url), notes)
    _cache.store_answer(query, proposal_table(list(found.values())))
    return found


def _fetched_catalogue(client, url):
    """Fetch the catalogue until it is whole, or take the longest one."""
    best, trouble, sizes = None, None, set()
    for _ in range(_ATTEMPTS):
        data, place = _page(client, url)
        try:
            if (link := find_link(data, url)) is not None:
                data, place = _page(client, link)
            parsed = _parsed(data, place)
        except CatalogueError as exc:
            trouble = exc
            continue
        if len(data) > max(sizes, default=0):
            best = parsed
        ends = any(entry["problem"] == ENDS_EARLY for entry in parsed[1])
        whole = data.endswith(b"\n") or is_gzip(data) or is_zip(data)
        # the same again is all there is
        if (whole and not ends) or len(data) in sizes:
            break
        sizes.add(len(data))
    if best is None:
        raise trouble
    return best


def _page(client, url):
    what = "the catalogue of HST proposal abstracts"
    return client.fetch(url, max_bytes=MAX_BYTES, what=what), url


class _Links(HTMLParser):
    """Collect the targets of links."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        target = dict(attrs).get("href")
        if tag == "a" and target:
            self.found.append(target)


def find_link(data, url):
    """
    Return the address of the catalogue that a page links to.

    Parameters
    ----------
    data : bytes
        The page.
    url : str
        Its address.

    Returns
    -------
    link : str or None
        The first link to a ``.cat``, ``.cat.gz`` or ``.zip`` file on the same
        host; None when the content is no page of HTML.

    Raises
    ------
    CatalogueError
        If the page has no such link.
    """
    head = data[:200_000]
    if not head.lstrip().startswith(b"<") or b"Prop. Type:" in head:
        return None
    parser = _Links()
    parser.feed(head.decode("utf-8", "replace"))
    host = urlsplit(url).netloc.lower()
    for target in parser.found:
        try:
            address = urljoin(url, target.strip())
            parts = urlsplit(address)
        except ValueError:
            continue
        same = parts.scheme in {"http", "https"} and parts.netloc.lower() == host
        if same and parts.path.lower().endswith(_LINKS):
            return address
    msg = (
        f"the page {url} has no link to a catalogue ({', '.join(_LINKS)}) on the same "
        "host; set paperclip.conf.abstracts_url to the catalogue itself, or give "
        "catalogue="
    )
    raise CatalogueError(msg)


def programme_file(client, mission, proposal_id):
    """
    Return what the public file of a programme says.

    The answer is read from the cache for 30 days.

    Parameters
    ----------
    client : `~paperclip.mast.MastClient`
        Who fetches it.
    mission, proposal_id : str
        ``"HST"`` or ``"JWST"``, and a number.

    Returns
    -------
    record : dict
        Values by column.

    Raises
    ------
    OfflineError, RemoteServiceError, CatalogueError
        As `archive_catalogue`.
    """
    from paperclip import conf

    url = str(conf.programme_server).rstrip("/") + programme_path(mission, proposal_id)
    query = {"service": f"{mission} programme", "url": url, "version": 1}
    table = _cache.load_answer(query, any_age=client.offline)
    if table is not None and len(table) == 1:
        return next(iter(records_of(table, source=url).values()))
    facts = _fetched_programme(client, url, mission, proposal_id)
    found = facts["proposal_id"]
    if found is not None and found != proposal_id:
        msg = f"{url} is the file of programme {found}"
        raise CatalogueError(msg)
    record = {**facts, "proposal_id": proposal_id, "source": url, "retrieved": now()}
    _cache.store_answer(query, proposal_table([record]))
    return record


def _fetched_programme(client, url, mission, proposal_id):
    """Fetch a programme file, again when it is damaged."""
    what = f"the file of the {mission} programme {proposal_id}"
    for attempt in range(_ATTEMPTS):
        data = client.fetch(url, max_bytes=MAX_PROGRAMME_BYTES, what=what)
        try:
            return read_programme(data, mission)
        except CatalogueError:
            if attempt + 1 == _ATTEMPTS:
                raise
    return None
