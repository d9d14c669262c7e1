# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From the name of a model to a local directory; the only user of the Hub."""

import difflib
import logging
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from paperclip.exceptions import (
    ModelLoadError,
    ModelNotFoundError,
    OfflineError,
    RemoteServiceError,
)

__all__ = ["CONFIG_NAME", "WEIGHT_NAMES", "ResolvedModel", "fetch", "resolve"]

log = logging.getLogger(__name__)

CONFIG_NAME = "open_clip_config.json"
"""File that names the architecture and the preprocessing of a model."""

# the two names open_clip prefers over any pickle that may lie beside them
WEIGHT_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
"""Weight files that are read, in this order of preference."""

_ALLOW = [
    CONFIG_NAME,
    *WEIGHT_NAMES,
    "paperclip_heads.safetensors",
    "checksums.json",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
    "training.json",
    "README.md",
    "LICENSE*",
]
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_PART}/{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ATTEMPTS = 3
_WAIT = 1.0  # seconds before the second attempt; doubles each time


@dataclass(frozen=True)
class ResolvedModel:
    """
    A model that lies in a local directory.

    Parameters
    ----------
    name : str
        "builtin", "org/name", or the directory as it was given.
    kind : {'builtin', 'hub', 'directory'}
        Where the name led.
    directory : `~pathlib.Path`
        The files, in open_clip's layout.
    revision : str or None
        Commit of a model from the Hub.
    expected : dict
        SHA-256 of files as the Hub reports them.
    """

    name: str
    kind: str
    directory: Path
    revision: str | None
    expected: dict


def resolve(model, *, offline=None, endpoint=None):
    """
    Find the local directory of a model, downloading it when that is needed.

    Parameters
    ----------
    model : str or path-like
        "builtin"; a directory; or a name on the Hugging Face Hub, as
        "org/name[@revision]". A directory that exists wins over a Hub model
        of the same name; "hf-hub:org/name" is always the Hub.
    offline : bool, optional
        When True no socket is opened. The default is
        ``paperclip.conf.offline``, or the environment's ``HF_HUB_OFFLINE``.
    endpoint : str, optional
        Address of the Hub, for mirrors; the default is huggingface_hub's.

    Returns
    -------
    resolved : ResolvedModel
        The directory and what is known about it; its content is unchecked.

    Raises
    ------
    ModelNotFoundError
        If the name is not valid, or there is nothing of that name.
    OfflineError
        If it would have to be downloaded and may not.
    RemoteServiceError
        If the Hub refuses access or fails after three attempts.
    ModelLoadError
        If a file is given, or the downloaded weights do not match the
        SHA-256 the Hub reports for them, twice.
    """
    if isinstance(model, os.PathLike):
        return _local(Path(model).expanduser(), str(model))
    if not isinstance(model, str):
        msg = f"model must be a str or a path, got {type(model).__name__}"
        raise ModelNotFoundError(msg)
    if model == "builtin":
        return _builtin()
    name = model.removeprefix("hf-hub:")
    if name == model:
        path = _existing(model)
        if path is not None:
            return _local(path, model)
    repo, at, revision = name.partition("@")
    if not _NAME.fullmatch(repo) or ".." in name or "--" in repo:
        raise ModelNotFoundError(_bad_name(model))
    if at and not _REVISION.fullmatch(revision):
        msg = f"{revision!r} is not a revision; use a branch, a tag or a commit"
        raise ModelNotFoundError(msg)
    return _from_hub(
        repo, revision or None, offline=_is_offline(offline), endpoint=endpoint
    )


def fetch(model, *, endpoint=None):
    """
    Download a model, so that it can be used without a network later.

    Parameters
    ----------
    model : str or path-like
        As in `load_encoder`. Local models are only looked up.
    endpoint : str, optional
        Address of the Hub, for mirrors.

    Returns
    -------
    resolved : ResolvedModel
        The local copy, its files compared with what the Hub reports.

    Raises
    ------
    PaperclipError
        As in `load_encoder`.
    """
    return resolve(model, endpoint=endpoint)


def _existing(model):
    """Return the path behind a string if something lies there."""
    try:
        path = Path(model).expanduser()
        return path if model.strip() and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, null bytes, no home
        return None


def _bad_name(model):
    hint = difflib.get_close_matches(model, ["builtin"], n=1)
    return f"no model {model!r}; " + (
        f"did you mean {hint[0]!r}?"
        if hint
        else "there is no such directory, and a name on the Hugging Face Hub has "
        "the form 'org/name' or 'org/name@revision'"
    )


def _builtin():
    directory = Path(__file__).parents[1] / "data" / "builtin_model"
    if not (directory / CONFIG_NAME).is_file():
        msg = (
            f"the built-in model is not at {directory}; reinstall the package, or "
            "name another model (paperclip.conf.model)"
        )
        raise ModelNotFoundError(msg)
    return ResolvedModel("builtin", "builtin", directory, None, {})


def _local(path, name):
    if path.is_file():
        msg = (
            f"{name!r} is a file; give the directory that holds the weights together "
            f"with {CONFIG_NAME}, which says how pictures and texts are prepared"
        )
        raise ModelLoadError(msg)
    if not path.is_dir():
        msg = f"no model directory {name!r}"
        raise ModelNotFoundError(msg)
    return ResolvedModel(name, "directory", path, None, {})


def _is_offline(offline):
    from paperclip import conf

    if offline is not None:
        return bool(offline)
    if conf.offline:
        return True
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _from_hub(repo, revision, *, offline, endpoint):
    from paperclip import conf

    options = {
        "revision": revision,
        "allow_patterns": _ALLOW,
        "cache_dir": str(Path(conf.cache_dir) / "hub") if conf.cache_dir else None,
        "etag_timeout": conf.timeout,
        "endpoint": endpoint,
    }
    pinned = revision is not None and _COMMIT.fullmatch(revision) is not None
    directory = None
    if offline or pinned:
        directory = _cached(repo, options, required=offline)
    if directory is None:
        directory = _download(repo, options)
    expected = _expected(directory)
    bad = _mismatches(directory, expected)
    if bad and not offline:
        log.warning("%s: %s does not match its checksum; fetching again", repo, bad)
        _discard(directory, bad)
        directory = _download(repo, options)
        expected = _expected(directory)
        bad = _mismatches(directory, expected)
        if bad:
            _discard(directory, bad)
    if bad:
        what = "; fetched twice" if not offline else f"; run {_command(repo, revision)}"
        msg = (
            f"{', '.join(bad)} of {repo!r} does not match the SHA-256 that the Hub "
            f"reports{what}"
        )
        raise ModelLoadError(msg)
    return ResolvedModel(repo, "hub", directory, directory.name, expected)


def _cached(repo, options, *, required):
    """Return the snapshot on disk, without a network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(repo, **options, local_files_only=True))
    except LocalEntryNotFoundError as exc:
        found, cause = None, exc
    else:
        cause = None
        if not (found / CONFIG_NAME).is_file() or _weights(found) is None:
            found = None
    if found is None and required:
        raise OfflineError(_offline_message(repo, options["revision"])) from cause
    return found


def _offline_message(repo, revision):
    return (
        f"model {repo!r} (revision {revision or 'main'!r}) is not complete on disk "
        "and downloads are switched off; run "
        f"{_command(repo, revision)} once with a network"
    )


def _command(repo, revision):
    name = repo if revision is None else f"{repo}@{revision}"
    return f"'paperclip model fetch {name}'"


def _weights(directory):
    """Return the name of the weights file open_clip will read, or None."""
    for name in WEIGHT_NAMES:
        if (directory / name).is_file():
            return name
    return None


def _download(repo, options):
    """Bring the newest snapshot here, repeating what fails for a passing reason."""
    from huggingface_hub.errors import (
        HFValidationError,
        HTTPError,
        OfflineModeIsEnabled,
    )

    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _snapshot(repo, options)
        except HFValidationError as exc:
            raise ModelNotFoundError(str(exc)) from exc
        except (HTTPError, OSError) as exc:
            cause = _root(exc, (HTTPError, OfflineModeIsEnabled))
            if isinstance(cause, OfflineModeIsEnabled):
                message = _offline_message(repo, options["revision"])
                raise OfflineError(message) from exc
            error = _translate(cause, repo, options["revision"])
            if error is not None:
                raise error from exc
            found = _cached(repo, options, required=False)
            if found is not None:
                log.warning("the Hub does not answer (%s); using %s", cause, found)
                return found
            if attempt == _ATTEMPTS:
                status = _status(cause)
                came = (
                    f"HTTP {status}" if status else f"{type(cause).__name__}: {cause}"
                )
                msg = (
                    f"the Hub did not deliver {repo!r} in {_ATTEMPTS} attempts: {came}"
                )
                raise RemoteServiceError(msg, status=status) from exc
            log.info("attempt %d for %s failed (%s)", attempt, repo, cause)
            time.sleep(_WAIT * 2 ** (attempt - 1))
    return None


def _snapshot(repo, options):
    """
    Ask for the newest commit and download what is not here yet.

    `huggingface_hub.snapshot_download` asks the same question without any
    time limit, so a Hub that is silent would hold it for ever.
    """
    from huggingface_hub import HfApi, snapshot_download

    info = HfApi(endpoint=options["endpoint"]).model_info(
        repo, revision=options["revision"], timeout=options["etag_timeout"]
    )
    found = _cached(repo, options, required=False)
    if found is not None and found.name == info.sha:
        return found
    return Path(snapshot_download(repo, **options))


def _root(exc, kinds):
    """Return the first cause of one of these kinds, or the error itself."""
    cause = exc
    while cause is not None:
        if isinstance(cause, kinds):
            return cause
        cause = cause.__cause__
    return exc


def _status(exc):
    return getattr(getattr(exc, "response", None), "status_code", None)


def _translate(exc, repo, revision):
    """Return our error for a failure that will not pass, or None."""
    from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

    status = _status(exc)
    if isinstance(exc, RevisionNotFoundError):
        msg = f"model {repo!r} has no revision {revision or 'main'!r} on the Hub"
        return ModelNotFoundError(msg)
    if isinstance(exc, GatedRepoError) or status in {401, 403}:
        msg = (
            f"the Hub refuses access to {repo!r} (HTTP {status}): the model does not "
            "exist, is private, or asks for consent. Accept its terms on its page, "
            "then run 'hf auth login' or set HF_TOKEN"
        )
        return RemoteServiceError(msg, status=status)
    if status is not None and 400 <= status < 500 and status not in {408, 429}:
        msg = f"model {repo!r} or one of its files is not on the Hub (HTTP {status})"
        if status in {404, 410}:
            return ModelNotFoundError(msg)
        return RemoteServiceError(f"HTTP {status} for {repo!r}: {exc}", status=status)
    return None


def _expected(directory):
    """
    Return the SHA-256 the Hub reported for the weights.

    The Hub's client keeps a large file under the ETag it was announced with,
    which for such files is their SHA-256, and the snapshot links to it.
    """
    name = _weights(directory)
    if name is None:
        return {}
    blob = (directory / name).resolve()
    return {name: blob.name} if _SHA256.fullmatch(blob.name) else {}


def _mismatches(directory, expected):
    from paperclip.models.verify import file_sha256

    return [
        name
        for name, digest in expected.items()
        if file_sha256(directory / name) != digest
    ]


def _discard(directory, names):
    """Remove damaged files of the cache, so that they are fetched again."""
    for name in names:
        link = directory / name
        link.resolve().unlink(missing_ok=True)
        link.unlink(missing_ok=True)
