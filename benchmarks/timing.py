# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Time calls and processes in turns, so that their ratio means something.

A busy machine slows whatever runs at that moment. Members of a comparison are
therefore run one after the other, round by round, each round beginning with
another one, and medians are compared.
"""

import subprocess
import sys
import time
from functools import partial

import numpy as np

__all__ = ["interleave", "process", "report"]


def interleave(calls, rounds, *, warm=1, clock=time.perf_counter):
    """
    Time calls in turns.

    Parameters
    ----------
    calls : dict of str to callable
        What to time, by name.
    rounds : int
        Times that each one is run.
    warm : int, optional
        Rounds before, which are not counted.
    clock : callable, optional
        Returns seconds; ``time.process_time`` counts those that all threads
        of this process were on a processor.

    Returns
    -------
    seconds : dict of str to `~numpy.ndarray`, shape (rounds,)
        In the order of ``calls``.
    """
    names = list(calls)
    seconds = {name: np.empty(rounds) for name in names}
    for number in range(-warm, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            start = clock()
            calls[name]()
            if number >= 0:
                seconds[name][number] = clock() - start
    return seconds


def process(*arguments):
    """
    Return a call that runs a fresh interpreter to its end.

    Parameters
    ----------
    *arguments : str
        Of the interpreter, for example ``"-c"`` and a program.

    Returns
    -------
    call : callable
        Runs it without showing its output, and raises
        `subprocess.CalledProcessError` if it fails.
    """
    return partial(
        subprocess.run, [sys.executable, *arguments], check=True, capture_output=True
    )


def report(title, seconds, *, bare, aim=None):
    """
    Print medians, spreads and ratios to one member of a comparison.

    Parameters
    ----------
    title : str
        What is compared.
    seconds : dict of str to `~numpy.ndarray`
        From `interleave`.
    bare : str
        The member that the others are divided by.
    aim : float, optional
        Largest ratio that the first member should have.

    Returns
    -------
    ratios : dict of str to float
        Ratio of the medians, by name.
    """
    print(f"{title} ({len(seconds[bare])} rounds; median [10 %, 90 %] in ms)")
    reference = np.median(seconds[bare])
    ratios = {}
    for name, values in seconds.items():
        ratio = float(np.median(values) / reference)
        note = ""
        if aim is not None and not ratios:
            note = f"   aim {aim}: {'met' if ratio <= aim else 'MISSED'}"
        low, middle, high = 1e3 * np.percentile(values, (10, 50, 90))
        spread = f"[{low:.2f}, {high:.2f}]"
        print(f"  {name:36s} {middle:9.2f} {spread:>20s}  x {ratio:.3f}{note}")
        ratios[name] = ratio
    return ratios
