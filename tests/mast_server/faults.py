# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What can go wrong between a client and an archive, on demand."""

import hashlib
import threading
from collections import Counter

__all__ = ["KINDS", "ROW_FAULTS", "STATUSES", "Faults"]

# faults that are an HTTP status
STATUSES = {
    "unauthorized": 401,
    "forbidden": 403,
    "missing": 404,
    "busy": 429,
    "error": 500,
    "unavailable": 503,
}
# faults of a table of rows; they leave other answers as they are
ROW_FAULTS = ("duplicate", "reorder", "empty_page", "overlap", "executing", "failed")
KINDS = (
    "timeout",  # no answer at all
    "reset",  # half of the body, then the connection is torn down
    "truncated",  # half of the body and a header that says so: no error in HTTP
    "short",  # half of the body and a header that promises all of it
    "html",  # status 200 and a web page
    "drip",  # one byte at a time
    "garbage",  # status 200, the right type and length, other bytes
    *STATUSES,
    *ROW_FAULTS,
)


class Faults:
    """
    Which request is to fail, and how.

    ``where`` is a kind of request (``"invoke"``, ``"columns"``, ``"download"``,
    ``"path_lookup"``, ``"resolver"``, ``"cloud"``, ``"abstracts"``,
    ``"programme"``), or a part of `Request.what` (a service, a data URI, a
    name), or None for every request.

    Attributes
    ----------
    hang : float
        Seconds that a ``timeout`` lasts.
    pause : float
        Seconds between two bytes of a ``drip``.
    retry_after : str
        Header of ``busy`` and ``unavailable``; empty for none.
    burst : int
        Answers in a row that a random ``unavailable`` spoils.
    log : list of (str, str)
        Kind and what of every fault so far.
    """

    def __init__(self):
        self.hang = 30.0
        self.pause = 0.05
        self.retry_after = "0"
        self.burst = 2
        self.log = []
        self._lock = threading.Lock()
        self.clear()

    def clear(self):
        """Let everything work again."""
        with self._lock:
            self._queue = []
            self._always = []
            self._random = []
            self._asked = Counter()
            self._bursts = Counter()

    def next(self, kind, *, where=None, times=1):
        """Spoil the next answers; queued faults are used up in order."""
        self._check(kind)
        with self._lock:
            self._queue += [(kind, where)] * times

    def always(self, kind, *, where=None):
        """Spoil every answer from now on."""
        self._check(kind)
        with self._lock:
            self._always.append((kind, where))

    def random(self, probabilities, *, seed=0, where=None):
        """
        Spoil a share of the answers.

        Parameters
        ----------
        probabilities : dict of str to float
            Kind of fault to its share of the requests.
        seed : int
            What goes wrong depends on the seed, on the request, and on how
            often it was asked for; not on the order of threads.
        where : str, optional
            See the class.
        """
        for kind in probabilities:
            self._check(kind)
        with self._lock:
            self._random.append((dict(probabilities), seed, where))

    @staticmethod
    def _check(kind):
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; choose from {KINDS}")

    def take(self, request, identity):
        """Return the fault for a request, or None."""
        with self._lock:
            kind = self._find(request, identity)
            if kind is not None:
                self.log.append((kind, request.what))
            return kind

    def _find(self, request, identity):
        for place, (kind, where) in enumerate(self._queue):
            if _fits(request, where):
                del self._queue[place]
                return kind
        for kind, where in self._always:
            if _fits(request, where):
                return kind
        if self._bursts[identity] > 0:
            self._bursts[identity] -= 1
            return "unavailable"
        self._asked[identity] += 1
        for probabilities, seed, where in self._random:
            if not _fits(request, where):
                continue
            drawn = _uniform(seed, identity, self._asked[identity])
            for kind, share in probabilities.items():
                if drawn < share:
                    if kind == "unavailable":
                        self._bursts[identity] = self.burst - 1
                    return kind
                drawn -= share
        return None


def _fits(request, where):
    return where is None or where == request.where or where in request.what


def _uniform(*parts):
    """Return a number from 0 to 1 that depends on nothing but the arguments."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
