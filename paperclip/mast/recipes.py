# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Which of the products of an observation are wanted."""

from dataclasses import dataclass

import numpy as np

from paperclip.exceptions import InvalidQueryError

from ._fields import column_values

__all__ = [
    "ANY_PREVIEW",
    "JWST",
    "PAPER_HST",
    "SCIENCE",
    "PreviewRecipe",
    "choose_recipe",
    "product_names",
    "recipe_for",
    "recipe_mask",
]


@dataclass(frozen=True)
class PreviewRecipe:
    """
    A choice among products by their type and the names of their files.

    Parameters
    ----------
    name : str
        What to call it.
    product_type : str, optional
        Value of ``productType``: ``"PREVIEW"``, ``"SCIENCE"``, ``"AUXILIARY"``
        and others of MAST.
    include : sequence of str, optional
        The name of a file must hold all of these.
    exclude : sequence of str, optional
        And none of these.
    suffixes : sequence of str, optional
        It must end in one of these; any ending when empty.

    Notes
    -----
    Upper and lower case are the same.

    Examples
    --------
    >>> from paperclip.mast import PreviewRecipe
    >>> PreviewRecipe("drizzled", include=["_drc"]).include
    ('_drc',)
    """

    name: str
    product_type: str = "PREVIEW"
    include: tuple = ()
    exclude: tuple = ()
    suffixes: tuple = (".jpg", ".jpeg", ".png")

    def __post_init__(self):
        for field in ("name", "product_type"):
            value = getattr(self, field)
            if not isinstance(value, str) or not value.strip():
                msg = f"{field} of a recipe must be a str that is not blank, got "
                msg += f"{value!r}"
                raise InvalidQueryError(msg)
        for field in ("include", "exclude", "suffixes"):
            value = getattr(self, field)
            texts = (value,) if isinstance(value, str) else tuple(value)
            if not all(isinstance(text, str) and text for text in texts):
                msg = f"{field} of recipe {self.name!r} must hold texts, got {value!r}"
                raise InvalidQueryError(msg)
            object.__setattr__(self, field, texts)

    def mask(self, products):
        """
        Say which products the recipe takes.

        Parameters
        ----------
        products : `~astropy.table.Table`
            With ``productType``, and ``productFilename`` or ``dataURI``.

        Returns
        -------
        wanted : `~numpy.ndarray` of bool, shape (n,)
            False where the type or the name is missing.
        """
        kinds = column_values(products, "productType")
        wanted = np.zeros(len(products), dtype=bool)
        for row, (kind, name) in enumerate(
            zip(kinds, product_names(products), strict=True)
        ):
            wanted[row] = (
                bool(name)
                and str(kind or "").upper() == self.product_type.upper()
                and all(text.lower() in name for text in self.include)
                and not any(text.lower() in name for text in self.exclude)
                and (not self.suffixes or name.endswith(self._endings))
            )
        return wanted

    @property
    def _endings(self):
        return tuple(suffix.lower() for suffix in self.suffixes)


#: Previews of HST as in Section 2.1 of arXiv:2403.08851: those of all exposures of a
#: visit together, not in colour.
PAPER_HST = PreviewRecipe("PAPER_HST", include=("total",), exclude=("color",))

#: Previews of the mosaics and images of JWST that are resampled onto the sky.
JWST = PreviewRecipe("JWST", suffixes=("_i2d.jpg", "_i2d.jpeg", "_i2d.png"))

#: Every preview picture, for missions without a recipe of their own.
ANY_PREVIEW = PreviewRecipe("ANY_PREVIEW")

#: FITS files of science products.
SCIENCE = PreviewRecipe(
    "SCIENCE", product_type="SCIENCE", suffixes=(".fits", ".fits.gz", ".fits.fz")
)

_MISSIONS = {"HST": PAPER_HST, "JWST": JWST}
_NAMED = {recipe.name: recipe for recipe in (PAPER_HST, JWST, ANY_PREVIEW, SCIENCE)}


def recipe_for(mission):
    """
    Return the recipe for the previews of a mission.

    Parameters
    ----------
    mission : str
        ``obs_collection``, for example ``"HST"``.

    Returns
    -------
    recipe : PreviewRecipe
        ``ANY_PREVIEW`` for a mission without one.
    """
    return _MISSIONS.get(str(mission).strip().upper(), ANY_PREVIEW)


def choose_recipe(recipe):
    """
    Check a recipe that a user gave.

    Parameters
    ----------
    recipe : PreviewRecipe, str or None
        A recipe, or the name of a ready one.

    Returns
    -------
    recipe : PreviewRecipe or None
        None stands for what each mission needs, or for everything.

    Raises
    ------
    InvalidQueryError
        If it is neither.
    """
    if recipe is None or isinstance(recipe, PreviewRecipe):
        return recipe
    found = _NAMED.get(recipe.upper()) if isinstance(recipe, str) else None
    if found is None:
        msg = f"recipe must be a PreviewRecipe or one of {list(_NAMED)}, got {recipe!r}"
        raise InvalidQueryError(msg)
    return found


def recipe_mask(products, recipe=None):
    """
    Say which products are wanted previews.

    Parameters
    ----------
    products : `~astropy.table.Table`
        As MAST lists them.
    recipe : PreviewRecipe or str, optional
        The same for all; by default that of the ``obs_collection`` of each.

    Returns
    -------
    wanted : `~numpy.ndarray` of bool, shape (n,)
        One for each product.
    """
    recipe = choose_recipe(recipe)
    if recipe is not None:
        return recipe.mask(products)
    missions = np.array([str(m) for m in column_values(products, "obs_collection")])
    wanted = np.zeros(len(products), dtype=bool)
    for mission in set(missions.tolist()):
        here = missions == mission
        wanted[here] = recipe_for(mission).mask(products[here])
    return wanted


def product_names(products):
    """
    Return the names of files in lower case.

    Parameters
    ----------
    products : `~astropy.table.Table`
        With ``productFilename`` or ``dataURI``.

    Returns
    -------
    names : list of str
        The last part of the URI where there is no name; ``""`` without both.
    """
    names = column_values(products, "productFilename")
    uris = column_values(products, "dataURI")
    return [
        str(name or str(uri or "").rsplit("/", 1)[-1]).lower()
        for name, uri in zip(names, uris, strict=True)
    ]
