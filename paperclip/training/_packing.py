# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Put pictures, texts and splits together: pairs, and shards of them."""

import hashlib
import json
import re

import numpy as np
from astropy.table import MaskedColumn

from paperclip.mast._journal import write_error
from paperclip.training._folder import LEFT_OUT, text_values
from paperclip.training._samples import plain_rows, sample_of
from paperclip.training.shards import (
    plan_shards,
    sample_bytes,
    shard_name,
    write_shard,
)
from paperclip.training.splits import SPLITS

__all__ = ["pack", "pair_rows", "remove_others"]

_SHARD = re.compile(rf"({'|'.join(SPLITS)})-\d{{6,}}\.tar")


def pair_rows(table, parts, texts):
    """
    Return the pairs, with the reason where one cannot be used.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The manifest of the pictures; it is changed.
    parts : Split
        Of the same rows.
    texts : dict
        Of the proposals, see ``texts_of``.

    Returns
    -------
    pairs : `~astropy.table.Table`
        By mission, proposal and name of the picture.
    """
    groups = {
        (row["mission"], row["proposal_id"]): row["group"] for row in parts.proposals
    }
    status, message = (text_values(table, name) for name in ("status", "message"))
    missions = text_values(table, "obs_collection")
    numbers = text_values(table, "proposal_id")
    keys = list(zip(missions.tolist(), numbers.tolist(), strict=True))
    for i, key in enumerate(keys):
        if status[i] != "done":
            continue
        text = texts.get(key)
        if parts.reasons[i]:
            status[i], message[i] = LEFT_OUT, parts.reasons[i]
        elif text is None or not (text["abstract"] or "").strip():
            reason = "not looked up" if text is None else text["status"]
            status[i], message[i] = LEFT_OUT, f"no abstract: {reason}"
    _set(table, "status", status)
    _set(table, "message", message)
    _set(table, "split", parts.names)
    _set(table, "group", [groups.get(key, "") for key in keys])
    return table[np.lexsort((text_values(table, "picture_id"), numbers, missions))]


def _set(table, name, values):
    """Set a column of texts; blank ones are masked."""
    values = np.array([str(value) for value in values], dtype=str)
    table[name] = MaskedColumn(values, mask=values == "")


def pack(data, shard_size, there, *, save, tell):
    """
    Write the shards that are missing or not as they should be.

    Parameters
    ----------
    data : DataSet
        Its pairs are written.
    shard_size : int
        Largest size of a shard in bytes.
    there : list of dict
        Entries of shards that were written before.
    save : callable
        Gets all entries after each shard that was written.
    tell : callable
        Gets step, done, total.

    Returns
    -------
    entries : list of dict
        As of `write_shard`, with ``split`` and ``plan``, a checksum of what
        went into it.

    Raises
    ------
    DataSetError
        If a picture is missing or damaged.
    DataSetWriteError
        If a shard cannot be written.
    """
    there = {entry["name"]: entry for entry in there}
    planned, entries = [], []
    for split in data.splits:
        rows = data._rows_of(split)
        sizes = [_size(row, data) for row in plain_rows(rows)]
        for number, part in enumerate(plan_shards(sizes, shard_size)):
            some = rows.slice(part.start, part.stop - part.start)
            planned.append((split, shard_name(split, number), some))
    for i, (split, name, rows) in enumerate(planned):
        tell("writing shards", i, len(planned))
        plan, path = _plan(rows, data), data.folder / "shards" / name
        entry = there.get(name, {})
        good = entry.get("plan") == plan and path.is_file()
        if not good or path.stat().st_size != entry["bytes"]:
            try:
                entry = write_shard(path, data._read(rows, False))
            except OSError as exc:
                raise write_error(path, exc) from exc
            entry |= {"split": split, "plan": plan}
            there[name] = entry
            save(list(there.values()))
        entries.append(entry)
    return entries


def _sample(row, data):
    proposal = data._texts[row["obs_collection"] or "", row["proposal_id"]]
    return sample_of(row, proposal, b"")


def _size(row, data):
    return sample_bytes(_sample(row, data), image_size=row["size"])


def _plan(rows, data):
    """Return a checksum of all that goes into a shard."""
    digest = hashlib.sha256()
    for row in plain_rows(rows):
        sample = _sample(row, data)
        parts = [sample.key, row["sha256"], sample.text, sample.meta]
        digest.update(json.dumps(parts, sort_keys=True).encode())
    return digest.hexdigest()


def remove_others(place, names):
    """
    Remove shards of an earlier build.

    Parameters
    ----------
    place : `~pathlib.Path`
        Where the shards are, if there are any.
    names : set of str
        What to keep; files that are no shards of ours stay, too.

    Raises
    ------
    DataSetWriteError
        If one cannot be removed.
    """
    try:
        for path in sorted(place.glob("*.tar")) if place.is_dir() else ():
            if _SHARD.fullmatch(path.name) and path.name not in names:
                path.unlink()
    except OSError as exc:
        raise write_error(place, exc) from exc
