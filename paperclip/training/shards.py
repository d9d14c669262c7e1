# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Tar files of samples in the WebDataset layout: written once, read in a stream.

A sample is three neighbouring members of equal name: ``<key>.jpg``,
``<key>.txt`` and ``<key>.json``. The bytes of a shard depend on its samples
only, and the JSON of a sample holds the SHA-256 of its picture, so damage does
not pass unseen. Any program that reads WebDataset can read these files.
"""

import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from paperclip.exceptions import DataSetError
from paperclip.utils.files import atomic_path, sha256_of

__all__ = [
    "KEY",
    "Sample",
    "check_shards",
    "plan_shards",
    "read_shard",
    "sample_bytes",
    "shard_name",
    "write_shard",
]

#: What the key of a sample must look like.
KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+=-]{0,79}")
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Sample:
    """
    A picture with its text.

    Parameters
    ----------
    key : str
        Name of the sample, unique in its data set.
    image : bytes
        The picture as a JPEG file.
    text : str
        What belongs to the picture: the abstract of its proposal.
    meta : dict
        The columns of the pair, such as ``proposal_id``; None where missing.
    """

    key: str
    image: bytes
    text: str
    meta: dict

    def picture(self):
        """
        Decode the picture.

        Returns
        -------
        rgb : `~numpy.ndarray`, shape (ny, nx, 3), uint8
            Row 0 is the top.

        Raises
        ------
        ImageConversionError
            If it is damaged.
        """
        from paperclip.imaging import read_preview

        return read_preview(self.image)


def shard_name(split, number):
    """
    Return the name of a shard.

    Parameters
    ----------
    split : str
        Name of the split.
    number : int
        From 0.

    Returns
    -------
    name : str
        For example ``"train-000000.tar"``.
    """
    return f"{split}-{number:06d}.tar"


# ---- writing


def _members(sample):
    """Return the names and contents of the three files of a sample."""
    if not KEY.fullmatch(sample.key):
        msg = (
            "the key of a sample must be 1 to 80 ASCII letters, digits, '_', '+', "
            f"'=' or '-', got {sample.key!r}"
        )
        raise DataSetError(msg)
    text = sample.text.encode("utf-8", "replace")
    meta = {**sample.meta, "sha256": hashlib.sha256(sample.image).hexdigest()}
    meta = json.dumps(meta, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (
        (f"{sample.key}.jpg", sample.image),
        (f"{sample.key}.txt", text),
        (f"{sample.key}.json", meta.encode("utf-8", "replace")),
    )


def sample_bytes(sample, *, image_size=None):
    """
    Return how much of a shard a sample takes.

    Parameters
    ----------
    sample : `Sample`
        What will be written.
    image_size : int, optional
        Bytes of the picture, if ``sample`` does not hold it yet.

    Returns
    -------
    size : int
        Bytes, with headers and padding.
    """
    sizes = [len(content) for _, content in _members(sample)]
    if image_size is not None:
        sizes[0] = image_size
    return sum(_BLOCK + -(-size // _BLOCK) * _BLOCK for size in sizes)


def plan_shards(sizes, shard_size):
    """
    Put samples into shards, in order, so that no shard is too large.

    Parameters
    ----------
    sizes : sequence of int
        What each sample takes, see `sample_bytes`.
    shard_size : int
        Largest size of a shard in bytes. A sample that is larger gets a shard
        for itself.

    Returns
    -------
    parts : list of slice
        The samples of each shard; none is empty.
    """
    room = shard_size // tarfile.RECORDSIZE * tarfile.RECORDSIZE - 2 * _BLOCK
    parts, start, filled = [], 0, 0
    for i, size in enumerate(sizes):
        if i > start and filled + size > room:
            parts.append(slice(start, i))
            start, filled = i, 0
        filled += size
    if len(sizes):
        parts.append(slice(start, len(sizes)))
    return parts


def write_shard(path, samples):
    """
    Write a shard; nothing is left behind if that fails.

    Parameters
    ----------
    path : path-like
        Final name.
    samples : iterable of `Sample`
        What to write, in order. Keys must differ.

    Returns
    -------
    entry : dict
        ``name``, ``samples``, ``bytes`` and ``sha256`` of the file.

    Raises
    ------
    DataSetError
        If a key is not possible or comes twice.
    OSError
        If the file cannot be written.
    """
    path, keys = Path(path), set()
    with atomic_path(path) as part:
        with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in samples:
                if sample.key in keys:
                    msg = f"{path.name}: the key {sample.key!r} comes twice"
                    raise DataSetError(msg)
                keys.add(sample.key)
                for name, content in _members(sample):
                    info = tarfile.TarInfo(name)  # of nobody, at time 0
                    info.size, info.mode = len(content), 0o644
                    tar.addfile(info, io.BytesIO(content))
                tar.members.clear()  # else a list of all members grows
        return {
            "name": path.name,
            "samples": len(keys),
            "bytes": part.stat().st_size,
            "sha256": sha256_of(part),
        }


# ---- reading


def read_shard(path, *, start=0, stop=None, expected=None):
    """
    Read the samples of a shard one after the other.

    Parameters
    ----------
    path : path-like
        Tar file.
    start, stop : int, optional
        Positions of the first sample and behind the last one.
    expected : int, optional
        Samples that the whole file must hold.

    Yields
    ------
    sample : `Sample`
        In the order of the file. Only the pictures asked for are read.

    Raises
    ------
    DataSetError
        If the file is missing or damaged: it names the file, the position
        and what is wrong.
    """
    path = Path(path)
    at = 0
    try:
        with tarfile.open(path, "r:") as tar:
            for members in _grouped(tar):
                if stop is not None and at >= stop:
                    return
                if at >= start:
                    yield _sample(tar, members)
                at += 1
            _check_end(path, tar.offset)
    except FileNotFoundError as exc:
        msg = f"shard '{path}' is missing"
        raise DataSetError(msg) from exc
    except (tarfile.TarError, EOFError, TypeError, ValueError) as exc:
        reason = exc.args[0] if exc.args else type(exc).__name__
        msg = f"shard '{path}' is damaged after {at} samples: {reason}"
        raise DataSetError(msg) from exc
    whole = at if expected is None else expected
    if at < min(whole, whole if stop is None else stop):
        msg = f"shard '{path}' is damaged: it holds {at} samples, not {expected}"
        raise DataSetError(msg)


def _grouped(tar):
    """Yield the members of each sample by suffix."""
    key, members = None, {}
    while (info := tar.next()) is not None:
        tar.members.clear()
        name, dot, suffix = info.name.partition(".")
        if not info.isreg() or not dot:
            msg = f"{info.name!r} is no part of a sample"
            raise ValueError(msg)
        if members and name != key:
            yield members
            members = {}
        key = name
        members[suffix] = info
    if members:
        yield members


def _sample(tar, members):
    if not {"jpg", "txt", "json"} <= set(members):
        names = ", ".join(sorted(info.name for info in members.values()))
        msg = f"a sample is not complete, there is only {names}"
        raise ValueError(msg)
    image, text, meta = (_content(tar, members[s]) for s in ("jpg", "txt", "json"))
    name = members["jpg"].name
    meta = dict(json.loads(meta))
    digest = meta.pop("sha256", None)
    if digest not in (None, hashlib.sha256(image).hexdigest()):
        msg = f"the checksum of {name!r} is wrong"
        raise ValueError(msg)
    return Sample(name.partition(".")[0], image, text.decode(), meta)


def _content(tar, info):
    tar.fileobj.seek(info.offset_data)
    content = tar.fileobj.read(info.size)
    if len(content) != info.size:
        msg = f"the file ends inside {info.name!r}"
        raise ValueError(msg)
    return content


def _check_end(path, offset):
    """Tell the end of an archive from a damaged header, which looks alike."""
    with path.open("rb") as stream:
        stream.seek(offset)
        if any(tail := stream.read(2 * _BLOCK)) or len(tail) < 2 * _BLOCK:
            msg = "a header is damaged or the end is missing"
            raise ValueError(msg)


def check_shards(folder, entries):
    """
    Compare shards with their sizes and checksums.

    Parameters
    ----------
    folder : path-like
        Where the shards are.
    entries : sequence of dict
        As `write_shard` returned them.

    Returns
    -------
    problems : list of str
        What is wrong, by shard; empty if nothing is.
    """
    problems = []
    for entry in entries:
        path = Path(folder) / entry["name"]
        if not path.is_file():
            problems.append(f"shard '{path}' is missing")
        elif (size := path.stat().st_size) != entry["bytes"]:
            expected = entry["bytes"]
            problems.append(f"shard '{path}' has {size} bytes, not {expected}")
        elif sha256_of(path) != entry["sha256"]:
            problems.append(f"the checksum of shard '{path}' is wrong")
    return problems
