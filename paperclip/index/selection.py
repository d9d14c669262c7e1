# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From criteria for MAST to pictures on disk."""

from collections import Counter
from dataclasses import dataclass

from paperclip.exceptions import InvalidQueryError, OfflineError
from paperclip.index._metadata import texts
from paperclip.index.schema import KEY

__all__ = ["Selection", "fetch_pictures", "select_pictures"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """
    Which previews of MAST are wanted.

    Parameters
    ----------
    criteria : dict
        As `paperclip.mast.query_criteria` takes them.
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

    observations = query_criteria(client, limit=None, **selection.criteria)
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


def fetch_pictures(folder, client, *, workers, retry_failed, progress):
    """
    Fetch previews into a folder; those that are there are not fetched again.

    Parameters
    ----------
    folder : path-like
        Folder of a `paperclip.mast.PictureStore` that wants pictures.
    client : callable
        Returns a `~paperclip.mast.MastClient`; not called when nothing is wanted.
    workers : int or None
        Downloads at the same time.
    retry_failed : bool
        Try those again that failed before.
    progress : callable
        Called with the number of pictures finished and wanted.

    Raises
    ------
    OfflineError
        If something is missing and downloads are switched off.
    """
    from paperclip.imaging import read_preview
    from paperclip.mast.manifest import PictureStore
    from paperclip.utils.offline import is_offline

    store = PictureStore.open(folder)
    wanted = store.counts["wanted"] + retry_failed * store.counts["failed"]
    if not wanted:
        return
    client = client()
    if is_offline(getattr(client, "offline", None)):
        msg = (
            f"{wanted} pictures are not in {folder} and downloads are switched off; "
            "run the same command with a network"
        )
        raise OfflineError(msg)
    store.fetch(
        client,
        check=read_preview,
        workers=workers,
        retry_failed=retry_failed,
        progress=progress,
    )
