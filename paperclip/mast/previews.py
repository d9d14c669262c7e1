# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Preview pictures of observations, as a table with the place of each."""

import numpy as np
from astropy.table import vstack

from paperclip.exceptions import FailedRowsWarning, NoResultsWarning
from paperclip.results import describe_columns
from paperclip.utils.checks import folder_path, whole_number
from paperclip.utils.files import cache_directory
from paperclip.utils.warn import warn_user

from ._choice import check_seed, choose_previews
from ._fields import column_values
from ._journal import write_error
from ._manifest import MANIFEST_COLUMNS
from ._rows import as_text, rights_of
from ._tables import text_column
from .manifest import PictureStore
from .products import _completed as completed
from .products import observation_ids
from .recipes import choose_recipe, recipe_mask

__all__ = ["get_previews", "list_previews"]

_MAX_BYTES = 1 << 26
_BATCH = 200
_NEEDED = {"obs_id", "obs_collection", "proposal_id", "target_name"}


def list_previews(
    client,
    observations,
    *,
    recipe=None,
    max_per_proposal=None,
    seed=0,
    data_rights="PUBLIC",
):
    """
    Choose the preview pictures of observations; nothing is downloaded.

    Parameters
    ----------
    client : `~paperclip.mast.MastClient`
        Who asks.
    observations : `~astropy.table.Table`, `~astropy.table.Row`, str, int or sequence
        As `observation_ids` takes it.
    recipe : PreviewRecipe or str, optional
        Which files are wanted; that of each mission by default.
    max_per_proposal : int, optional
        Most pictures of one proposal; all by default. They are drawn without
        replacement, of all its targets in turn.
    seed : int or `~numpy.random.Generator`, optional
        Of the draw.
    data_rights : str, sequence of str or None, optional
        Leave out files that are marked otherwise; None for all.

    Returns
    -------
    table : `~astropy.table.Table`
        One row for each picture, in the order of the observations, with the
        columns of the observation and ``dataURI`` of the picture. It is masked
        in the row of an observation that has no such picture; an observation
        whose pictures were not drawn has no row.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong.
    RemoteServiceError
        If MAST does not answer.
    """
    recipe = choose_recipe(recipe)
    data_rights = rights_of(data_rights)
    check_seed(seed)
    if max_per_proposal is not None:
        max_per_proposal = whole_number("max_per_proposal", max_per_proposal)
    obsids, table = observation_ids(client, observations)
    table = _described(client, obsids, table)
    rows, uris = [], []
    if obsids:
        products = client.products(obsids, keep=_keeper(recipe, data_rights))
        chosen = choose_previews(
            products, table, max_per_proposal=max_per_proposal, rng=seed
        )
        found = {}
        for obsid, uri in zip(chosen["obsid"], chosen["dataURI"], strict=True):
            found.setdefault(str(obsid), []).append(str(uri))
        having = {
            as_text(number)
            for name in ("parent_obsid", "obsID")
            for number in column_values(products, name)
        }
        for row, obsid in enumerate(obsids):
            mine = found.get(obsid, [] if obsid in having else [None])
            rows += [row] * len(mine)
            uris += mine
    picked = table[np.array(rows, dtype=int)]
    picked["dataURI"] = text_column(uris)
    return describe_columns(picked)


def _described(client, obsids, table):
    """Ask for the rows of observations that are not more than a number."""
    if not obsids or set(table.colnames) >= _NEEDED:
        return table
    parts = [
        client.observations({"obsid": obsids[first : first + _BATCH]})
        for first in range(0, len(obsids), _BATCH)
    ]
    found = vstack(parts, metadata_conflicts="silent") if len(parts) > 1 else parts[0]
    return completed(table, found)


def _keeper(recipe, data_rights):
    """Return the function that says which products are wanted."""
    allowed = None if data_rights is None else {None, *data_rights}

    def keep(products):
        wanted = recipe_mask(products, recipe)
        if allowed is None:
            return wanted
        rights = column_values(products, "dataRights")
        return wanted & np.array([as_text(r) in allowed for r in rights], bool)

    return keep


