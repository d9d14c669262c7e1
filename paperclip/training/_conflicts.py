# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What becomes of new rows that tie two earlier splits together."""

import numpy as np

from paperclip.training._sky import Neighbours

__all__ = ["settle"]


def settle(which, vectors, chord, proposal, pi, old, fixed, names):
    """
    Settle new proposals one by one, beginning next to the earlier rows.

    New rows of old proposals come first, then, in the order of their names,
    the proposals that are tied to something settled, until none is left that
    is. A proposal joins the split of its PI if PIs count, else the one that
    most of its rows are close to (the first of equals); rows close to another
    split are left out.

    Parameters
    ----------
    which : `~numpy.ndarray` of int
        Rows of the groups that are tied to several splits.
    vectors : `~numpy.ndarray`, shape (n, 3)
        Unit vectors of all rows, NaN where the position is missing.
    chord : float
        Distance up to which rows are close.
    proposal, pi, old : `~numpy.ndarray` of int, shape (n,)
        Numbers of the proposal, the PI and the earlier split of each row; -1
        where there is none.
    fixed : `~numpy.ndarray` of int
        Earlier split of each proposal, or -1.
    names : sequence of str
        Names of the splits.

    Returns
    -------
    fixed : `~numpy.ndarray` of int
        The same with the splits of the proposals that were settled.
    dropped : dict of int to str
        Rows that are left out, with the reason.
    """
    return _Settler(which, vectors, chord, proposal, pi, old, fixed, names).run()


class _Settler:
    def __init__(self, which, vectors, chord, proposal, pi, old, fixed, names):
        self.vectors, self.pi, self.names = vectors, pi, names
        self.fixed = fixed.copy()
        self.settled = Neighbours(chord) if chord else None
        self.pi_splits = {}
        self.dropped = {}
        self.rows = {}
        for row in which[old[which] < 0].tolist():
            self.rows.setdefault(int(proposal[row]), []).append(row)
        for row in which[old[which] >= 0].tolist():
            self.keep(row, int(old[row]))

    def keep(self, row, split):
        if self.settled is not None:
            self.settled.add(self.vectors[row : row + 1], split)
        if self.pi[row] >= 0:
            self.pi_splits.setdefault(int(self.pi[row]), set()).add(split)

    def near(self, row):
        if self.settled is None:
            return set()
        return self.settled.labels_near(self.vectors[row])

    def run(self):
        for number in sorted(self.rows):
            if self.fixed[number] >= 0:
                self.place(number, int(self.fixed[number]))
        waiting, progress = sorted(self.rows), True
        while progress:
            progress = False
            for number in list(waiting):
                if self.fixed[number] < 0 and not self.choose(number):
                    continue
                waiting.remove(number)
                progress = True
        return self.fixed, self.dropped

    def choose(self, number):
        """Settle a new proposal if it is tied to something; say whether."""
        rows = self.rows[number]
        bound = set()
        for row in rows:
            bound |= self.pi_splits.get(int(self.pi[row]), set())
        if len(bound) > 1:
            listed = " and ".join(self.names[i] for i in sorted(bound))
            reason = f"the principal investigator ties the proposal to {listed}"
            self.dropped.update(dict.fromkeys(rows, reason))
            return True
        votes = [0] * len(self.names)
        for row in rows:
            for split in self.near(row):
                votes[split] += 1
        if not bound and not any(votes):
            return False
        split = bound.pop() if bound else int(np.argmax(votes))
        self.fixed[number] = split
        self.place(number, split)
        return True

    def place(self, number, split):
        """Keep the rows of a proposal that are close to no other split."""
        kept = []
        for row in self.rows[number]:
            if self.pi_splits.get(int(self.pi[row]), {split}) != {split}:
                self.dropped[row] = (
                    "its principal investigator is in another split than its proposal"
                )
            elif others := self.near(row) - {split}:
                listed = " and ".join(self.names[i] for i in sorted(others))
                self.dropped[row] = (
                    f"close to a position of {listed}, while the proposal is in "
                    f"{self.names[split]}"
                )
            else:
                kept.append(row)
        for row in kept:
            self.keep(row, split)
