# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The steps of a build: what is there, what has to be done, doing it."""

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from astropy.table import Table

from paperclip.exceptions import (
    DamagedIndexError,
    IndexExistsError,
    IndexNotFoundError,
    InvalidQueryError,
    ModelMismatchError,
)
from paperclip.index._buildstate import BuildState
from paperclip.index._embed import Embedding, Meter, RowWriter, embed
from paperclip.index._files import looks_like_index
from paperclip.index._metadata import FILE_COLUMNS, cell, extra_specs, texts
from paperclip.index._readers import Reader, read_ahead, reader_threads
from paperclip.index._rows import columns_to_arrow
from paperclip.index.report import BuildReport, Progress
from paperclip.index.schema import KEY
from paperclip.index.selection import Selection, fetch_pictures, select_pictures
from paperclip.index.sources import (
    Source,
    is_picture_store,
    open_source,
    plain,
    store_source,
)
from paperclip.index.store import Index

__all__ = ["Job", "rehearse", "run"]


@dataclass(kw_only=True)
class Job:
    """The checked arguments of `paperclip.index.build_index`, by their names."""

    uri: str
    path: Path | None
    state: BuildState
    pictures: Path
    source: object
    selection: Selection | None
    encoder: object
    metadata: object
    extra_columns: tuple
    update: bool
    retry_failed: bool
    batch_size: int
    workers: int | None
    commit_rows: int
    commit_seconds: float
    client: object
    device: str | None
    offline: bool | None
    progress: object
    started: float = field(default_factory=time.monotonic)


@dataclass
class _Todo:
    """What of a source is in the index, and what has to be done."""

    present: int = 0
    new: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    others: list = field(default_factory=list)


# ---- what is there


def _load(job):
    from paperclip import conf
    from paperclip.models import load_encoder

    model = conf.model if job.encoder is None else job.encoder
    return Embedding(load_encoder(model, device=job.device, offline=job.offline))


def _open(job):
    """Return the index, or None if there is none or only a beginning."""
    if job.path is not None and not looks_like_index(job.path):
        return None  # what else may be there is for Index.create to say
    try:
        return Index.open(job.uri)
    except IndexNotFoundError:
        return None
    except DamagedIndexError:
        if (job.state.record or {}).get("created") is False:
            return None  # killed while it was created
        raise


def _decide(job, index, embedding, identity):
    """Return "new", "resume", "update", "retry" or "finished", or refuse."""
    record = job.state.record or {}
    if index is None:
        begun = job.state.is_of(identity) and record.get("created") is False
        same = begun and record.get("fingerprint") == embedding.fingerprint
        return "resume" if same and not job.update else "new"
    if index.fingerprint != embedding.fingerprint:
        msg = (
            f"the index {job.uri} was built with the model {index.fingerprint!r}"
            f"{f' ({index.model})' if index.model else ''}, and the model in use is "
            f"{embedding.fingerprint!r} ({embedding.name}): their vectors cannot be "
            "mixed. Choose that model, or build an index of another name with this one"
        )
        raise ModelMismatchError(msg)
    if job.update:
        return "update"
    if job.state.is_of(identity):
        if not record.get("complete"):
            return "resume"
        return "retry" if job.retry_failed else "finished"
    msg = (
        f"there is an index at {job.uri} already, and nothing says that it is an "
        "unfinished build of this source; add what is new to it with update=True "
        "(--update on the command line), or build an index of another name"
    )
    raise IndexExistsError(msg)


def _compare(source, index, state):
    """Sort the files of a source by what is known of them."""
    present = set()
    if index is not None:
        present.update(index._snapshot.read([KEY])[KEY].to_pylist())
    state.load_failures({plain(obs_id) for obs_id in present})
    todo, first = _Todo(), {}
    for item, obs_id in enumerate(source.obs_ids):
        taken = first.setdefault(obs_id, item)
        if taken != item:
            reason = f"{plain(source.paths[taken])} has the same obs_id"
            todo.others.append((*source.key(item), "repeated", reason))
        elif obs_id in present:
            todo.present += 1
        elif state.has_failed(*source.key(item)):
            todo.failed.append(item)
        else:
            todo.new.append(item)
    for obs_id, place, reason in source.failed:
        if obs_id not in first and obs_id not in present:
            todo.others.append((plain(obs_id), plain(place), "absent", reason))
    return todo


# ---- what to do


def run(job):
    """
    Build.

    Parameters
    ----------
    job : Job
        What is asked for.

    Returns
    -------
    report : BuildReport
        What was done.
    """
    found = None if job.selection else _local(job)
    identity = job.selection.identity() if job.selection else found.identity
    with job.state.lock():
        embedding = _load(job)
        index = _open(job)
        mode = _decide(job, index, embedding, identity)
        if mode == "new":
            job.state.write_record(
                uri=job.uri,
                source=identity,
                fingerprint=embedding.fingerprint,
                model=embedding.name,
                created=False,
                selected=False,
                complete=False,
            )
        elif mode != "finished":
            changes = {"selected": False} if mode == "update" else {}
            job.state.write_record(source=identity, complete=False, **changes)
        if job.selection:
            found = _fetched(job, mode)
        if index is None:
            index = _create(job, embedding, found)
        todo = _compare(found, index, job.state)
        job.state.set_others(todo.others)
        added = 0
        if mode != "finished":
            items = list(todo.new)
            if mode == "retry":  # what could not be fetched may be there now
                absent = job.state.was_absent
                items = [item for item in items if absent(found.key(item)[0])]
            items += todo.failed if job.retry_failed else []
            added = _embed(job, index, embedding, found, sorted(items))
            job.state.write_record(complete=True)
        elif todo.new:
            found.notes.append(
                f"{len(todo.new)} files are new in the source; update=True (--update) "
                "adds them"
            )
        return _report(job, index, found, todo, added)


