# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Check a model directory before anything in it is used."""

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from paperclip.exceptions import ModelLoadError
from paperclip.models._layout import CONFIG_NAME, WEIGHT_NAMES, find_weights
from paperclip.utils.files import atomic_path, cache_directory, sha256_of

__all__ = ["CheckedModel", "check_directory", "file_sha256"]

log = logging.getLogger(__name__)

CHECKSUMS_NAME = "checksums.json"
_MEMO_NAME = "verified-files.json"
_MEMO_FROM = 64 << 20  # smaller files are hashed every time: it takes milliseconds
_JSON_LIMIT = 16 << 20
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json")
_TOKENIZER_OPTIONS = {"clean", "strip_sep_token"}


@dataclass(frozen=True)
class CheckedModel:
    """
    What a model directory holds, after its files were checked.

    Parameters
    ----------
    directory : `~pathlib.Path`
        Where the files are.
    config : dict
        Content of ``open_clip_config.json``.
    weights : `~pathlib.Path`
        The safetensors file.
    shapes : dict
        Shape of every tensor of the weights.
    digests : dict
        SHA-256 of the weights and of the tokenizer files, by name.
    """

    directory: Path
    config: dict
    weights: Path
    shapes: dict
    digests: dict


def check_directory(directory):
    """
    Check a model directory without loading the model.

    Parameters
    ----------
    directory : path-like
        In open_clip's layout: ``open_clip_config.json`` and
        ``open_clip_model.safetensors``; tokenizer files and ``config.json``
        when the text tower is one of Hugging Face; optionally
        ``checksums.json``, the SHA-256 of any of these files by name.

    Returns
    -------
    checked : CheckedModel
        The configuration and what the weights file holds.

    Raises
    ------
    ModelLoadError
        If a file is missing, damaged, does not match its checksum, is a
        pickle, or if the configuration cannot belong to the weights.
    """
    directory = Path(directory)
    config = _read_config(directory)
    weights = _weights_path(directory)
    shapes = _read_header(weights)
    _check_tokenizer(directory, config["model_cfg"]["text_cfg"])
    names = [weights.name, *_present(directory, _TOKENIZER_FILES)]
    digests = {name: file_sha256(directory / name) for name in names}
    _check_checksums(directory, digests)
    _check_size(config["model_cfg"], shapes)
    return CheckedModel(directory, config, weights, shapes, digests)


def file_sha256(path):
    """
    Return the SHA-256 of a file, hashing large files only once.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file. From 64 MiB on its digest is remembered in the cache of
        this package, under its path, size and time of change.

    Returns
    -------
    digest : str
        64 hexadecimal digits.
    """
    path = Path(path).resolve()
    stat = path.stat()
    if stat.st_size < _MEMO_FROM:
        return sha256_of(path)
    key, mark = str(path), [stat.st_size, stat.st_mtime_ns]
    try:
        memo = cache_directory() / _MEMO_NAME
        known = json.loads(memo.read_text()) if memo.is_file() else {}
        if known.get(key, [])[:2] == mark and _SHA256.fullmatch(known[key][2]):
            return known[key][2]
    except (OSError, ValueError, TypeError, AttributeError, IndexError):
        memo, known = None, {}  # an unusable memo only costs time
    digest = sha256_of(path)
    if memo is not None:
        try:
            with atomic_path(memo) as part:
                part.write_text(json.dumps({**known, key: [*mark, digest]}))
        except OSError as exc:
            log.info("cannot remember the checksum of %s: %s", path, exc)
    return digest


def read_json(path):
    """
    Read a JSON object of moderate size.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.

    Returns
    -------
    content : dict
        The object.

    Raises
    ------
    ModelLoadError
        If it is missing, larger than 16 MiB, or not a JSON object.
    """
    if not path.is_file():
        msg = f"{path.parent} holds no {path.name}; the model is not complete"
        raise ModelLoadError(msg)
    try:
        if path.stat().st_size > _JSON_LIMIT:
            msg = f"{path} is larger than {_JSON_LIMIT} bytes"
            raise ModelLoadError(msg)
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        if isinstance(exc, ModelLoadError):
            raise
        msg = f"{path} cannot be read as JSON: {exc}"
        raise ModelLoadError(msg) from exc
    if not isinstance(content, dict):
        msg = f"{path} must hold a JSON object, got {type(content).__name__}"
        raise ModelLoadError(msg)
    return content


def _present(directory, names):
    return [name for name in names if (directory / name).is_file()]


