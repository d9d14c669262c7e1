# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What a data set is to hold, and whether a folder fits that."""

import dataclasses
import os
import warnings

from paperclip.exceptions import DataSetError, InvalidQueryError, NoResultsWarning
from paperclip.mast._fields import proposal_key
from paperclip.mast.observations import query_criteria
from paperclip.mast.products import choose_previews, get_product_list
from paperclip.mast.proposals import parse_cycles
from paperclip.mast.recipes import choose_recipe, recipe_for
from paperclip.training.splits import SplitSettings
from paperclip.utils.checks import whole_number

__all__ = ["Request", "fit", "select"]

_NAMES = {"by_pi": "split_by_pi"}


@dataclasses.dataclass(frozen=True)
class Request:
    """
    What was asked for, checked and in plain values.

    Parameters
    ----------
    mission : str
        Such as ``"HST"``.
    cycles, proposals : tuple
        Numbers of cycles; numbers of proposals that are wanted beside them.
    recipe : PreviewRecipe
        Which pictures.
    limit : int or None
        Most pictures.
    settings : dict
        What holds for the whole data set.
    """

    mission: str
    cycles: tuple
    proposals: tuple
    recipe: object
    limit: int | None
    settings: dict

    @classmethod
    def checked(
        cls,
        mission,
        *,
        cycles,
        proposals,
        recipe,
        limit,
        max_per_proposal,
        seed,
        split,
        size,
    ):
        """
        Check the arguments of a build.

        Parameters
        ----------
        mission, cycles, proposals, recipe, limit : object
            As `paperclip.training.build_dataset` takes them.
        max_per_proposal, seed, split, size : object
            As `paperclip.training.build_dataset` takes them.

        Returns
        -------
        request : Request
            In plain values.

        Raises
        ------
        InvalidQueryError
            If one is not possible.
        """
        if not isinstance(mission, str) or not mission.strip():
            msg = f"mission must be a name such as 'HST' or 'JWST', got {mission!r}"
            raise InvalidQueryError(msg)
        mission = mission.strip().upper()
        split = SplitSettings() if split is None else split
        if not isinstance(split, SplitSettings):
            msg = f"split must be SplitSettings, got {type(split).__name__}"
            raise InvalidQueryError(msg)
        cycles = () if cycles is None else parse_cycles(cycles)
        proposals = () if proposals is None else _proposals(proposals)
        if not cycles and not proposals:
            msg = "give cycles= or proposals=, for example cycles='25-30'"
            raise InvalidQueryError(msg)
        settings = {
            "seed": whole_number("seed", seed, low=0),
            "max_per_proposal": whole_number("max_per_proposal", max_per_proposal),
            "size": whole_number("size", size, low=16, high=1 << 14),
            **split.to_dict(),
        }
        recipe = choose_recipe(recipe) or recipe_for(mission)
        limit = None if limit is None else whole_number("limit", limit)
        return cls(mission, cycles, proposals, recipe, limit, settings)

    @property
    def selection(self):
        """What is recorded of it: dict that JSON can hold."""
        recipe = dataclasses.asdict(self.recipe)
        return {
            "cycles": list(self.cycles),
            "proposals": list(self.proposals),
            "recipe": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in recipe.items()
            },
            "limit": self.limit,
        }


def _proposals(given):
    if isinstance(given, str):
        given = given.split(",")
    elif isinstance(given, int):
        given = [given]
    keys = set()
    for value in given:
        key = None if isinstance(value, bool) else proposal_key(value)
        if key is None:
            msg = f"proposals must be numbers of proposals, got {value!r}"
            raise InvalidQueryError(msg)
        keys.add(key)
    return tuple(sorted(keys, key=_by_number))


def _by_number(key):
    return (not key.isdigit(), key.rjust(12))


def fit(state, request, folder):
    """
    Put a request to what a folder holds already.

    Parameters
    ----------
    state : dict or None
        Of the data set that is there.
    request : Request
        What is wanted.
    folder : path-like
        For messages.

    Returns
    -------
    state : dict
        With the request in it.
    changed : bool
        Whether it adds something.

    Raises
    ------
    DataSetError
        If the request does more than adding to what is there: it says what
        differs.
    """
    if state is None:
        state = {"complete": False, "settings": request.settings, "selections": {}}
    differing = [
        f"{_NAMES.get(name, name)} is {old!r} there, got {request.settings[name]!r}"
        for name, old in state["settings"].items()
        if name in request.settings and request.settings[name] != old
    ]
    new = request.selection
    old = state["selections"].get(request.mission)
    if old is not None:
        differing += _losses(old, new)
    if differing:
        msg = (
            f"{os.fspath(folder)!r} holds a data set made with other arguments: "
            f"{'; '.join(differing)}. Use the same ones (more cycles, proposals or "
            "missions may be added), or choose another folder"
        )
        raise DataSetError(msg)
    kept = {} if old is None else old
    changed = any(kept.get(name, None) != value for name, value in new.items())
    selections = state["selections"] | {request.mission: kept | new}
    return {**state, "selections": selections}, changed or old is None


def _losses(old, new):
    """Say what a new selection of the same mission does not take over."""
    found = []
    for name in ("cycles", "proposals"):
        if not set(old[name]) <= set(new[name]):
            text = ",".join(map(str, old[name]))
            got = ",".join(map(str, new[name])) or "none"
            found.append(f"{name} are {text} there, got {got}")
    if old["recipe"] != new["recipe"]:
        names = old["recipe"]["name"], new["recipe"]["name"]
        found.append("recipe is {!r} there, got {!r}".format(*names))
    limits = old["limit"], new["limit"]
    if limits[1] is not None and (limits[0] is None or limits[1] < limits[0]):
        found.append("limit is {} there, got {}".format(*limits))
    return found


def select(client, request, ids):
    """
    Ask for the pictures of some proposals, and choose among them.

    Parameters
    ----------
    client : MastClient
        Who asks.
    request : Request
        What is wanted.
    ids : sequence of str
        Numbers of proposals.

    Returns
    -------
    rows : `~astropy.table.Table`
        Chosen pictures with the columns of their observations, and ``size``
        of the file in the archive.
    n_observations : int
        Images that were looked at.
    """
    with warnings.catch_warnings():
        # many proposals have no pictures; the report says how many have
        warnings.simplefilter("ignore", NoResultsWarning)
        observations = query_criteria(
            client,
            limit=None,
            obs_collection=request.mission,
            proposal_id=list(ids),
            dataproduct_type="image",
        )
        products = get_product_list(client, observations, recipe=request.recipe)
    rows = choose_previews(
        products,
        observations,
        max_per_proposal=request.settings["max_per_proposal"],
        rng=request.settings["seed"],
    )
    return rows, len(observations)
