# Licensed under a 3-clause BSD style license - see LICENSE.rst
import threading
from datetime import UTC, datetime

import numpy as np
import pytest

from paperclip.utils.retry import parse_retry_after, retry


class BusyError(ConnectionError):
    def __init__(self, retry_after=None):
        super().__init__("busy")
        self.retry_after = retry_after


def failing(times, error=ConnectionError):
    """Return a function that fails a few times, and its calls."""
    calls = []

    def call():
        calls.append(1)
        if len(calls) <= times:
            raise error("no") if error is not BusyError else BusyError()
        return "done"

    return call, calls


def pauses(times, **options):
    """Return the pauses that a function which fails leads to."""
    slept = []
    call, _ = failing(times)
    retry(call, attempts=times + 1, sleep=slept.append, **options)
    return slept


def test_success_needs_no_pause():
    call, calls = failing(0)
    assert retry(call, attempts=3, sleep=lambda s: pytest.fail("slept")) == "done"
    assert len(calls) == 1


def test_last_error_is_raised():
    call, calls = failing(9)
    with pytest.raises(ConnectionError, match="no"):
        retry(call, attempts=4, sleep=lambda _: None)
    assert len(calls) == 4


def test_other_errors_are_not_repeated():
    call, calls = failing(1, KeyError)
    with pytest.raises(KeyError, match="no"):
        retry(call, attempts=4)
    assert len(calls) == 1


def test_which_errors_may_be_a_function():
    call, _ = failing(1, KeyError)
    on = lambda exc: "no" in str(exc)  # noqa: E731
    assert retry(call, attempts=2, on=on, sleep=lambda _: None) == "done"


def test_pauses_grow_up_to_a_limit():
    slept = pauses(8, wait=1.0, longest=20.0, rng=np.random.default_rng(1))
    for number, seconds in enumerate(slept):
        longest = min(2.0**number, 20)
        assert longest / 2 <= seconds <= longest


def test_jitter_comes_from_the_generator():
    one, two, other = (
        pauses(3, wait=1.0, rng=np.random.default_rng(seed)) for seed in (0, 0, 5)
    )
    assert one == two != other


def test_very_many_attempts_do_not_overflow():
    assert max(pauses(2000, wait=0.1, longest=1.0)) <= 1


@pytest.mark.parametrize(
    ("asked", "expected"), [(7.0, 7.0), (1e9, 60.0), (None, 0.0), (0.0, 0.0)]
)
def test_server_says_how_long(asked, expected):
    slept = []

    def call():
        if not slept:
            raise BusyError(asked)
        return "done"

    assert retry(call, attempts=2, wait=0.0, sleep=slept.append) == "done"
    assert slept == [expected]


def test_an_event_ends_the_attempts():
    stop = threading.Event()
    stop.set()
    call, calls = failing(5)
    with pytest.raises(ConnectionError, match="no"):
        retry(call, attempts=5, wait=30, sleep=stop.wait)
    assert len(calls) == 1


NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 12:00:30", 30.0),
        ("Sun, 22 Nov 2026 12:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("", None),
        (None, None),
        ("Mon, 99 Nov 2026 12:00:30 GMT", None),
        ("9" * 400, None),
    ],
)
def test_both_forms_of_retry_after(value, seconds):
    assert parse_retry_after(value, now=NOW) == seconds
