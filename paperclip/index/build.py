# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Build an index from pictures, FITS files or MAST; stop and go on at any time."""

from collections.abc import Mapping
from pathlib import Path

from paperclip.exceptions import InvalidQueryError
from paperclip.index._buildstate import BuildState
from paperclip.index._files import local_path
from paperclip.index._job import Job
from paperclip.index._steps import rehearse, run
from paperclip.index._switch import rebuild_beside
from paperclip.index.selection import Selection
from paperclip.utils.checks import whole_number

__all__ = ["build_index"]


def build_index(
    uri,
    *,
    source,
    encoder=None,
    metadata=None,
    extra_columns=(),
    update=False,
    retry_failed=False,
    dry_run=False,
    batch_size=None,
    workers=None,
    commit_rows=2048,
    commit_seconds=30.0,
    state=None,
    pictures=None,
    max_per_proposal=None,
    recipe=None,
    seed=0,
    client=None,
    device=None,
    offline=None,
    progress=None,
    rebuild=False,
    ray=None,
    storage_options=None,
):
    """
    Build an index, or go on with one, or add to it what is new.

    Pictures from MAST are fetched and files are read in threads (FITS files in
    processes) while the model works, and rows are added in batches, each one
    commit. The process may be killed at any moment: the same call goes on with
    what is missing.

    Parameters
    ----------
    uri : str or path-like
        Directory, ``file://`` URI or object-store URI of the index.
    source : path-like, `~astropy.table.Table`, sequence of path-like or mapping
        A folder of JPEG, PNG, GIF, TIFF, WebP and FITS files; a folder of
        pictures from MAST or a data set; a table (or the file of one) with a
        column ``path``, ``file`` or ``uri``, which may hold ``http``, ``https``,
        ``s3``, ``gs``, ``abfs`` and ``hdfs`` URIs; files; or criteria for MAST as a
        mapping, for example ``{"obs_collection": "HST", "proposal_id": "15513"}``,
        with ``cycles`` as a further one.
    encoder : `~paperclip.models.Encoder` or str, optional
        The model, ``paperclip.conf.model`` when not given.
    metadata : `~astropy.table.Table` or path-like, optional
        What is known of the files of a folder: a table, or a CSV, ECSV,
        Parquet or VOTable file. The column ``path``, ``file``, ``filename`` or
        ``productFilename`` names the file, else ``obs_id`` its stem. What the
        table does not say is taken from the headers of FITS files.
    extra_columns : sequence of str, optional
        Columns of the metadata to keep beside those that every index has;
        only for a new index.
    update : bool, optional
        Allow rows to be added to an index that is there and is complete, or
        comes from another source. MAST is asked again what there is.
    retry_failed : bool, optional
        Try files again that failed before.
    dry_run : bool, optional
        Find out what would be done and do nothing. Of MAST only the lists
        are asked for.
    batch_size : int, optional
        Pictures per forward pass, ``paperclip.conf.batch_size`` by default.
    workers : int, optional
        Threads that read files, and largest number of processes that convert
        FITS files; by default the number of processors, at most 4. On a cluster,
        the number of encoders: one for each GPU or processor by default.
    commit_rows : int, optional
        Most rows added in one commit.
    commit_seconds : float, optional
        Seconds of work that a crash may cost, about.
    state : path-like, optional
        Folder for ``failures.ecsv`` and ``build.json``; by default the name of
        the index with ``.build`` added.
    pictures : path-like, optional
        Folder for pictures from MAST; by default with ``.pictures`` added. All
        pictures in it go into the index.
    max_per_proposal : int, optional
        Most pictures of one programme, from MAST.
    recipe : str or `~paperclip.mast.PreviewRecipe`, optional
        Which previews of MAST; by default that of the mission.
    seed : int, optional
        Of the choice among the pictures of a programme.
    client : `~paperclip.mast.MastClient`, optional
        Who asks MAST.
    device : str, optional
        Where the model runs, ``paperclip.conf.device`` when not given.
    offline : bool, optional
        Never open a connection, ``paperclip.conf.offline`` when not given.
    progress : callable, optional
        Called with a `Progress` after every batch, and for each picture that
        is fetched, then from another thread; never twice at a time.
    rebuild : bool, optional
        Build the index anew from this source, with a model of any kind, beside
        the one that is there, and replace it in one commit at the end. Until
        then, and if the process is killed, readers and other programs use the
        old one; its last version can be restored later.
    ray : str, optional
        Build on a Ray cluster that is running: its address, or "auto" for the
        one of this machine. See :ref:`building-on-ray`.
    storage_options : mapping of str to str, optional
        Of the object store that holds the index; see `Index.open`.

    Returns
    -------
    report : BuildReport
        What was found and done. Failed files are no error; they are listed in
        ``report.failures``.

    Raises
    ------
    InvalidQueryError
        If an argument has no meaning, or there is nothing to read.
    InvalidRowsError
        If the metadata do not fit.
    ModelMismatchError
        If the index was built with another model, and ``rebuild`` is not set.
    RemoteServiceError
        If MAST or the server of the files does not answer any more.
    IndexExistsError
        If the index is complete, or from another source, and ``update`` is
        not set.
    IndexWriteError
        If the index cannot be written, or another build is writing it.

    Notes
    -----
    A file without a row in the metadata gets its stem as ``obs_id``. Of files
    with the same ``obs_id`` the first one is used and the others are listed.
    Rows in the index are never changed.
    """
    uri, path = local_path(uri)
    if update and rebuild:
        msg = "update=True adds to an index and rebuild=True replaces it; choose one"
        raise InvalidQueryError(msg)
    selection = None
    if isinstance(source, Mapping):
        if metadata is not None:
            msg = "metadata= is for files; rows from MAST have theirs"
            raise InvalidQueryError(msg)
        selection = Selection(
            criteria=dict(source),
            max_per_proposal=max_per_proposal,
            recipe=recipe,
            seed=seed,
        )
    if isinstance(extra_columns, str):
        extra_columns = (extra_columns,)
    if workers is not None:
        workers = whole_number("workers", workers, high=256)
    job = Job(
        uri=uri,
        path=path,
        state=BuildState(_beside(uri, path, ".build", state)),
        pictures=_beside(uri, path, ".pictures", pictures),
        source=source,
        selection=selection,
        encoder=encoder,
        metadata=metadata,
        extra_columns=tuple(extra_columns),
        update=update,
        retry_failed=retry_failed,
        batch_size=_batch_size(batch_size),
        workers=workers,
        commit_rows=whole_number("commit_rows", commit_rows),
        commit_seconds=commit_seconds,
        client=client,
        device=device,
        offline=offline,
        progress=progress or (lambda state: None),
        dry_run=dry_run,
        rebuild=rebuild,
        ray=_cluster(ray),
        storage_options=storage_options,
    )
    if dry_run:
        return rehearse(job)
    return rebuild_beside(job) if rebuild else run(job)


def _cluster(ray):
    if ray is not None and (not isinstance(ray, str) or not ray.strip()):
        msg = f'ray must be "auto" or the address of a cluster, got {ray!r}'
        raise InvalidQueryError(msg)
    return ray


def _batch_size(batch_size):
    from paperclip import conf

    value = conf.batch_size if batch_size is None else batch_size
    return whole_number("batch_size", value)


def _beside(uri, path, suffix, given):
    """Return a folder for what does not belong into the index."""
    if given is not None:
        return Path(given).expanduser().absolute()
    if path is not None:
        return path.with_name(path.name + suffix)
    return Path.cwd() / (uri.rstrip("/").rpartition("/")[2] + suffix)
