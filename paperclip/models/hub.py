# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From the name of a model to a local directory."""

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from paperclip.exceptions import ModelLoadError, ModelNotFoundError
from paperclip.models._layout import CONFIG_NAME, WEIGHT_NAMES
from paperclip.models._snapshots import local_snapshot

__all__ = ["CONFIG_NAME", "WEIGHT_NAMES", "ResolvedModel", "fetch", "resolve"]

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_PART}/{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}")


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
    directory, expected = local_snapshot(
        repo, revision or None, offline=_is_offline(offline), endpoint=endpoint
    )
    return ResolvedModel(repo, "hub", directory, directory.name, expected)


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
