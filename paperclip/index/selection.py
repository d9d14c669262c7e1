# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From criteria for MAST to pictures on disk."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from paperclip.exceptions import InvalidQueryError, OfflineError
from paperclip.index._metadata import texts
from paperclip.index._readers import AbsentError
from paperclip.index.schema import KEY

__all__ = ["Arrivals", "FetchError", "Selection", "check_network", "select_pictures"]


class FetchError(Exception):
    """Stand for the error that ended the fetching, its cause."""


class _StopFetching(Exception):
    """Leave the loop over the downloads."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """
    Which previews of MAST are wanted.

    Parameters
    ----------
    criteria : dict
        As `paperclip.mast.query_criteria` takes them; besides, ``cycles`` of the
        mission in ``obs_collection``.
    max_per_proposal : int or None
        Most pictures of one programme.
    recipe : str, PreviewRecipe or None
        Which previews; by default that of each mission.
    seed : int
        Of the choice among the previews of a programme.
    """

    criteria: dict
    max_per_proposal: int | None = None
    recipe: object = None
    seed: int = 0

    def identity(self):
        """
        Return what tells this selection from others.

        Returns
        -------
        facts : dict
            Plain values.
        """
        criteria = {
            key: value if isinstance(value, str | int | float) else repr(value)
            for key, value in sorted(self.criteria.items())
        }
        return {
            "kind": "mast",
            "criteria": criteria,
            "max_per_proposal": self.max_per_proposal,
            "recipe": None if self.recipe is None else repr(self.recipe),
            "seed": self.seed,
        }


def select_pictures(selection, client):
    """
    Ask MAST which previews there are; nothing is fetched.

    Parameters
    ----------
    selection : Selection
        What is wanted.
    client : `~paperclip.mast.MastClient`
        Who asks.

    Returns
    -------
    table : `~astropy.table.Table`
        One row per observation, with ``dataURI`` of its preview.
    n_left_out : int
        Further previews of these observations, which an index cannot hold
        because its ``obs_id`` are unique.

    Raises
    ------
    InvalidQueryError
        If there is nothing in MAST.
    """
    from astropy.table import vstack

    from paperclip.mast.observations import query_criteria
    from paperclip.mast.products import choose_previews, get_product_list
    from paperclip.mast.recipes import recipe_for

    criteria = _with_proposals(dict(selection.criteria), client)
    observations = query_criteria(client, limit=None, **criteria)
    missions = texts(observations["obs_collection"]) if len(observations) else []
    parts = []
    for mission in Counter(missions):
        here = [name == mission for name in missions]
        recipe = selection.recipe or recipe_for(mission)
        products = get_product_list(client, observations[here], recipe=recipe)
        if len(products):
            parts.append(
                choose_previews(
                    products,
                    observations[here],
                    max_per_proposal=selection.max_per_proposal,
                    rng=selection.seed,
                )
            )
    if not parts:
        msg = (
            f"MAST has no previews for {selection.criteria}: {len(observations)} "
            "observations were found; look at them with Paperclip.query_criteria"
        )
        raise InvalidQueryError(msg)
    table = vstack(parts, metadata_conflicts="silent")
    first = {}
    for row, obs_id in enumerate(texts(table[KEY])):
        first.setdefault(obs_id, row)
    return table[list(first.values())], len(table) - len(first)


def _with_proposals(criteria, client):
    """Put the programmes of cycles into criteria."""
    from paperclip.mast import proposals_of_cycles

    cycles = criteria.pop("cycles", None)
    if cycles is None:
        return criteria
    mission = criteria.get("obs_collection")
    if not isinstance(mission, str):
        msg = f"cycles belong to one mission; obs_collection must name it: {mission!r}"
        raise InvalidQueryError(msg)
    given = criteria.get("proposal_id", [])
    given = [given] if isinstance(given, str) else list(given)
    found = proposals_of_cycles(client, mission, cycles)
    criteria["proposal_id"] = list(dict.fromkeys([*map(str, given), *found]))
    return criteria


def check_network(folder, n_wanted, client):
    """
    Refuse to begin what cannot be done.

    Parameters
    ----------
    folder : path-like
        Where the pictures go.
    n_wanted : int
        Number of pictures that are to be fetched.
    client : `~paperclip.mast.MastClient`
        Who fetches them.

    Raises
    ------
    OfflineError
        If something is missing and downloads are switched off.
    """
    from paperclip.utils.offline import is_offline

    if n_wanted and is_offline(getattr(client, "offline", None)):
        msg = (
            f"{n_wanted} pictures are not in {folder} and downloads are switched off; "
            "run the same command with a network"
        )
        raise OfflineError(msg)


class Arrivals:
    """
    Fetch pictures in a thread of its own, while others are read.

    Use it as a context manager; at its end the fetching is stopped if it still
    goes on. What is complete stays in the folder.

    Parameters
    ----------
    folder : path-like
        Folder of a `paperclip.mast.PictureStore` that wants pictures.
    client : `~paperclip.mast.MastClient`
        Who fetches them.
    workers : int or None
        Downloads at the same time.
    retry_failed : bool
        Try those again that failed before.
    progress : callable
        Called in that thread with the number of pictures finished and wanted.
    """

    def __init__(self, folder, client, *, workers, retry_failed, progress):
        self._folder = folder
        self._client = client
        self._options = {"workers": workers, "retry_failed": retry_failed}
        self._progress = progress
        self._news = threading.Condition()
        self._there = {}
        self._ended = self._stopped = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="paperclip-fetch")
        self._fetching = None

    def __enter__(self):
        self._fetching = self._thread.submit(self._run)
        return self

    def __exit__(self, *error):
        self.stop()
        self._thread.shutdown()

    def stop(self):
        """Stop fetching; whoever waits for a picture does not wait any longer."""
        self._stopped = True
        with self._news:
            self._news.notify_all()

    def wait(self, picture_id):
        """
        Wait until a picture is on disk; safe to call from threads.

        Parameters
        ----------
        picture_id : str
            As `paperclip.mast.PictureStore` calls it.

        Raises
        ------
        AbsentError
            If it could not be fetched.
        FetchError
            If the fetching ended with an error before it came.
        """
        with self._news:
            self._news.wait_for(
                lambda: picture_id in self._there or self._ended or self._stopped
            )
            known = picture_id in self._there
            message = self._there.get(picture_id)
            ended = self._ended
        if message is not None:
            raise AbsentError(message)
        if ended and not known:  # else it was there before
            self.finish()

    def finish(self):
        """
        Wait for the end of the fetching.

        Raises
        ------
        FetchError
            If it ended with an error.
        """
        error = self._fetching.exception()
        if error is not None:
            raise FetchError from error

    def absent(self):
        """
        Return what could not be fetched.

        Returns
        -------
        reasons : dict of str to str
            By the names of the pictures.
        """
        with self._news:
            return {name: text for name, text in self._there.items() if text}

    def _run(self):
        from paperclip.imaging import read_preview
        from paperclip.mast.manifest import PictureStore

        try:
            PictureStore.open(self._folder).fetch(
                self._client,
                check=read_preview,
                progress=self._tell,
                arrived=self._arrived,
                **self._options,
            )
        except _StopFetching:
            pass
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()

    def _arrived(self, picture_id, message):
        with self._news:
            self._there[picture_id] = message
            self._news.notify_all()

    def _tell(self, done, total):
        if self._stopped:
            raise _StopFetching
        self._progress(done, total)
