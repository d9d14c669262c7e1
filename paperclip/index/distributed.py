# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Build on a Ray cluster.

Ray Data [1]_ hands out the list of files: tasks read and decode them, a pool of
actors encodes the pictures, one actor for each GPU or, without any, each
processor, and tasks write the rows into new files of the index. These belong to
no version of it until this process, the driver, commits them, every few of them
in one commit. So whatever dies, each file is in the index once or not at all:

* An actor, a task or a node that dies: Ray does that work again. Files written by
  the first attempt stay without a commit, and compaction removes them.
* The driver: what it committed is there; the same call compares the source with
  the index and goes on with the rest.

References
----------
.. [1] https://docs.ray.io/en/latest/data/data.html
"""

import json
import os
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

from paperclip.exceptions import (
    IndexWriteError,
    InvalidRowsError,
    PaperclipError,
    RemoteServiceError,
)
from paperclip.index._files import writer_lock
from paperclip.index._readers import Loaded
from paperclip.utils.offline import is_offline
from paperclip.utils.optional import import_optional

__all__ = ["embed_on_ray"]

_ATTEMPTS = 3  # of the whole pipeline without a single new row
_FILES = 8  # fragments in one commit
# shares of a processor; all of them, twice over, fit on what is left when half
# of the nodes are lost
_ENCODER_CPUS, _TASK_CPUS = 0.4, 0.1
_GPU_BATCHES = 4  # a GPU takes so many times the batch of a processor


def embed_on_ray(job, index, embedding, source, writer, items, tell):
    """
    Read, encode and write on a cluster.

    Parameters
    ----------
    job : paperclip.index._job.Job
        What is asked for; its ``ray`` is the address.
    index : `~paperclip.index.Index`
        Where the rows go; every node must be able to write there.
    embedding : paperclip.index._embed.Embedding
        The model.
    source : paperclip.index.sources.Source
        The files; every node must be able to read them.
    writer : paperclip.index._rowwriter.RowWriter
        Keeps what failed and counts.
    items : list of int
        What is to be done.
    tell : callable
        Called with the number of files dealt with.

    Raises
    ------
    MissingDependencyError
        If ray is not installed.
    RemoteServiceError
        If there is no cluster, or it cannot do the work.
    """
    ray = import_optional("ray", extra="ray", purpose="building on a Ray cluster")
    left, tries = dict.fromkeys(items), 0
    total = len(left)
    with _session(ray, job.ray):
        while left:
            before = len(left)
            committer = _Committer(job, index, source, writer, left)
            try:
                for answer in _answers(
                    ray, job, index, embedding, source, writer, left
                ):
                    committer.take(answer)
                    tell(total - len(left), failed=writer.n_failed)
            except ray.exceptions.RayError as exc:
                committer.flush()
                tries = tries + 1 if len(left) == before else 0
                cause = _own_error(exc)
                if cause is not None:
                    raise cause from exc
                if tries >= _ATTEMPTS:
                    raise _given_up(job, exc) from exc
            except BaseException:
                committer.flush()
                raise
            else:
                committer.flush()
                tries = tries + 1 if len(left) == before else 0
                if tries >= _ATTEMPTS:
                    raise _given_up(job, None)
    writer.flush()


@contextmanager
def _session(ray, address):
    """Connect to the cluster, unless this process is connected already."""
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, OSError, RuntimeError, ValueError) as exc:
        msg = (
            f"cannot reach a Ray cluster at {address!r}: {str(exc)[:300]}; start one "
            "with 'ray start --head', or give the address of one that is running"
        )
        raise RemoteServiceError(msg) from exc
    try:
        yield
    finally:
        ray.shutdown()


def _own_error(exc):
    """Return the error of ours behind one of Ray, if it is one."""
    seen = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        if isinstance(exc, PaperclipError):
            return exc
        exc = getattr(exc, "cause", None) or exc.__cause__
    return None


def _given_up(job, exc):
    text = "" if exc is None else f" ({' '.join(str(exc).split())[-300:]})"
    msg = (
        f"the Ray cluster {job.ray!r} does not get on with the build{text}; what is "
        "committed is kept: look after the cluster ('ray status') and run the same "
        "call again to go on"
    )
    return RemoteServiceError(msg)


def _answers(ray, job, index, embedding, source, writer, left):
    """Yield what the tasks say about the files they wrote."""
    from paperclip.index import _raytasks

    with warnings.catch_warnings():
        # Ray warns of its own settings when they are made
        warnings.simplefilter("ignore", DeprecationWarning)
        data = import_optional("ray.data", extra="ray", purpose="building on Ray")
        context = data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # one of ours is for the user
    context.issue_detectors_config.detectors = []  # they advise its developers
    gpus = int(ray.cluster_resources().get("GPU", 0))
    cpus = int(ray.cluster_resources().get("CPU", 1))
    encoders = job.workers or max(1, gpus or cpus)
    size = job.batch_size * (_GPU_BATCHES if gpus else 1)
    table = _raytasks.item_table(list(left), source, writer.metadata)
    blocks = [table.slice(start, size) for start in range(0, len(table), size)]
    arrow = {"batch_format": "pyarrow"}
    # a block that comes out of one step goes as it is into the next one
    tasks = {**arrow, "batch_size": None, "num_cpus": _TASK_CPUS}
    with data.DataContext.current(context):
        pipeline = (
            data.from_blocks(blocks)  # their sizes are counted here, not by tasks
            .map_batches(
                _raytasks.read_files,
                fn_kwargs={"preprocessing": embedding.preprocessing},
                compute=data.TaskPoolStrategy(size=max(1, cpus)),
                **tasks,
            )
            .map_batches(
                _raytasks.PictureEncoder,
                fn_constructor_args=_model(job, embedding),
                compute=data.ActorPoolStrategy(size=encoders),
                batch_size=None,
                num_cpus=_ENCODER_CPUS,
                num_gpus=1 if gpus else 0,
                **arrow,
            )
            .map_batches(
                _raytasks.write_batch,
                fn_kwargs={"place": index._place, "schema": index._snapshot.schema},
                compute=data.TaskPoolStrategy(size=max(1, cpus // 4)),
                **{**tasks, "batch_size": job.commit_rows},
            )
        )
        for batch in pipeline.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from batch.to_pylist()


def _model(job, embedding):
    """Return the arguments of the encoders."""
    from paperclip import conf

    model = embedding.model
    if isinstance(model, str | os.PathLike) and Path(model).expanduser().exists():
        model = str(Path(model).expanduser().absolute())
    return (
        model,
        embedding.fingerprint,
        conf.device if job.device is None else job.device,
        is_offline(job.offline),
        embedding.preprocessing is not None,
    )


class _Committer:
    """Put the files that tasks have written into the index."""

    def __init__(self, job, index, source, writer, left):
        self._job = job
        self._index = index
        self._source = source
        self._writer = writer
        self._left = left
        self._schema = index._snapshot.schema
        self._fragments, self._items = [], []
        self._last = time.monotonic()

    def take(self, answer):
        """Note what became of a batch; commit now and then."""
        from lance.fragment import FragmentMetadata

        texts = json.loads(answer["fragments"])
        fragments = [FragmentMetadata.from_json(json.dumps(text)) for text in texts]
        items = answer["items"]
        if any(item not in self._left for item in items):
            self._discard(fragments)  # heard of before: these rows are there
            items, fragments = [], []
        for item in items:
            del self._left[item]
        self._items += items
        self._fragments += fragments
        rows = zip(answer["failed"], answer["reasons"], answer["kinds"], strict=True)
        for item, reason, kind in rows:
            if item in self._left:
                del self._left[item]
                self._writer.fail(Loaded(item, reason=reason, kind=kind))
        waited = time.monotonic() - self._last
        if len(self._fragments) >= _FILES or waited >= self._job.commit_seconds:
            self.flush()

    def flush(self):
        """Commit what has come."""
        from paperclip.index._commit import commit_change, patiently
        from paperclip.index._writing import find_rows

        fragments, self._fragments = self._fragments, []
        items, self._items = self._items, []
        index = self._index
        if fragments:
            keys = [self._source.obs_ids[item] for item in items]

            def attempt():
                index.refresh()
                self._check(index, find_rows, keys)
                dataset = commit_change(
                    index._place,
                    index._snapshot.dataset,
                    fragments=fragments,
                    note=f"append {len(items)} rows",
                )
                index._move(dataset)

            committed = False
            try:
                with writer_lock(index._path):
                    patiently(index._place, attempt)
                committed = True
            finally:
                if not committed:
                    self._discard(fragments)
            self._writer.count(items)
        self._writer.flush()
        self._last = time.monotonic()

    def _check(self, index, find_rows, keys):
        import pyarrow as pa

        schema = index._snapshot.schema
        if not schema.equals(self._schema, check_metadata=True):
            msg = (
                f"the index {index.uri} was replaced during the build; run the same "
                "call again"
            )
            raise IndexWriteError(msg)
        dataset = index._snapshot.dataset
        found, _ = find_rows(dataset, index.uri, pa.array(keys, pa.string()))
        if len(found):
            msg = (
                f"{len(found)} rows came into the index during the build, among them "
                f"{found[0].as_py()!r}; run the same call again, which leaves them out"
            )
            raise InvalidRowsError(msg)

    def _discard(self, fragments):
        from paperclip.index._commit import discard

        discard(self._index._place, fragments)
