# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Checks of arguments that many functions take."""

import operator

import numpy as np

from paperclip.exceptions import InvalidQueryError

__all__ = ["whole_number"]


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
