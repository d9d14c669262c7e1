# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The steps of a build, one after the other."""

import threading
import time
from contextlib import ExitStack

from astropy.table import Table

from paperclip.exceptions import InvalidQueryError, OfflineError
from paperclip.index._embed import Meter, embed
from paperclip.index._files import looks_like_index
from paperclip.index._job import compare, decide, embedding_of, open_index
from paperclip.index._metadata import FILE_COLUMNS, cell, extra_specs, texts
from paperclip.index._readers import Reader, read_ahead, reader_threads
from paperclip.index._remote import is_remote
from paperclip.index._rows import columns_to_arrow
from paperclip.index._rowwriter import RowWriter
from paperclip.index.report import BuildReport, Progress
from paperclip.index.schema import KEY
from paperclip.index.selection import (
    Arrivals,
    FetchError,
    check_network,
    select_pictures,
)
from paperclip.index.sources import (
    Source,
    is_picture_store,
    open_source,
    plain,
    store_source,
)
from paperclip.index.store import Index

__all__ = ["build", "rehearse", "run", "source_of"]


def run(job):
    """
    Build, and keep other builds of the same index out.

    Parameters
    ----------
    job : paperclip.index._job.Job
        What is asked for.

    Returns
    -------
    report : BuildReport
        What was done.
    """
    found, identity = source_of(job)
    with job.state.lock():
        return build(job, embedding_of(job), found, identity)


def source_of(job):
    """
    List the source, unless it is MAST.

    Parameters
    ----------
    job : paperclip.index._job.Job
        What is asked for.

    Returns
    -------
    found : paperclip.index.sources.Source or None
        None for MAST.
    identity : dict
        What tells the source from others.
    """
    if job.selection:
        return None, job.selection.identity()
    found = _local(job)
    return found, found.identity


