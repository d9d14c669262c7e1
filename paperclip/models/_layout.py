# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The files of a model directory, as open_clip names them on the Hub."""

__all__ = ["CONFIG_NAME", "WEIGHT_NAMES", "find_weights"]

CONFIG_NAME = "open_clip_config.json"
"""File that names the architecture and the preprocessing of a model."""

# the two names open_clip prefers over any pickle that may lie beside them
WEIGHT_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
"""Weight files that are read, in this order of preference."""


def find_weights(directory):
    """
    Return the name of the weights file that open_clip will read.

    Parameters
    ----------
    directory : `~pathlib.Path`
        Directory of a model.

    Returns
    -------
    name : str or None
        One of ``WEIGHT_NAMES``; None if there is none of them.
    """
    return next((name for name in WEIGHT_NAMES if (directory / name).is_file()), None)
