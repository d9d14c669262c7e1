# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Checks of arguments that many functions take."""

import operator
import os
from pathlib import Path

import numpy as np

from paperclip.exceptions import DataSetError, InvalidQueryError

__all__ = ["folder_path", "whole_number"]


def folder_path(name, value):
    """
    Return an argument as the place of a folder, or say what is wrong.

    Parameters
    ----------
    name : str
        Name of the argument; it starts the message.
    value : object
        What was given. The folder need not be there yet.

    Returns
    -------
    folder : `~pathlib.Path`
        Absolute; ``~`` stands for the home folder.

    Raises
    ------
    InvalidQueryError
        If it is no path, or an empty one.
    DataSetError
        If there is a file of that name.
    """
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        msg = f"{name} must be the path of a folder, got {value!r}"
        raise InvalidQueryError(msg)
    folder = Path(value).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        msg = f"{os.fspath(folder)!r} is no folder; choose another name"
        raise DataSetError(msg)
    return folder


def whole_number(name, value, low=1, high=2**62):
    """
    Return an argument as an int within limits, or say what is wrong.

    Parameters
    ----------
    name : str
        Name of the argument; it starts the message.
    value : object
        What was given. Anything that counts as an index is taken, a bool is
        not.
    low, high : int, optional
        Smallest and largest value that is allowed.

    Returns
    -------
    number : int
        The value.

    Raises
    ------
    InvalidQueryError
        If it is not a whole number or outside of the limits.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, (bool, np.bool_)):
        msg = f"{name} must be a whole number, got {value!r}"
        raise InvalidQueryError(msg)
    if number < low:
        msg = f"{name} must be at least {low}, got {number}"
        raise InvalidQueryError(msg)
    if number > high:
        msg = f"{name} must be at most {high}, got {number}"
        raise InvalidQueryError(msg)
    return number
