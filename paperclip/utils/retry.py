# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Repeat what may be repeated: reads from servers that have a bad moment."""

import math
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import numpy as np

__all__ = ["FIRST_WAIT", "LONGEST_WAIT", "parse_retry_after", "retry"]

#: Seconds before the first repetition, on average twice as long as the jitter.
FIRST_WAIT = 0.5
#: Most seconds between two attempts, whatever a server asks for.
LONGEST_WAIT = 60.0


def retry(
    call,
    *,
    attempts,
    wait=None,
    longest=None,
    rng=None,
    on=(ConnectionError, TimeoutError),
    sleep=time.sleep,
):
    """
    Call a function until it succeeds, with longer and longer pauses.

    Only for what may be done twice: reading. The pauses follow exponential
    back-off with jitter [1]_: before repetition *k* they are drawn from half
    of ``wait * 2**k`` to all of it, so that many clients that failed together
    do not come back together.

    Parameters
    ----------
    call : callable
        Takes no argument.
    attempts : int
        How often to call at most, at least once.
    wait : float, optional
        Longest pause before the first repetition in seconds; `FIRST_WAIT`
        when not given.
    longest : float, optional
        Longest pause in seconds, also for a server that asks for more;
        `LONGEST_WAIT` when not given.
    rng : `numpy.random.Generator`, optional
        Source of the jitter. A new one when not given.
    on : tuple of type, or callable
        Errors after which to try again, or a function that tells for an
        error. An error with an attribute ``retry_after`` (seconds, or None)
        says how long to wait at least.
    sleep : callable, optional
        Waits for a number of seconds. When it returns True, as
        `threading.Event.wait` does when the event is set, there is no further
        attempt.

    Returns
    -------
    result : object
        What ``call`` returned.

    Raises
    ------
    Exception
        The error of the last attempt.

    References
    ----------
    .. [1] M. Brooker, "Exponential Backoff And Jitter", AWS Architecture
       Blog, 2015.
    """
    wait = FIRST_WAIT if wait is None else wait
    longest = LONGEST_WAIT if longest is None else longest
    again = on if callable(on) else lambda exc: isinstance(exc, on)
    attempt = 0
    while True:
        try:
            return call()
        except Exception as exc:
            attempt += 1
            if attempt >= attempts or not again(exc):
                raise
            rng = np.random.default_rng() if rng is None else rng
            pause = min(wait * 2.0 ** min(attempt - 1, 60), longest)
            pause *= rng.uniform(0.5, 1)
            asked = getattr(exc, "retry_after", None) or 0.0
            if sleep(min(max(pause, asked), longest)):
                raise


def parse_retry_after(value, *, now=None):
    """
    Return how long a server asks to wait.

    Parameters
    ----------
    value : str or None
        The ``Retry-After`` header in either form of RFC 9110, section
        10.2.3: a number of seconds or a date.
    now : `~datetime.datetime`, optional
        The present; the clock when not given.

    Returns
    -------
    seconds : float or None
        Zero or more; None for no header and for one without a meaning.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text)
        return seconds if math.isfinite(seconds) else None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    now = datetime.now(UTC) if now is None else now
    return max((date - now).total_seconds(), 0.0)
