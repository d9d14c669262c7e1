# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From a row of the pairs to a sample."""

import hashlib

from paperclip.training.shards import KEY, Sample

__all__ = ["plain_rows", "sample_key", "sample_of", "sample_order"]

_LONGEST_KEY = 80
# what a sample says of its picture; nothing that depends on the day
_META = (
    "picture_id",
    "obs_id",
    "obs_collection",
    "instrument_name",
    "filters",
    "target_name",
    "target_classification",
    "s_ra",
    "s_dec",
    "t_min",
    "t_max",
    "proposal_id",
    "proposal_pi",
    "obs_title",
    "dataURI",
    "width",
    "height",
    "split",
    "group",
)


def plain_rows(arrow, *, step=1000):
    """
    Yield the rows of a table of Arrow, without holding them all.

    Parameters
    ----------
    arrow : `pyarrow.Table`
        Any table.
    step : int, optional
        Rows that are turned into Python at once.

    Yields
    ------
    row : dict
        Values are None where missing.
    """
    for start in range(0, arrow.num_rows, step):
        yield from arrow.slice(start, step).to_pylist()


def sample_key(picture_id):
    """
    Return the name of a sample.

    Parameters
    ----------
    picture_id : str
        Of the manifest, unique.

    Returns
    -------
    key : str
        The same, if that is possible in a shard.
    """
    if KEY.fullmatch(picture_id):
        return picture_id
    digest = hashlib.sha256(picture_id.encode()).hexdigest()[:10]
    return f"_{picture_id.replace('.', '_')[: _LONGEST_KEY - 12]}-{digest}"


def sample_order(picture_ids, seed):
    """
    Return an order that mixes proposals and depends on nothing but the seed.

    Parameters
    ----------
    picture_ids : sequence of str
        Of the manifest.
    seed : int
        Seed of the data set.

    Returns
    -------
    order : list of int
        Positions.
    """
    digests = [
        hashlib.sha256(f"{seed}:{name}".encode()).digest() for name in picture_ids
    ]
    return sorted(range(len(digests)), key=digests.__getitem__)


def sample_of(row, proposal, image):
    """
    Return the sample of a pair.

    Parameters
    ----------
    row : dict
        Values of `PAIR_COLUMNS`.
    proposal : dict
        Values of its proposal.
    image : bytes
        The picture.

    Returns
    -------
    sample : `Sample`
        Its text is the abstract.
    """
    meta = {name: row[name] for name in _META}
    for name in ("title", "category", "cycle"):
        meta[name] = proposal[name]
    return Sample(sample_key(row["picture_id"]), image, proposal["abstract"], meta)