def _read_config(directory):
    path = directory / CONFIG_NAME
    config = read_json(path)
    for key in ("model_cfg", "preprocess_cfg"):
        if not isinstance(config.get(key), dict):
            msg = (
                f"{path} has no {key!r}; a model is only usable together with its "
                "architecture and its preprocessing"
            )
            raise ModelLoadError(msg)
    model = config["model_cfg"]
    for key, kind in (("embed_dim", int), ("vision_cfg", dict), ("text_cfg", dict)):
        if type(model.get(key)) is not kind:
            msg = f"{path}: model_cfg[{key!r}] must be {kind.__name__}, got "
            raise ModelLoadError(msg + repr(model.get(key)))
    return config


def _weights_path(directory):
    name = find_weights(directory)
    if name is not None:
        return directory / name
    others = sorted(path.name for path in directory.iterdir() if path.is_file())
    pickles = [name for name in others if name.endswith(_PICKLES)]
    if pickles:
        msg = (
            f"{directory} holds its weights as {pickles[0]}, a pickle, which can run "
            "any code when it is read and is never opened here. If you trust its "
            "origin convert it: safetensors.torch.save_file(torch.load(name, "
            f"weights_only=True), {WEIGHT_NAMES[0]!r})"
        )
        raise ModelLoadError(msg)
    stray = [name for name in others if name.endswith(".safetensors")]
    hint = f"; rename {stray[0]!r} if it is an open_clip model" if stray else ""
    msg = f"{directory} holds no {WEIGHT_NAMES[0]}{hint}"
    raise ModelLoadError(msg)


def _read_header(path):
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as stream:
        start = stream.read(2)
    if start in {b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}:
        msg = f"{path} is a pickle or a zip archive under the name of safetensors"
        raise ModelLoadError(msg)
    try:
        with safe_open(path, framework="np") as stream:
            names = stream.keys()
            return {name: tuple(stream.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError, ValueError) as exc:
        msg = f"{path} is damaged or not a safetensors file ({exc}); fetch it again"
        raise ModelLoadError(msg) from exc


def _check_tokenizer(directory, text):
    """Refuse what open_clip would take from elsewhere, or cut without a word."""
    options = set(text.get("tokenizer_kwargs") or {})
    if options - _TOKENIZER_OPTIONS or text.get("tokenizer_mode"):
        msg = (
            f"text_cfg of {directory} asks for a tokenizer that is not supported "
            f"(tokenizer_kwargs {sorted(options)}, tokenizer_mode "
            f"{text.get('tokenizer_mode')!r})"
        )
        raise ModelLoadError(msg)
    if text.get("hf_tokenizer_name") and not (
        _present(directory, _TOKENIZER_FILES) or list(directory.glob("*.model"))
    ):
        msg = (
            f"{directory} holds no tokenizer ({', '.join(_TOKENIZER_FILES)}), and the "
            f"model needs {text['hf_tokenizer_name']!r}; save it there with "
            "save_pretrained"
        )
        raise ModelLoadError(msg)
    names = ["config.json"] if text.get("hf_model_name") else []
    for name in names + _present(directory, ["tokenizer_config.json"]):
        if "auto_map" in read_json(directory / name):
            msg = f"{directory / name} asks to run code of its own (auto_map); refused"
            raise ModelLoadError(msg)


def _check_checksums(directory, digests):
    path = directory / CHECKSUMS_NAME
    if not path.is_file():
        return
    for name, digest in read_json(path).items():
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            msg = f"{path}: {name!r} must have 64 hexadecimal digits, got {digest!r}"
            raise ModelLoadError(msg)
        if Path(name).name != name:
            msg = f"{path}: {name!r} must be the name of a file beside it"
            raise ModelLoadError(msg)
        if not (directory / name).is_file():
            msg = f"{path} lists {name!r}, which is missing"
            raise ModelLoadError(msg)
        found = digests.get(name) or file_sha256(directory / name)
        if found != digest:
            msg = (
                f"{directory / name} does not match its checksum (SHA-256 "
                f"{found[:12]}..., expected {digest[:12]}...); fetch the model again"
            )
            raise ModelLoadError(msg)


def _check_size(model, shapes):
    """Refuse a configuration far larger than the weights, before building it."""
    held = sum(_product(shape) for shape in shapes.values())
    towers = {"text_cfg": model["text_cfg"], "vision_cfg": model["vision_cfg"]}
    for key, tower in towers.items():
        if tower.get("timm_model_name") or tower.get("hf_model_name"):
            continue
        numbers = {k: v for k, v in tower.items() if isinstance(v, int | float)}
        width, layers = numbers.get("width", 0), numbers.get("layers", 0)
        least = layers * 4 * width**2 + numbers.get("vocab_size", 0) * width
        if least > 2 * held + 1_000_000 or layers > 10_000:
            msg = (
                f"{key} describes at least {least:.3g} parameters and the weights hold "
                f"{held:.3g}: {CONFIG_NAME} does not belong to them"
            )
            raise ModelLoadError(msg)


def _product(shape):
    total = 1
    for n in shape:
        total *= n
    return total
