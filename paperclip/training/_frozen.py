# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
What frozen towers say, computed once and used again.

``features/process-0/`` of a run holds ``about.json`` (what the features are of,
with a hash), and two files for each frozen tower, see `FeatureFile`. Rows of
pictures are kept by pair and variant, those of texts by the hash of the text.
A row is computed in the batch in which it is needed first, so the first pass
over the variants makes the very steps that a run without the cache makes.
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from paperclip.exceptions import CheckpointError
from paperclip.utils.files import atomic_path

from ._ckptfiles import write_error
from ._featurefile import FeatureFile
from ._steps import autocast

__all__ = ["FrozenFeatures"]

_FORMAT = 1
_TEXTS = 1 << 18  # captions that are kept


class FrozenFeatures:
    """
    Features of the frozen towers of a model, on disk.

    Parameters
    ----------
    folder : path-like
        ``features`` of the run; it is made.
    config : `~paperclip.training.TrainingConfig`
        With ``run.cache_features``.
    model : paperclip.training.model.Trainable
        Has a frozen tower.
    process : paperclip.training._process.Process
        Each process keeps what it has seen itself.
    data_hash : str
        Identity of the pairs, see ``paperclip.training._records``.
    n_pairs : int
        Number of pairs.

    Raises
    ------
    CheckpointError
        If the folder holds features of another model, other pairs or other
        changes of pictures; what differs is named.
    CheckpointWriteError
        If it cannot be written.
    """

    def __init__(self, folder, config, model, process, *, data_hash, n_pairs):
        from paperclip.models.towers import text_tower

        self._root = Path(folder)
        self._folder = self._root / f"process-{process.rank}"
        self._config, self._model, self._process = config, model, process
        self.sides = model.frozen
        random = config.augment.random
        self._variants = config.run.cache_features if random else 1
        inner = getattr(model.clip, "clip", model.clip)
        self._encode_image, self._encode_text = inner.encode_image, text_tower(inner)[0]
        self._files = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._identify(data_hash)
            most = {"image": n_pairs * self._variants, "text": _TEXTS}
            width = model.config["model_cfg"]["embed_dim"]
            for side in sorted(self.sides):
                self._files[side] = FeatureFile(self._folder / side, width, most[side])
        except OSError as exc:
            self.close()
            raise write_error(self._folder, exc) from exc

    def _facts(self, data_hash):
        """Return what decides the features, by the names that messages use."""
        config = self._config
        facts = {
            "format": _FORMAT,
            "towers": sorted(self.sides),
            "model.base": sorted(self._model.checked.digests.values()),
            "training pairs": data_hash,
        }
        names = ("random_image", "random_text", "image_size", "precision")
        facts |= {f"model.{name}": getattr(config.model, name) for name in names}
        if config.model.random_image or config.model.random_text or self._varied:
            facts["run.seed"] = config.run.seed
        if "image" in self.sides:
            facts["augment"] = config.augment.to_dict()
            facts["run.cache_features"] = self._variants
        return facts

    @property
    def _varied(self):
        return "image" in self.sides and self._config.augment.random

    def _identify(self, data_hash):
        """Refuse features of something else; say what these are of."""
        path, facts = self._folder / "about.json", self._facts(data_hash)
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            known, before = found["hash"], dict(found["facts"])
        except FileNotFoundError:
            for stray in self._folder.glob("*.*"):
                stray.unlink()
            with atomic_path(path) as part:
                content = {"hash": digest, "facts": facts}
                part.write_text(json.dumps(content, indent=1), encoding="utf-8")
            return
        except (ValueError, KeyError, TypeError) as exc:
            msg = f"{path} is damaged; remove {self._root} and start the run again"
            raise CheckpointError(msg) from exc
        if known != digest:
            names = sorted({*facts, *before})
            odd = [name for name in names if facts.get(name) != before.get(name)]
            msg = (
                f"{self._root} holds features of another run, these differ: "
                f"{', '.join(odd) or 'hash'}. Remove it, or name another run.output"
            )
            raise CheckpointError(msg)

    def variant(self, epoch):
        """
        Return the epoch whose changes of pictures are shown in another one.

        Parameters
        ----------
        epoch : int
            Any epoch.

        Returns
        -------
        variant : int
            The epoch itself if the image tower is not frozen.
        """
        return epoch % self._variants if "image" in self._files else epoch

    def knows(self, epoch, index):
        """
        Tell whether a picture need not be read.

        Parameters
        ----------
        epoch, index : int
            Epoch, and place of the pair.

        Returns
        -------
        answer : bool
            Once true, it stays true.
        """
        file = self._files.get("image")
        return file is not None and self._key(epoch, index) in file

    def _key(self, epoch, index):
        return index * self._variants + self.variant(epoch)

    def __call__(self, batch, frames, ids):
        """
        Replace the input of frozen towers by their output.

        Parameters
        ----------
        batch : paperclip.training.loader.Batch
            A batch of n pairs.
        frames, ids : `torch.Tensor`
            Its pictures, those that were read, and its tokens.

        Returns
        -------
        frames, ids : `torch.Tensor`
            As they were, or float32 of shape (n, dimension).

        Raises
        ------
        CheckpointWriteError
            If the disk is full.
        """
        if "image" in self._files:
            keys = [self._key(batch.epoch, i) for i in batch.index.tolist()]
            row = np.full(len(keys), -1)
            row[batch.read] = np.arange(len(batch.read))
            pictures = frames
            frames = self._rows("image", keys, lambda places: pictures[row[places]])
        if "text" in self._files:
            keys, tokens = batch.labels[:, 1].tolist(), ids
            ids = self._rows("text", keys, lambda places: tokens[places])
        return frames, ids

    def _rows(self, side, keys, inputs):
        """Look rows up; compute and keep those that are not there."""
        import torch

        file, new = self._files[side], {}
        for place, key in enumerate(keys):
            if key not in file:
                new.setdefault(key, place)
        rows = np.empty((len(keys), file.dimension), dtype=np.float32)
        old = [place for place, key in enumerate(keys) if key not in new]
        rows[old] = file.read([keys[place] for place in old])
        if new:
            computed = self._computed(side, inputs, list(new.values()))
            line = {key: n for n, key in enumerate(new)}
            rest = [place for place, key in enumerate(keys) if key in new]
            rows[rest] = computed[[line[keys[place]] for place in rest]]
            try:
                file.add(list(new), computed)
            except OSError as exc:
                raise write_error(self._folder, exc) from exc
        return torch.from_numpy(rows).to(self._process.device)

    def _computed(self, side, inputs, places):
        """Send pictures or texts through a tower, in the parts of the batch."""
        import torch

        towers, config = self._model.towers, self._config
        parts = np.array_split(places, min(config.optim.accumulate, len(places)))
        found = []
        bf16 = config.model.precision == "bf16"
        with torch.no_grad(), autocast(self._process.device, bf16):
            for part in parts:
                x = inputs(part)
                if side == "image":
                    out = self._encode_image(towers.pixels(x))
                else:
                    out = self._encode_text(x)
                found.append(out.float().cpu().numpy())
        return np.concatenate(found)

    def sync(self):
        """
        Wait until the features are on disk, before a checkpoint relies on them.

        Raises
        ------
        CheckpointWriteError
            If they cannot be written.
        """
        try:
            for file in self._files.values():
                file.sync()
        except OSError as exc:
            raise write_error(self._folder, exc) from exc

    def close(self, *, remove=False):
        """
        Let the files go.

        Parameters
        ----------
        remove : bool, optional
            Whether they are not needed any more.
        """
        for file in self._files.values():
            file.close()
        self._files = {}
        if remove:
            shutil.rmtree(self._folder, ignore_errors=True)
            if self._process.is_main:
                shutil.rmtree(self._root, ignore_errors=True)
