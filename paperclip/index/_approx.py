# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Ask the approximate index of a table for rows that may be the best ones."""

import json
import struct
from dataclasses import asdict, dataclass, field

import numpy as np

from paperclip.index.schema import VECTOR

__all__ = [
    "KEY",
    "NAME",
    "STORED",
    "Level",
    "Tuning",
    "allow_list",
    "indexed",
    "nominate",
]

NAME = "paperclip_ann"
#: Where a table keeps what was measured when its index was made.
KEY = "paperclip:ann"
#: Kind of an index -> how Lance names it.
STORED = {"fast": "IVF_SQ", "small": "IVF_RQ"}
_FORMAT = 1
_DENSE = 4096  # more numbers than this of 65536 take less room as bits


@dataclass(frozen=True)
class Level:
    """
    How to search for one share of the rows and one size of the answer.

    Parameters
    ----------
    share : float
        Part of the rows that a filter keeps; 1 without a filter.
    limit : int
        Rows wanted.
    nprobes : int
        Partitions to look into; 0 if no number of them reaches the recall.
    candidates : float
        Rows to fetch for each row wanted, to be compared exactly.
    recall : float
        Share of the true best rows that was found.
    time : float
        Time divided by that of the exact search of all rows.
    exact_time : float
        The same of the exact search of the rows that the filter keeps.
    """

    share: float
    limit: int
    nprobes: int
    candidates: float
    recall: float
    time: float
    exact_time: float


@dataclass(frozen=True)
class Tuning:
    """
    What is known about the approximate index of a table.

    Parameters
    ----------
    kind : str
        ``"fast"`` or ``"small"``.
    partitions : int
        Number of parts of the index.
    recall : float
        What was asked for.
    rows : int
        Number of rows when the index was made.
    identity : list of str
        Names of the parts of the index on disk.
    seed : int
        Of all random numbers.
    created : str
        Time, ISO 8601, UTC.
    build_time : float
        Seconds.
    levels : list of `Level`
        What to do, by share and limit.
    curve : list of list
        Measured: share, limit, nprobes, candidates, recall.
    """

    kind: str
    partitions: int
    recall: float
    rows: int
    identity: list = field(default_factory=list)
    seed: int = 0
    created: str = ""
    build_time: float = 0.0
    levels: list = field(default_factory=list)
    curve: list = field(default_factory=list)

    def to_text(self):
        """Return it as JSON."""
        return json.dumps({"format": _FORMAT, **asdict(self)})

    @classmethod
    def from_text(cls, text):
        """
        Read what `to_text` wrote.

        Parameters
        ----------
        text : str or `None`
            JSON.

        Returns
        -------
        tuning : `Tuning` or `None`
            `None` if there is none, or it is not understood.
        """
        try:
            values = json.loads(text or "null")
            if values.pop("format") != _FORMAT:
                return None
            if values["kind"] not in STORED:
                return None
            values["levels"] = [Level(**item) for item in values["levels"]]
            return cls(**values)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


def indexed(dataset):
    """
    Describe the approximate index of a table.

    Parameters
    ----------
    dataset : `lance.LanceDataset`
        The version.

    Returns
    -------
    description : `lance.indices.IndexDescription` or `None`
        `None` if there is none.
    """
    return next((i for i in dataset.describe_indices() if i.name == NAME), None)


def nominate(dataset, query, *, n, nprobes, allowed=None):
    """
    Return the rows that the approximate index holds for the best.

    Parameters
    ----------
    dataset : `lance.LanceDataset`
        The version.
    query : `~numpy.ndarray`, shape (d,), dtype float32
        Unit vector.
    n : int
        Number of rows wanted.
    nprobes : int
        Partitions to look into.
    allowed : bytes, optional
        From `allow_list`: no other rows come back.

    Returns
    -------
    addresses : `~numpy.ndarray`, dtype uint64
        At most ``n`` addresses of rows, the most promising first. Rows that
        are deleted or were added after the index was made are not among
        them.
    """
    scanner = dataset.scanner(
        columns=[],
        nearest={
            "column": VECTOR,
            "q": query,
            "k": n,
            "metric": "cosine",
            "minimum_nprobes": nprobes,
            "maximum_nprobes": nprobes,
        },
        with_row_address=True,
        fast_search=True,
        prefilter=True,
        disable_scoring_autoprojection=True,
        row_addr_allowlist=allowed,
    )
    return scanner.to_table()["_rowaddr"].to_numpy()


def allow_list(addresses):
    """
    Write addresses of rows as Lance reads them.

    Parameters
    ----------
    addresses : `~numpy.ndarray`, dtype uint64
        Ascending; the upper 32 bits are the number of a fragment.

    Returns
    -------
    data : bytes
        Number of fragments; then for each one its number, the bytes that
        follow, and a Roaring bitmap [1]_ of the lower 32 bits.

    References
    ----------
    .. [1] https://github.com/RoaringBitmap/RoaringFormatSpec
    """
    fragments, starts = np.unique(addresses >> np.uint64(32), return_index=True)
    lower = addresses.astype(np.uint32)
    parts = [struct.pack("<I", len(fragments))]
    for number, rows in zip(fragments, np.split(lower, starts[1:]), strict=True):
        data = _roaring(rows)
        parts += [struct.pack("<II", number, len(data)), data]
    return b"".join(parts)


def _roaring(values):
    keys, starts = np.unique(values >> np.uint32(16), return_index=True)
    blocks = []
    sizes = []
    for block in np.split(values.astype("<u2"), starts[1:]):
        sizes.append(len(block))
        if len(block) > _DENSE:
            bits = np.zeros(1 << 16, dtype=np.uint8)
            bits[block] = 1
            block = np.packbits(bits, bitorder="little")
        blocks.append(block.tobytes())
    heads = np.empty((len(keys), 2), dtype="<u2")
    heads[:, 0] = keys
    heads[:, 1] = np.array(sizes) - 1
    before = 8 + 8 * len(keys)  # cookie, number of blocks, heads, offsets
    lengths = [before, *map(len, blocks)]
    offsets = np.cumsum(lengths)[:-1].astype("<u4")
    cookie = struct.pack("<II", 12346, len(keys))
    return b"".join([cookie, heads.tobytes(), offsets.tobytes(), *blocks])
