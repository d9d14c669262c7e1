# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Build an index anew beside the one that is there, and switch in one commit.

The new index is built as any other, in a place of its own, so that it can be
interrupted and may run on a cluster. At the end its rows are written into the
table of the old one, where no version has them yet, and a single commit of
Lance replaces schema and rows. That commit is the switch: before it everybody
sees the old index, after it the new one, and who has the old version open goes
on with it, because its files stay. Renaming folders could not do that: two of
them cannot be exchanged in one step everywhere, an object store cannot rename
at all, and a reader that opens its files late would find those of the other
index.
"""

import shutil
from dataclasses import replace
from pathlib import Path

from paperclip.index._buildstate import BuildState
from paperclip.index._commit import (
    STORAGE,
    commit_operation,
    discard,
    patiently,
    writing,
)
from paperclip.index._files import durable, writer_lock
from paperclip.index._job import embedding_of, open_index
from paperclip.index._steps import build, source_of
from paperclip.index.schema import KEY
from paperclip.index.store import Index

__all__ = ["rebuild_beside"]

_SUFFIX = ".rebuild"


def rebuild_beside(job):
    """
    Build beside an index and replace it; build plainly if there is none.

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
        embedding = embedding_of(job)
        index = open_index(job)
        record = job.state.record or {}
        begun = record.get("rebuild") and not record.get("complete")
        if index is None or (begun and index.fingerprint == embedding.fingerprint):
            return build(job, embedding, found, identity)
        side = _side(job)
        if not _is_of(side, embedding, identity):
            _remove(side)
            side = _side(job)
        new = open_index(side)
        report = None
        if not _is_switched(side, index, new):
            report = build(side, embedding, found, identity)
            new = report.index
            note = _switch(job, index, new, side)
            report = replace(report, notes=(*report.notes, note))
        return _finish(job, side, index, new, report, identity)


def _side(job):
    """Return the job of the new index, with its own place and notes."""
    path = None if job.path is None else job.path.with_name(job.path.name + _SUFFIX)
    uri = job.uri.rstrip("/") + _SUFFIX if path is None else str(path)
    folder = job.state.folder / "rebuild"
    return replace(job, uri=uri, path=path, state=BuildState(folder), rebuild=False)


def _is_of(side, embedding, identity):
    """Tell whether what lies beside the index is a beginning of this rebuild."""
    record = side.state.record or {}
    return side.state.is_of(identity) and (
        record.get("fingerprint") == embedding.fingerprint
    )


def _remove(side):
    """Remove the new index and its notes, which come last."""
    import lance

    if side.path is not None:
        shutil.rmtree(side.path, ignore_errors=True)
    elif open_index(side) is not None:
        with writing(side.uri):
            lance.LanceDataset.drop(side.uri, storage_options=side.storage_options)
    shutil.rmtree(side.state.folder, ignore_errors=True)


def _is_switched(side, index, new):
    """Tell whether a rebuild was killed after its switch."""
    record = side.state.record or {}
    before = record.get("switch_from")
    if before is None or index.version <= before:
        return False
    if new is None:  # it was about to be removed
        return index.fingerprint == record.get("fingerprint")
    return index._snapshot.header == new._snapshot.header


def _switch(job, index, new, side):
    """Put the rows of the new index into the place of the old one."""
    from lance import LanceOperation
    from lance.fragment import write_fragments

    place, dataset = index._place, new._snapshot.dataset
    with writing(place.uri), durable(place.path):
        fragments = write_fragments(
            dataset.scanner(scan_in_order=True).to_reader(),
            place.uri,
            schema=dataset.schema,
            mode="overwrite",  # the columns need not be those of the old rows
            data_storage_version=STORAGE,
            storage_options=place.options,
        )
    note = ""

    def attempt():
        nonlocal note
        index.refresh()
        note = _what_goes(index, new)
        side.state.write_record(switch_from=index.version)
        operation = LanceOperation.Overwrite(dataset.schema, fragments)
        old = index._snapshot.dataset
        commit_operation(place, old, operation, f"rebuild with {new.fingerprint}")

    committed = False
    try:
        with writer_lock(place.path):
            patiently(place, attempt)
        committed = True
    finally:
        if not committed:
            discard(place, fragments)
    return note


def _what_goes(index, new):
    """Say which rows the new index lacks, and how to get them back."""
    kept = set(new.to_table([KEY])[KEY].tolist())
    lost = [name for name in index.to_table([KEY])[KEY].tolist() if name not in kept]
    text = (
        f"version {index.version} was replaced ({index.fingerprint}, {len(index):,} "
        "rows); it can be restored until compaction removes it"
    )
    if lost:
        text += (
            f". {len(lost):,} rows of it are not in the new index, among them "
            f"{lost[0]!r}: they are not in this source, or failed"
        )
    return text


def _finish(job, side, index, new, report, identity):
    """Take over the notes of the new index, and remove it."""
    record = side.state.record
    job.state.write_record(
        **{key: record[key] for key in ("fingerprint", "model") if key in record},
        uri=job.uri,
        source=identity,
        created=True,
        selected=bool(record.get("selected")),
        complete=True,
        rebuild=False,
    )
    _take_failures(Path(side.state.failures_path), job.state.failures_path)
    _remove(side)
    index = Index.open(job.uri, storage_options=job.storage_options)
    if report is None:  # the one that was killed had done everything
        job.state.load_failures(set())
        return build(replace(job, rebuild=False), embedding_of(job), *source_of(job))
    return replace(
        report,
        uri=job.uri,
        index=index,
        n_added=len(new),
        failures=job.state.failures_path,
    )


def _take_failures(source, target):
    if source.is_file():
        source.replace(target)
    else:
        target.unlink(missing_ok=True)
