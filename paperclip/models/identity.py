# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Say which vectors a model makes without building it."""

import os
from dataclasses import dataclass

from paperclip.models.hub import resolve
from paperclip.models.loading import _fingerprint, load_encoder
from paperclip.models.preprocess import Preprocessing
from paperclip.models.verify import check_directory

__all__ = ["ModelIdentity", "identify"]

_IMAGE_SIZE = 224  # of open_clip, where a configuration does not say


@dataclass(frozen=True)
class ModelIdentity:
    """
    What tells a model from others.

    Parameters
    ----------
    name : str
        What the user calls it; empty if it has no name.
    fingerprint : str
        As of the loaded encoder.
    preprocessing : `~paperclip.models.preprocess.Preprocessing` or None
        How pictures become its input; None for an object that does not say.
    """

    name: str
    fingerprint: str
    preprocessing: Preprocessing | None = None


def identify(model, *, offline=None):
    """
    Find out the fingerprint of a model; no weight is read into memory.

    Parameters
    ----------
    model : str, path-like or encoder
        As for `paperclip.models.load_encoder`.
    offline : bool, optional
        As for `paperclip.models.load_encoder`.

    Returns
    -------
    identity : ModelIdentity
        The same as that of the encoder.

    Raises
    ------
    PaperclipError
        As `paperclip.models.load_encoder`, as far as files alone show it.
    """
    if not isinstance(model, str | os.PathLike):
        encoder = load_encoder(model)
        return ModelIdentity(
            str(getattr(encoder, "name", "")),
            encoder.fingerprint,
            getattr(encoder, "preprocessing", None),
        )
    resolved = resolve(model, offline=offline)
    checked = check_directory(resolved.directory)
    size = checked.config["model_cfg"]["vision_cfg"].get("image_size", _IMAGE_SIZE)
    preprocessing = Preprocessing.from_config(
        checked.config["preprocess_cfg"], size=size
    )
    return ModelIdentity(
        resolved.name, _fingerprint(resolved, checked, preprocessing), preprocessing
    )