def build(job, embedding, found, identity):
    """
    Build; the lock of the build is held.

    Parameters
    ----------
    job : paperclip.index._job.Job
        What is asked for.
    embedding : paperclip.index._embed.Embedding
        The model.
    found : paperclip.index.sources.Source or None
        The files; None for MAST.
    identity : dict
        What tells the source from others.

    Returns
    -------
    report : BuildReport
        What was done.
    """
    index = open_index(job)
    mode = decide(job, index, embedding, identity)
    if mode == "new":
        job.state.write_record(
            uri=job.uri,
            source=identity,
            fingerprint=embedding.fingerprint,
            model=embedding.name,
            created=False,
            selected=False,
            complete=False,
            rebuild=job.rebuild,
        )
    elif mode != "finished":
        changes = {"selected": False} if mode == "update" else {}
        job.state.write_record(source=identity, complete=False, **changes)
    if job.selection:
        found = _selected(job, mode)
    if index is None:
        index = _create(job, embedding, found)
    todo = compare(found, index, job.state)
    job.state.set_others(todo.others)
    added = 0
    if mode != "finished":
        items = list(todo.new)
        if mode == "retry":  # what could not be fetched may be there now
            absent = job.state.was_absent
            items = [item for item in items if absent(found.key(item)[0])]
        items += todo.failed if job.retry_failed else []
        items.sort(key=lambda item: (item in found.pending, item))
        added = _embed_all(job, index, embedding, found, todo, items)
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
    job : paperclip.index._job.Job
        What is asked for.

    Returns
    -------
    report : BuildReport
        What would be done.
    """
    index = None if job.rebuild else open_index(job)
    if job.selection:
        table, left_out = select_pictures(job.selection, _client(job))
        ids = texts(table[KEY])
        found = Source("mast", "", ids, texts(table["dataURI"]))
        _note_left_out(found, left_out)
        identity = job.selection.identity()
    else:
        found, identity = source_of(job)
    if index is not None:
        decide(job, index, embedding_of(job), identity)
    else:
        extra_specs(found.table, job.extra_columns)
    todo = compare(found, index, job.state)
    job.state.set_others(todo.others)
    return _report(job, index, found, todo, 0)


# ---- the source


def _local(job):
    from paperclip.utils.offline import is_offline

    job.progress(Progress("listing"))
    found = open_source(job.source, metadata=job.metadata)
    if not len(found) and not found.failed:
        msg = (
            f"source {job.source if found.root else found.kind!r} holds no picture and "
            "no FITS file; they are known by the end of their names (.jpg, .png, "
            ".fits ...)"
        )
        raise InvalidQueryError(msg)
    far = sum(map(is_remote, found.paths))
    if far and not job.dry_run and is_offline(job.offline):
        msg = (
            f"{far} files of the source are not on this machine and downloads are "
            "switched off; run the same call with a network"
        )
        raise OfflineError(msg)
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


def _selected(job, mode):
    """Return the pictures of a selection, those to be fetched too."""
    from paperclip.mast.manifest import PictureStore

    job.progress(Progress("listing"))
    if mode == "finished":
        there = is_picture_store(job.pictures)
        return store_source(job.pictures) if there else Source("store", "", [], [])
    left_out = 0
    known = job.state.record.get("selected") and is_picture_store(job.pictures)
    if not known:
        table, left_out = select_pictures(job.selection, _client(job))
        PictureStore.open_or_create(job.pictures).add(table)
        job.state.write_record(selected=True)
    found = store_source(job.pictures, wanted=True, retry_failed=job.retry_failed)
    if found.pending:
        check_network(job.pictures, len(found.pending), _client(job))
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
        storage_options=job.storage_options,
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


# ---- reading, encoding, writing


class _Tell:
    """Report progress of one stage; the stages run in several threads."""

    _lock = threading.Lock()

    def __init__(self, job, stage, total=0):
        self._job = job
        self._stage = stage
        self._meter = Meter(total)

    def __call__(self, done, total=None, failed=0):
        meter = self._meter
        meter.total = meter.total if total is None else total
        rate = meter.rate(done)
        state = Progress(
            self._stage, done, meter.total, failed, rate, meter.left(done, rate)
        )
        with self._lock:
            self._job.progress(state)


def _embed_all(job, index, embedding, found, todo, items):
    """Fetch, read, encode and write at once; return the number of rows added."""
    with ExitStack() as stack:
        arrivals = None
        try:
            if found.pending:
                arrivals = Arrivals(
                    job.pictures,
                    _client(job),
                    workers=None if job.ray else job.workers,
                    retry_failed=job.retry_failed,
                    progress=_Tell(job, "fetching"),
                )
                stack.enter_context(arrivals)
            if arrivals is not None and job.ray is not None:
                arrivals.finish()  # the cluster reads what is complete
            writer = RowWriter(
                index,
                found,
                _known(found, index),
                job.state,
                fingerprint=embedding.fingerprint,
                rows=job.commit_rows,
                seconds=job.commit_seconds,
            )
            if items and job.ray is not None:
                from paperclip.index.distributed import embed_on_ray

                items = _fetched(items, found, arrivals)
                tell = _Tell(job, "embedding", len(items))
                embed_on_ray(job, index, embedding, found, writer, items, tell)
            elif items:
                _embed_here(job, embedding, found, writer, items, arrivals)
            else:
                writer.flush()
            if arrivals is not None:
                arrivals.finish()
        except FetchError as exc:
            raise exc.__cause__ from None
    if arrivals is not None:
        _note_absent(job, found, todo, arrivals.absent())
    return writer.n_added


def _known(found, index):
    """Return the metadata as columns of the index."""
    if found.table is None or not len(found.table):
        return None
    names = [n for n in found.table.colnames if n in index.colnames and n != KEY]
    table = Table([cell(found.table, name) for name in names], names=names)
    return columns_to_arrow(table, index._snapshot.schema) if names else None


def _embed_here(job, embedding, found, writer, items, arrivals):
    embedding.load()
    tell = _Tell(job, "embedding", len(items))
    workers = reader_threads(job.workers)
    with Reader(embedding.prepare, workers) as reader:

        def read(item):
            if item in found.pending:
                arrivals.wait(found.pending[item])
            return reader(found.paths[item])

        ahead = max(2 * job.batch_size, workers)
        cancel = None if arrivals is None else arrivals.stop
        embed(
            read_ahead(items, read, workers=workers, ahead=ahead, cancel=cancel),
            embedding.encode,
            writer,
            batch_size=job.batch_size,
            report=lambda done: tell(done, failed=writer.n_failed),
        )


def _fetched(items, found, arrivals):
    """Leave out what could not be fetched."""
    gone = {} if arrivals is None else arrivals.absent()
    return [item for item in items if found.pending.get(item) not in gone]


def _note_absent(job, found, todo, gone):
    """List what could not be fetched."""
    rows = {}
    for item, name in found.pending.items():
        if name in gone:
            uri = texts(found.table["dataURI"][found.rows[item] : found.rows[item] + 1])
            key = plain(found.obs_ids[item])
            rows[item] = (key, plain(uri[0]), "absent", gone[name])
    todo.new = [item for item in todo.new if item not in rows]
    todo.others += rows.values()
    job.state.set_others(todo.others)
    job.state.save_failures()


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
