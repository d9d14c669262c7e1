# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Bring a snapshot of the Hub into the local cache, complete and undamaged.

Only the files of a model are fetched, never a pickle. What fails for a passing
reason is tried again; weights that differ from what the Hub reports, too.
"""

import logging
import re
import time
from pathlib import Path

from paperclip.exceptions import (
    ModelLoadError,
    ModelNotFoundError,
    OfflineError,
    RemoteServiceError,
)
from paperclip.models._huberrors import http_status, root_cause, translate
from paperclip.models._layout import CONFIG_NAME, WEIGHT_NAMES, find_weights
from paperclip.models.verify import file_sha256

__all__ = ["local_snapshot"]

log = logging.getLogger(__name__)

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
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ATTEMPTS = 3
_WAIT = 1.0  # seconds before the second attempt; doubles each time


def local_snapshot(repo, revision, *, offline, endpoint):
    """
    Find or download a model of the Hub.

    Parameters
    ----------
    repo : str
        "org/name".
    revision : str or None
        Branch, tag or commit; the main branch when None.
    offline : bool
        Whether no socket may be opened.
    endpoint : str or None
        Address of the Hub, for mirrors.

    Returns
    -------
    directory : `~pathlib.Path`
        The snapshot; its name is the commit.
    expected : dict
        SHA-256 of the weights as the Hub reports it, by name.

    Raises
    ------
    ModelNotFoundError, OfflineError, RemoteServiceError, ModelLoadError
        As `paperclip.models.hub.resolve`.
    """
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
        what = f"run {_command(repo, revision)}" if offline else "fetched twice"
        msg = (
            f"{', '.join(bad)} of {repo!r} does not match the SHA-256 that the Hub "
            f"reports; {what}"
        )
        raise ModelLoadError(msg)
    return directory, expected


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
        if not (found / CONFIG_NAME).is_file() or find_weights(found) is None:
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
            cause = root_cause(exc, (HTTPError, OfflineModeIsEnabled))
            if isinstance(cause, OfflineModeIsEnabled):
                message = _offline_message(repo, options["revision"])
                raise OfflineError(message) from exc
            error = translate(cause, repo, options["revision"])
            if error is not None:
                raise error from exc
            found = _cached(repo, options, required=False)
            if found is not None:
                log.warning("the Hub does not answer (%s); using %s", cause, found)
                return found
            if attempt == _ATTEMPTS:
                status = http_status(cause)
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


def _expected(directory):
    """
    Return the SHA-256 the Hub reported for the weights.

    The Hub's client keeps a large file under the ETag it was announced with,
    which for such files is their SHA-256, and the snapshot links to it.
    """
    name = find_weights(directory)
    if name is None:
        return {}
    blob = (directory / name).resolve()
    return {name: blob.name} if _SHA256.fullmatch(blob.name) else {}


def _mismatches(directory, expected):
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
