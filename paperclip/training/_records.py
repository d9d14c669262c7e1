# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Records of a run: its curve, the captions that were drawn, where it ran."""

import hashlib
import json
import platform
import warnings
from array import array
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from astropy.table import MaskedColumn, Table

from paperclip.exceptions import CheckpointError
from paperclip.utils.files import atomic_path

__all__ = ["CaptionLog", "History", "data_hash", "environment"]

_CAPTIONS = 200_000  # rows of captions.parquet
_PACKAGES = ("numpy", "astropy", "pillow", "torch", "timm", "open_clip_torch")
_PACKAGES += ("transformers", "accelerate", "safetensors", "astro-paperclip")


class History:
    """
    The curve of a run, one row per step.

    Parameters
    ----------
    path : path-like
        ``history.parquet`` of the run.
    """

    _NAMES = ("step", "epoch", "loss", "lr", "logit_scale", "grad_norm")
    _NAMES += ("failed", "seconds", "samples_per_second")
    _WHOLE = ("step", "epoch", "failed")

    def __init__(self, path):
        self.path = Path(path)
        self._columns = {
            name: array("q" if name in self._WHOLE else "d") for name in self._NAMES
        }
        self._metrics = {}  # step -> figures

    def __len__(self):
        return len(self._columns["step"])

    def add(self, **values):
        """Append a row."""
        for name, column in self._columns.items():
            column.append(values[name])

    def add_metrics(self, step, metrics):
        """Note the figures of an evaluation after a step."""
        self._metrics[int(step)] = dict(metrics)

    @property
    def seconds(self):
        """Time that the run has taken, over all of its starts."""
        return self._columns["seconds"][-1] if len(self) else 0.0

    @property
    def losses(self):
        """The losses so far."""
        return self._columns["loss"]

    def read(self, step):
        """Read the rows up to a step."""
        table = _rows_until(self.path, step)
        if table is None:
            return
        for name, column in self._columns.items():
            column.extend(table[name].tolist())
        for name in set(table.colnames) - set(self._columns):
            column = table[name]
            good = ~np.ma.getmaskarray(column) & ~np.isnan(np.ma.filled(column, np.nan))
            for n in np.flatnonzero(good):
                figures = self._metrics.setdefault(int(table["step"][n]), {})
                figures[name] = float(column[n])

    def table(self):
        """Return everything as a table; steps without an evaluation are masked."""
        table = Table()
        for name, column in self._columns.items():
            kind = np.int64 if name in self._WHOLE else np.float64
            table[name] = np.array(column, dtype=kind)
        rows = {int(step): n for n, step in enumerate(table["step"])}
        for name in dict.fromkeys(n for m in self._metrics.values() for n in m):
            values = np.ma.masked_all(len(table), dtype=np.float64)
            for step, figures in self._metrics.items():
                if name in figures and step in rows:
                    values[rows[step]] = figures[name]
            table[name] = MaskedColumn(values)
        return table

    def write(self):
        """Write the table, in one piece or not at all."""
        write_parquet(self.table(), self.path)


class CaptionLog:
    """
    Which captions were drawn, for the first 200,000 of a run.

    Parameters
    ----------
    path : path-like
        ``captions.parquet`` of the run.
    keys : list of str
        Keys of the pairs.
    """

    _NAMES = ("step", "index", "item", "start", "end", "source")

    def __init__(self, path, keys):
        self.path, self._keys, self._sources = Path(path), keys, []
        self._columns = {name: array("i") for name in self._NAMES}

    def add(self, step, batch):
        """Take the captions of a batch in."""
        room = _CAPTIONS - len(self._columns["step"])
        rows = zip(batch.index[:room].tolist(), batch.captions[:room], strict=True)
        for index, caption in rows:
            if caption.source not in self._sources:
                self._sources.append(caption.source)
            values = (step, index, caption.item, caption.start, caption.end)
            values += (self._sources.index(caption.source),)
            for name, value in zip(self._NAMES, values, strict=True):
                self._columns[name].append(value)

    def read(self, step):
        """Read the rows up to a step."""
        table = _rows_until(self.path, step)
        if table is None:
            return
        place = {key: n for n, key in enumerate(self._keys)}
        self._sources = list(dict.fromkeys(map(str, table["source"])))
        for name in ("step", "item", "start", "end"):
            self._columns[name].extend(table[name].tolist())
        self._columns["index"].extend(place[str(key)] for key in table["key"])
        self._columns["source"].extend(
            self._sources.index(str(source)) for source in table["source"]
        )

    def table(self):
        """Return ``step, key, source, item, start, end``."""
        columns = {k: np.array(v, dtype=np.int64) for k, v in self._columns.items()}
        table = Table({"step": columns["step"]})
        table["key"] = np.array(self._keys, dtype=str)[columns["index"]]
        sources = np.array(self._sources or [""], dtype=str)
        table["source"] = sources[columns["source"]]
        for name in ("item", "start", "end"):
            table[name] = columns[name]
        return table

    def write(self):
        """Write the table, in one piece or not at all."""
        write_parquet(self.table(), self.path)


def _rows_until(path, step):
    """Return the rows up to a step, or None if there are none."""
    if not path.is_file() or not step:
        return None
    try:
        table = Table.read(path, format="parquet")
        return table[np.asarray(table["step"]) <= step]
    except (OSError, ValueError, KeyError) as exc:
        msg = (
            f"{path} is damaged ({type(exc).__name__}); remove it, the run goes on "
            "without what it held of earlier steps"
        )
        raise CheckpointError(msg) from exc


def write_parquet(table, path):
    """Write a table as Parquet, in one piece or not at all."""
    with atomic_path(path) as part, warnings.catch_warnings():
        # what later pandas and pyarrow think of each other is not ours to say
        warnings.simplefilter("ignore", FutureWarning)
        table.write(part, format="parquet", overwrite=True)


def data_hash(pairs):
    """
    Identify pairs: keys, groups, texts, names and sizes of picture files.

    Returns 16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for pair in pairs:
        picture = pair.picture
        if isinstance(picture, np.ndarray):
            mark = hashlib.sha256(np.ascontiguousarray(picture)).hexdigest()
        elif isinstance(picture, bytes | bytearray | memoryview):
            mark = hashlib.sha256(picture).hexdigest()
        elif callable(picture):
            mark = "callable"
        else:
            path = Path(picture)
            mark = [path.name, path.stat().st_size if path.is_file() else None]
        texts = {source: list(said) for source, said in sorted(pair.texts.items())}
        row = [pair.key, pair.group, texts, mark]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:16]


def environment(**facts):
    """Return versions of packages and machine, and what else is given."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": versions,
        **facts,
    }