def rehearse(job):
    """
    Find out what `run` would do.

    Parameters
    ----------
    job : Job
        What is asked for.

    Returns
    -------
    report : BuildReport
        What would be done.
    """
    index = _open(job)
    if job.selection:
        table, left_out = select_pictures(job.selection, _client(job))
        ids = texts(table[KEY])
        found = Source("mast", "", ids, texts(table["dataURI"]))
        _note_left_out(found, left_out)
        identity = job.selection.identity()
    else:
        found = _local(job)
        identity = found.identity
    if index is not None:
        _decide(job, index, _load(job), identity)
    else:
        extra_specs(found.table, job.extra_columns)
    todo = _compare(found, index, job.state)
    job.state.set_others(todo.others)
    return _report(job, index, found, todo, 0)


def _local(job):
    job.progress(Progress("listing"))
    found = open_source(job.source, metadata=job.metadata)
    if not len(found) and not found.failed:
        msg = (
            f"source {job.source if found.root else found.kind!r} holds no picture and "
            "no FITS file; they are known by the end of their names (.jpg, .png, "
            ".fits ...)"
        )
        raise InvalidQueryError(msg)
    return found


def _client(job):
    if job.client is None:
        from paperclip.mast import MastClient

        job.client = MastClient(offline=job.offline)
    return job.client


def _note_left_out(found, left_out):
    if left_out:
        found.notes.append(
            f"{left_out} further previews of the same observations were left out"
        )


def _fetched(job, mode):
    """Return the pictures of a selection, after fetching what is missing."""
    from paperclip.mast.manifest import PictureStore

    job.progress(Progress("listing"))
    left_out = 0
    if mode == "finished" and not is_picture_store(job.pictures):
        return Source("store", "", [], [])
    if mode != "finished":
        known = job.state.record.get("selected") and is_picture_store(job.pictures)
        if not known:
            table, left_out = select_pictures(job.selection, _client(job))
            PictureStore.open_or_create(job.pictures).add(table)
            job.state.write_record(selected=True)
        meter = Meter(0)

        def tell(done, total):
            meter.total = total
            rate = meter.rate(done)
            left = meter.left(done, rate)
            job.progress(Progress("fetching", done, total, 0, rate, left))

        fetch_pictures(
            job.pictures,
            partial(_client, job),
            workers=job.workers,
            retry_failed=job.retry_failed,
            progress=tell,
        )
    found = store_source(job.pictures)
    _note_left_out(found, left_out)
    return found


def _create(job, embedding, found):
    specs = extra_specs(found.table, job.extra_columns)
    leftover = job.path is not None and looks_like_index(job.path)
    index = Index.create(
        job.uri,
        fingerprint=embedding.fingerprint,
        dimension=embedding.dimension,
        extra_columns=specs,
        model=embedding.name,
        overwrite=leftover,
    )
    job.state.write_record(created=True)
    if found.kind in ("folder", "table") and found.table is not None:
        used = {*index.colnames, *FILE_COLUMNS, "uri"}
        lost = [name for name in found.table.colnames if name not in used]
        if lost:
            found.notes.append(
                f"columns not kept: {', '.join(lost[:12])}"
                f"{' ...' if len(lost) > 12 else ''} (extra_columns keeps them)"
            )
    return index


def _embed(job, index, embedding, found, items):
    """Read, encode and write; return the number of rows added."""
    metadata = None
    if found.table is not None and len(found.table):
        names = [n for n in found.table.colnames if n in index.colnames and n != KEY]
        table = Table([cell(found.table, name) for name in names], names=names)
        metadata = columns_to_arrow(table, index._snapshot.schema) if names else None
    writer = RowWriter(
        index,
        found,
        metadata,
        job.state,
        fingerprint=embedding.fingerprint,
        rows=job.commit_rows,
        seconds=job.commit_seconds,
    )
    if not items:
        writer.flush()
        return 0
    meter = Meter(len(items))

    def tell(done):
        rate = meter.rate(done)
        left = meter.left(done, rate)
        failed = writer.n_failed
        job.progress(Progress("embedding", done, len(items), failed, rate, left))

    workers = reader_threads(job.workers)
    with Reader(embedding.prepare, workers) as reader:

        def read(item):
            return reader(found.paths[item])

        ahead = max(2 * job.batch_size, workers)
        embed(
            read_ahead(items, read, workers=workers, ahead=ahead),
            embedding.encode,
            writer,
            batch_size=job.batch_size,
            report=tell,
        )
    return writer.n_added


def _report(job, index, found, todo, added):
    failures = job.state.failures
    status = failures["status"].tolist()
    record = job.state.record or {}
    return BuildReport(
        uri=job.uri,
        index=index,
        n_source=todo.present + len(todo.new) + len(todo.failed),
        n_present=todo.present,
        n_new=len(todo.new),
        n_added=added,
        n_failed=len(status) - status.count("repeated"),
        n_repeated=status.count("repeated"),
        failures=job.state.failures_path,
        complete=bool(record.get("complete")),
        seconds=time.monotonic() - job.started,
        notes=tuple(found.notes),
    )
