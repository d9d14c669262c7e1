# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What a build is asked for, what is there, and what follows from both."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from paperclip.exceptions import (
    DamagedIndexError,
    IndexExistsError,
    IndexNotFoundError,
    ModelMismatchError,
)
from paperclip.index._buildstate import BuildState
from paperclip.index._embed import Embedding
from paperclip.index._files import looks_like_index
from paperclip.index.schema import KEY
from paperclip.index.selection import Selection
from paperclip.index.sources import plain
from paperclip.index.store import Index

__all__ = ["Job", "Todo", "compare", "decide", "embedding_of", "open_index"]


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
    storage_options: dict | None = None
    dry_run: bool = False
    rebuild: bool = False
    ray: str | None = None
    started: float = field(default_factory=time.monotonic)


@dataclass
class Todo:
    """
    What of a source is in the index, and what has to be done.

    Parameters
    ----------
    present : int
        Files whose rows are there.
    new, failed : list of int
        Numbers of the files that are not there, and of those that failed.
    others : list of tuple of str
        What is known without reading: ``obs_id``, source, status, reason.
    """

    present: int = 0
    new: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    others: list = field(default_factory=list)


def embedding_of(job):
    """
    Return the model that is asked for, which is not loaded yet.

    Parameters
    ----------
    job : Job
        What is asked for.

    Returns
    -------
    embedding : paperclip.index._embed.Embedding
        With its fingerprint.
    """
    from paperclip import conf

    model = conf.model if job.encoder is None else job.encoder
    return Embedding(model, device=job.device, offline=job.offline)


def open_index(job):
    """
    Return the index, or None if there is none or only a beginning.

    Parameters
    ----------
    job : Job
        What is asked for.

    Returns
    -------
    index : `~paperclip.index.Index` or None
        At its newest version.

    Raises
    ------
    DamagedIndexError
        If it cannot be read, and not because its creation was interrupted.
    """
    if job.path is not None and not looks_like_index(job.path):
        return None  # what else may be there is for Index.create to say
    try:
        return Index.open(job.uri, storage_options=job.storage_options)
    except IndexNotFoundError:
        return None
    except DamagedIndexError:
        if (job.state.record or {}).get("created") is False:
            return None  # killed while it was created
        raise


def decide(job, index, embedding, identity):
    """
    Decide what kind of a build it is.

    Parameters
    ----------
    job : Job
        What is asked for.
    index : `~paperclip.index.Index` or None
        What is there.
    embedding : paperclip.index._embed.Embedding
        The model.
    identity : dict
        What tells the source from others.

    Returns
    -------
    mode : {'new', 'resume', 'update', 'retry', 'finished'}
        What is to be done.

    Raises
    ------
    ModelMismatchError, IndexExistsError
        If it may not be done.
    """
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
            "mixed. Choose that model, rebuild the index with this one (rebuild=True, "
            "--rebuild on the command line), or build an index of another name"
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


def compare(source, index, state):
    """
    Sort the files of a source by what is known of them.

    Parameters
    ----------
    source : paperclip.index.sources.Source
        The files.
    index : `~paperclip.index.Index` or None
        What is there.
    state : paperclip.index._buildstate.BuildState
        What failed before.

    Returns
    -------
    todo : Todo
        What is to be done.
    """
    present = set()
    if index is not None:
        present.update(index.to_table([KEY])[KEY].tolist())
    state.load_failures({plain(obs_id) for obs_id in present})
    todo, first = Todo(), {}
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