def get_previews(
    client,
    observations,
    folder=None,
    *,
    check,
    max_per_proposal=None,
    recipe=None,
    size=512,
    seed=0,
    data_rights="PUBLIC",
    workers=None,
    max_bytes=_MAX_BYTES,
    cloud=False,
    retry_failed=True,
    progress=None,
):
    """
    Download the preview pictures of observations.

    Parameters
    ----------
    client : `~paperclip.mast.MastClient`
        Who asks.
    observations : `~astropy.table.Table`, `~astropy.table.Row`, str, int or sequence
        Observations, or what ``query_text`` returned, or identifiers.
    folder : path-like, optional
        A `~paperclip.mast.PictureStore`, made if it is not there. One in the
        cache of this package by default.
    check : callable
        Decodes a file: bytes to uint8 of shape (ny, nx, 3).
    max_per_proposal, recipe : object
        As for `list_previews`.
    size : int, optional
        Longest side of the stored pictures in pixels.
    seed, data_rights : object
        As for `list_previews`.
    workers : int, optional
        Number of threads, ``paperclip.conf.workers`` when not given.
    max_bytes : int, optional
        Largest file that is taken, 64 MiB by default.
    cloud : bool, optional
        Read from the public copy in the cloud what is there.
    retry_failed : bool, optional
        Try those again that failed in an earlier call.
    progress : callable, optional
        Called as ``progress(finished, wanted)`` after each picture.

    Returns
    -------
    table : `~astropy.table.Table`
        As `list_previews` returns, with ``path`` (absolute; masked where there
        is no picture), ``status`` (done or failed) and ``message``.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong.
    DataSetError
        If the folder holds pictures of another size, or is a file.
    DataSetWriteError
        If the folder cannot be written.
    RemoteServiceError
        If MAST does not answer.

    Warns
    -----
    FailedRowsWarning
        If pictures could not be had: how many, and why the first.
    NoResultsWarning
        If there are no observations; the table is empty then.
    """
    size = whole_number("size", size, low=16, high=1 << 14)
    if folder is not None:
        folder = folder_path("folder", folder)
    table = list_previews(
        client,
        observations,
        recipe=recipe,
        max_per_proposal=max_per_proposal,
        seed=seed,
        data_rights=data_rights,
    )
    uris = [as_text(uri) for uri in column_values(table, "dataURI")]
    some = [row for row, uri in enumerate(uris) if uri is not None]
    found = {}
    if some:
        shared = folder is None
        folder = _shared_folder(size) if shared else folder
        wait = client.timeout if shared else 0.0  # other notebooks use it as well
        store = PictureStore.open_or_create(folder, size=size)
        names = store.add(table[some], wait=wait)
        store.fetch(
            client,
            check=check,
            only=names,
            workers=workers,
            max_bytes=max_bytes,
            cloud=cloud,
            retry_failed=retry_failed,
            progress=progress,
            wait=wait,
        )
        found = dict(zip(some, store.look_up(names), strict=True))
    return _with_status(table, found)


def _shared_folder(size):
    """Return the store in the cache for pictures of a size."""
    try:
        return cache_directory() / "previews" / str(size)
    except OSError as exc:
        raise write_error(exc.filename or "the cache directory", exc) from exc


def _with_status(table, found):
    """Add what became of each picture, and warn of those that failed."""
    what = table.meta.get("recipe") or "the recipe"
    nothing = {
        "path": None,
        "status": "failed",
        "message": f"the archive lists no public preview that {what} takes",
    }
    facts = [found.get(row, nothing) for row in range(len(table))]
    for name in ("path", "status", "message"):
        table[name] = text_column([fact[name] for fact in facts])
    describe_columns(table, specs=MANIFEST_COLUMNS)
    failed = [row for row, fact in enumerate(facts) if fact["status"] != "done"]
    if not len(table):
        warn_user("there are no observations to show", NoResultsWarning)
    elif failed:
        msg = (
            f"{len(failed)} of {len(table)} pictures are missing; the first, row "
            f"{failed[0]}: {facts[failed[0]]['message']}. The columns status and "
            "message have all of them"
        )
        warn_user(msg, FailedRowsWarning)
    return table
