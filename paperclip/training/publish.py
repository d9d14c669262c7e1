# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Save a model as a directory for the Hugging Face Hub."""

import json
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from paperclip.exceptions import InvalidQueryError, ModelLoadError
from paperclip.models import load_encoder
from paperclip.models.heads import HEADS_KEY, HEADS_NAME
from paperclip.models.hub import CONFIG_NAME, WEIGHT_NAMES
from paperclip.models.stages import TOWERS
from paperclip.models.verify import check_directory
from paperclip.utils.files import sha256_of

from ._facts import (
    data_facts,
    find_model,
    read_object,
    recorded_metrics,
    training_facts,
    versions,
    without_places,
)
from .card import check_licence, metric_rows, model_card

__all__ = ["MANIFEST_NAME", "PUBLISHED", "SavedModel", "compare_encoders", "save_model"]

MANIFEST_NAME = "training.json"
"""File that says how a model was made."""

# what a published model may consist of; there is no pickle among them
_MODEL_FILES = (
    CONFIG_NAME,
    WEIGHT_NAMES[0],
    HEADS_NAME,
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENSE-APACHE-2.0")
PUBLISHED = (
    *_MODEL_FILES,
    MANIFEST_NAME,
    "checksums.json",
    "README.md",
    *_LICENCES,
)
"""Names of the files that are ever uploaded."""

_FORMAT, _VERSION = "paperclip-model", 1
_TEXTS = (
    "face-on spiral galaxy",
    "a planetary nebula with two lobes",
    "globular cluster",
    "We propose deep imaging of an edge-on galaxy. The data will show the height of "
    "its stars, the dust in its disk and the clusters in its halo. They will also "
    "tell when the disk was heated, how many satellites were accreted, and whether "
    "gas is still falling in. All observations are public at once, and reduced "
    "pictures, catalogues of clusters and maps of colours will follow within a year.",
)


class SavedModel:
    """
    A directory that `save_model` wrote.

    Parameters
    ----------
    directory : `~pathlib.Path`
        Where it is.
    manifest : dict
        Content of ``training.json``.
    """

    def __init__(self, directory, manifest):
        self.directory = Path(directory)
        self.manifest = manifest

    def __repr__(self):
        return f"<SavedModel {self.manifest['name']!r} in {os.fspath(self.directory)}>"

    @property
    def fingerprint(self):
        """What the vectors of this model are told by."""
        return self.manifest["model"]["fingerprint"]


def save_model(
    source,
    directory,
    *,
    licence,
    name=None,
    data=None,
    metrics=None,
    half=False,
    repo=None,
    description="",
    limits=(),
    credit="",
    evaluated_on=None,
    overwrite=False,
):
    """
    Save a model so that others can use it, with a card that says what it is.

    Parameters
    ----------
    source : path-like, str or object with a ``directory``
        A run of `finetune`, its directory, or a model as for
        `paperclip.models.load_encoder`.
    directory : path-like
        New or empty directory. It appears when it is complete.
    licence : str
        As the Hugging Face Hub names them: "cc-by-4.0", "apache-2.0", ...
        Think of the pictures, the texts and the base model.
    name : str, optional
        Title of the card; the name of the directory by default.
    data : str, mapping, `PairList`, `DataSet` or mapping of split to `PairList`
        What it was trained on. A mapping may have ``name``, ``description``,
        ``licence``, ``hash`` and ``splits``, which gives ``pairs`` and
        ``groups`` of each split. By default what the run recorded.
    metrics : mapping, `~astropy.table.Table` or evaluation, optional
        Figures with intervals; see ``paperclip.training.card.metric_rows``. By
        default those of the run on its validation pairs.
    half : bool, optional
        Store float32 as float16. How much that changes vectors is measured
        and written down.
    repo : str, optional
        "org/name" that the examples of the card show.
    description : str, optional
        What the model is for.
    limits : sequence of str, optional
        Where it fails.
    credit : str, optional
        Whom to thank.
    evaluated_on : str, optional
        Split that ``metrics`` belong to.
    overwrite : bool, optional
        Replace a directory that this function wrote before.

    Returns
    -------
    saved : SavedModel
        The directory and its manifest.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong, or the directory holds something else.
    ModelLoadError
        If the source is no model, or a weight does not fit float16.

    Notes
    -----
    The layout is open_clip's: ``open_clip_config.json``,
    ``open_clip_model.safetensors``, the files of the tokenizer, ``README.md``,
    and ``training.json`` with settings, seed, hash of the data and versions.
    Paths of this machine are not written anywhere.
    """
    licence = check_licence(licence)
    rows = metric_rows(metrics)
    run, model = find_model(source)
    if metrics is None and (rows := metric_rows(recorded_metrics(run))):
        evaluated_on = "validation, which also chose the step"
    directory = Path(directory).expanduser().absolute()
    name = directory.name if name is None else str(name).strip()
    if not name:
        msg = f"name must be a title that is not blank, got {name!r}"
        raise InvalidQueryError(msg)
    _check_target(directory, model, overwrite=overwrite)
    directory.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".part-{directory.name}-"
    part = Path(tempfile.mkdtemp(prefix=prefix, dir=directory.parent))
    try:
        _write_model(model, part, half=half)
        manifest = {
            "format": _FORMAT,
            "version": _VERSION,
            "name": name,
            "licence": licence,
            "repo": repo,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": _model_facts(model, part, half=half),
            "training": training_facts(run),
            "data": data_facts(data, run),
            "metrics": rows,
            "evaluated_on": evaluated_on,
            "packages": versions(),
        }
        manifest = without_places(manifest)
        card = model_card(
            manifest, description=description, limits=limits, credit=credit
        )
        (part / "README.md").write_text(card, encoding="utf-8")
        _write_json(part / MANIFEST_NAME, manifest)
        _write_sums(part)
        check_directory(part)
        part.chmod(0o755)
        if directory.exists():
            shutil.rmtree(directory)
        part.rename(directory)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return SavedModel(directory, manifest)


def compare_encoders(one, two, *, pictures=None, texts=None):
    """
    Compare the vectors of two encoders.

    Parameters
    ----------
    one, two : `paperclip.models.Encoder`
        Models of the same dimension.
    pictures : sequence, optional
        As for ``encode_images``; made-up ones by default.
    texts : sequence of str, optional
        By default a few, one of them longer than the models read at once.

    Returns
    -------
    found : dict
        ``max_difference`` of the components of unit vectors and
        ``lowest_cosine``, over all pictures and texts.
    """
    from .synthetic import synthetic_pairs

    if pictures is None:
        pictures = [pair.picture for pair in synthetic_pairs(8)]
    texts = _TEXTS if texts is None else texts
    both = [
        np.concatenate([e.encode_images(pictures), e.encode_texts(list(texts))])
        for e in (one, two)
    ]
    return {
        "max_difference": float(np.abs(both[0] - both[1]).max()),
        "lowest_cosine": float(np.einsum("ij,ij->i", *both).min()),
    }


# ---- the parts of a save


def _check_target(directory, model, *, overwrite):
    if directory.resolve() == model.resolve() or (
        directory.resolve() in model.resolve().parents
    ):
        msg = f"directory must be another one than that of the model, got {directory}"
        raise InvalidQueryError(msg)
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    ours = read_object(directory / MANIFEST_NAME).get("format") == _FORMAT
    if not ours:
        msg = f"{directory} is not empty and holds no saved model; name a new directory"
        raise InvalidQueryError(msg)
    others = sorted({p.name for p in directory.iterdir()} - set(PUBLISHED))
    if not overwrite or others:
        held = f" beside {', '.join(others[:3])}" if others else ""
        msg = f"{directory} holds a saved model{held}; name a new directory" + (
            "" if others else " or overwrite it (overwrite=True, --overwrite)"
        )
        raise InvalidQueryError(msg)


def _write_model(model, part, *, half):
    """Copy a model; weights contiguous, in half precision if asked."""
    checked = check_directory(model)
    _write_weights(checked.weights, part / WEIGHT_NAMES[0], half=half)
    if (model / HEADS_NAME).is_file():
        _write_weights(model / HEADS_NAME, part / HEADS_NAME, half=half)
    for name in (*_MODEL_FILES, *_LICENCES):
        if (model / name).is_file() and not (part / name).exists():
            shutil.copyfile(model / name, part / name)


def _write_weights(source, target, *, half):
    import torch
    from safetensors.torch import load_file, save_file

    tensors = {}
    for name, tensor in load_file(source).items():
        if half and tensor.dtype == torch.float32:
            small = tensor.half()
            if not torch.isfinite(small).all():
                largest = tensor.abs().max().item()
                msg = (
                    f"{name} of {source} has values up to {largest:.3g}, which half "
                    "precision cannot hold; save it with half=False"
                )
                raise ModelLoadError(msg)
            tensor = small
        tensors[name] = tensor.contiguous()
    save_file(tensors, target, metadata={"format": "pt"})
    target.chmod(0o644)  # safetensors lets only the owner read


def _write_sums(part):
    """Write checksums of what makes the vectors; a card may be edited on the Hub."""
    paths = [path for path in sorted(part.iterdir()) if path.name in _MODEL_FILES]
    _write_json(part / "checksums.json", {p.name: sha256_of(p) for p in paths})


def _model_facts(model, part, *, half):
    """Load what was written, and compare it with what it was written from."""
    from safetensors import safe_open

    options = {"device": "cpu", "offline": True, "precision": "float32"}
    saved = load_encoder(part, **options)
    with safe_open(part / WEIGHT_NAMES[0], framework="np") as stream:
        slices = [stream.get_slice(key) for key in stream.keys()]  # noqa: SIM118
        kinds = sorted({piece.get_dtype() for piece in slices})
        count = sum(int(np.prod(piece.get_shape())) for piece in slices)
    facts = {
        "fingerprint": saved.fingerprint,
        "dimension": saved.dimension,
        "image_size": saved.image_size,
        "context_length": saved.context_length,
        "parameters": count,
        "bytes": (part / WEIGHT_NAMES[0]).stat().st_size,
        "precision": " and ".join(kinds),
    }
    config = read_object(part / CONFIG_NAME)
    if HEADS_KEY in config["model_cfg"]:
        facts["only_paperclip"] = "it does not know the networks behind the towers"
    elif config["model_cfg"]["vision_cfg"].get("timm_model_name") in TOWERS:
        facts["only_paperclip"] = (
            "call `paperclip.models.stages.register_towers()` before, which tells it "
            "the image tower"
        )
    if half:
        whole = load_encoder(model, **options)
        facts["half"] = compare_encoders(whole, saved)
    return facts


def _write_json(path, content):
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str)
    path.write_text(text + "\n", encoding="utf-8")
