# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Publish a saved model on the Hugging Face Hub, and check what arrived."""

import contextlib
import logging
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from paperclip.exceptions import (
    InvalidQueryError,
    ModelLoadError,
    ModelNotFoundError,
    OfflineError,
    PaperclipWarning,
    RemoteServiceError,
)
from paperclip.models import load_encoder
from paperclip.models.hub import CONFIG_NAME, WEIGHT_NAMES
from paperclip.models.verify import check_directory
from paperclip.utils.files import sha256_of
from paperclip.utils.offline import is_offline

from .publish import MANIFEST_NAME, PUBLISHED, compare_encoders

__all__ = ["PushedModel", "choose_files", "push_model"]

log = logging.getLogger(__name__)

_NEEDED = (CONFIG_NAME, WEIGHT_NAMES[0], MANIFEST_NAME, "README.md", "checksums.json")
_ATTEMPTS = 3
_WAIT = 1.0  # seconds before the second attempt; doubles each time
_CLOSEST = 1e-5
# the client's message if a Hub does not offer its newer way to upload
_NO_XET = "xet-write-token"


@dataclass(frozen=True)
class PushedModel:
    """
    What was published.

    Parameters
    ----------
    repo : str
        "org/name" on the Hub.
    revision : str
        The commit; ``load_encoder(f"{repo}@{revision}")`` is this very model.
    url : str
        Page of the commit.
    files : tuple of str
        Files of the commit.
    left_out : tuple of str
        Other files of the directory.
    difference : float or None
        Largest difference of a component of unit vectors between the
        directory and what came back; None if it was not fetched back.
    """

    repo: str
    revision: str
    url: str
    files: tuple
    left_out: tuple
    difference: float | None


def push_model(
    directory,
    repo,
    *,
    private=True,
    exist_ok=False,
    token=None,
    revision="main",
    message=None,
    check=True,
    pictures=None,
    texts=None,
    endpoint=None,
    offline=None,
):
    """
    Publish a directory of `save_model` on the Hugging Face Hub.

    All files arrive in one commit, which is then downloaded and compared:
    files by their SHA-256, models by the vectors of test pictures and texts.

    Parameters
    ----------
    directory : path-like or `SavedModel`
        What to publish. Only files that a model consists of are sent; others,
        and links to other places, are left out with a warning.
    repo : str
        "org/name".
    private : bool, optional
        Whether a new repository is visible for its owner only.
    exist_ok : bool, optional
        Add a commit to a repository that is there already.
    token : str, optional
        What the Hub knows you by. By default that of ``hf auth login`` or of
        the environment variable ``HF_TOKEN``.
    revision : str, optional
        Branch; it is made if there is none.
    message : str, optional
        Of the commit.
    check : bool, optional
        Whether the commit is fetched back and compared.
    pictures, texts : sequence, optional
        What to compare with; see ``paperclip.training.publish.compare_encoders``.
    endpoint : str, optional
        Address of the Hub, for mirrors; the default is huggingface_hub's.
    offline : bool, optional
        The default is ``paperclip.conf.offline``, or ``HF_HUB_OFFLINE``.

    Returns
    -------
    pushed : PushedModel
        Repository, commit and what the comparison found.

    Raises
    ------
    OfflineError
        If the network may not be used.
    InvalidQueryError
        If ``repo`` or ``revision`` is no name.
    ModelLoadError
        If the directory is not complete or not safe, or if what comes back
        differs by more than 1e-5.
    RemoteServiceError
        If the Hub refuses, the repository exists, or three attempts failed;
        ``status`` is that of HTTP. Nothing is half there: a commit is made at
        the very end.

    Warns
    -----
    PaperclipWarning
        If files were left out.
    """
    directory = Path(getattr(directory, "directory", directory)).expanduser()
    _check_names(repo, revision)
    if is_offline(offline):
        msg = (
            f"{repo!r} cannot be published while downloads and uploads are switched "
            "off; set paperclip.conf.offline to False and unset HF_HUB_OFFLINE"
        )
        raise OfflineError(msg)
    names, left_out = choose_files(directory)
    if left_out:
        msg = f"{', '.join(left_out)} of {directory} is no part of a model; left out"
        warnings.warn(msg, PaperclipWarning, stacklevel=2)
    hub = _Hub(repo, revision, token=token, endpoint=endpoint)
    hub.create(private=private, exist_ok=exist_ok)
    commit = hub.upload(directory, names, message or f"Publish {directory.name}")
    difference = None
    if check:
        with tempfile.TemporaryDirectory(prefix="paperclip-push-") as scratch:
            hub.download(commit.oid, names, scratch)
            difference = _compare(
                directory, Path(scratch), names, hub.name(commit), pictures, texts
            )
    return PushedModel(
        repo, commit.oid, commit.commit_url, tuple(names), tuple(left_out), difference
    )


def _check_names(repo, revision):
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    good = isinstance(repo, str) and repo.count("/") == 1
    if good:
        try:
            validate_repo_id(repo)
        except HFValidationError:
            good = False
    if not good:
        msg = f"repo must have the form 'org/name', got {repo!r}"
        raise InvalidQueryError(msg)
    if not isinstance(revision, str) or not revision.strip() or "@" in revision:
        msg = f"revision must be the name of a branch, such as 'main', got {revision!r}"
        raise InvalidQueryError(msg)


def choose_files(directory):
    """
    Tell what of a directory would be published.

    Parameters
    ----------
    directory : `~pathlib.Path`
        Made by `save_model`.

    Returns
    -------
    names, left_out : list of str
        Files to send, and what else is there.

    Raises
    ------
    ModelNotFoundError, ModelLoadError
        If it is no such directory, or a file is damaged.
    """
    if not directory.is_dir():
        msg = f"no directory {str(directory)!r}; 'paperclip model save' makes one"
        raise ModelNotFoundError(msg)
    names, left_out = [], []
    for path in sorted(directory.iterdir()):
        ours = path.name in PUBLISHED and path.is_file() and not path.is_symlink()
        (names if ours else left_out).append(path.name)
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        msg = (
            f"{directory} holds no {missing[0]}; make the directory with "
            "'paperclip model save', which writes all that belongs to a model"
        )
        raise ModelLoadError(msg)
    check_directory(directory)
    return names, left_out


def _compare(directory, found, names, name, pictures, texts):
    """Compare what came back; return the largest difference of vectors."""
    wrong = [
        n
        for n in names
        if not (found / n).is_file() or sha256_of(found / n) != sha256_of(directory / n)
    ]
    again = "publish it again (exist_ok=True), or remove that commit"
    if wrong:
        msg = f"{', '.join(wrong)} of {name} differs from what was sent; {again}"
        raise ModelLoadError(msg)
    options = {"device": "cpu", "offline": True, "precision": "float32"}
    encoders = [load_encoder(place, **options) for place in (directory, found)]
    result = compare_encoders(*encoders, pictures=pictures, texts=texts)
    difference = result["max_difference"]
    if not difference <= _CLOSEST:
        msg = (
            f"vectors of {name} differ by {difference:.2g} from those of {directory}, "
            f"and at most {_CLOSEST:g} is allowed; {again}"
        )
        raise ModelLoadError(msg)
    return difference


class _Hub:
    """One repository, with errors that say what to do."""

    def __init__(self, repo, revision, *, token, endpoint):
        from huggingface_hub import HfApi

        self.repo, self.revision = repo, revision
        self._api = HfApi(endpoint=endpoint, token=token)

    def name(self, commit):
        return f"{self.repo}@{commit.oid[:12]}"

    def create(self, *, private, exist_ok):
        tries = iter(range(_ATTEMPTS))

        def create():
            # the answer to the first attempt may have been lost on its way
            there = exist_ok or next(tries) > 0
            self._api.create_repo(self.repo, private=private, exist_ok=there)

        if not exist_ok and self._try("asking", self._api.repo_exists, self.repo):
            raise self._exists()
        self._try("creating", create)
        if self.revision != "main":
            self._try(
                "creating a branch",
                lambda: self._api.create_branch(
                    self.repo, branch=self.revision, exist_ok=True
                ),
            )

    def upload(self, directory, names, message):
        try:
            return self._try("uploading", self._commit, directory, names, message)
        except RemoteServiceError as exc:
            if _NO_XET not in str(exc):
                raise
            log.info("%s takes no Xet uploads; sending whole files", self.repo)
        return self._try("uploading", self._commit, directory, names, message, True)

    def _commit(self, directory, names, message, whole=False):
        from huggingface_hub import CommitOperationAdd

        with contextlib.ExitStack() as stack:
            operations = []
            for name in names:
                content = str(directory / name)
                if whole:  # open files are sent by the protocol of Git LFS
                    content = stack.enter_context((directory / name).open("rb"))
                operations.append(
                    CommitOperationAdd(path_in_repo=name, path_or_fileobj=content)
                )
            return self._api.create_commit(
                self.repo,
                operations,
                commit_message=message,
                revision=self.revision,
            )

    def download(self, commit, names, folder):
        self._try(
            "fetching back",
            lambda: self._api.snapshot_download(
                self.repo, revision=commit, allow_patterns=names, local_dir=folder
            ),
        )

    def _try(self, doing, function, *args):
        """Call, and call again what fails for a reason that may pass."""
        from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return function(*args)
            # the client wraps what happened in any of these
            except (HTTPError, OSError, RuntimeError, ValueError) as exc:
                cause = _root(exc, (HTTPError, OfflineModeIsEnabled))
                if isinstance(cause, OfflineModeIsEnabled):
                    msg = (
                        f"{doing} {self.repo!r} needs the network; unset HF_HUB_OFFLINE"
                    )
                    raise OfflineError(msg) from exc
                error = self._translate(cause, doing)
                if error is None and attempt == _ATTEMPTS:
                    error = self._gave_up(cause, doing)
                if error is not None:
                    raise error from exc
                log.info("attempt %d of %s failed (%s)", attempt, doing, cause)
                time.sleep(_WAIT * 2 ** (attempt - 1))
        return None

    def _gave_up(self, exc, doing):
        status = _status(exc)
        came = f"HTTP {status}" if status else f"{type(exc).__name__}: {exc}"
        state = "it is there, but was not compared"
        if doing != "fetching back":
            state = "nothing was published; try again later"
        msg = f"{doing} {self.repo!r} failed in {_ATTEMPTS} attempts: {came}; {state}"
        return RemoteServiceError(msg, status=status)

    def _exists(self):
        msg = (
            f"the repository {self.repo!r} exists; publish with exist_ok=True "
            "(--update) to add a commit to it, or choose another name"
        )
        return RemoteServiceError(msg, status=409)

    def _translate(self, exc, doing):
        """Return our error for a failure that will not pass, or None."""
        status = _status(exc)
        if status in {401, 403}:
            msg = (
                f"the Hub refuses {doing} {self.repo!r} (HTTP {status}): log in with "
                "'hf auth login' or set HF_TOKEN, with a token that may write to "
                f"{self.repo.partition('/')[0]!r}"
            )
            return RemoteServiceError(msg, status=status)
        if status == 409 and doing == "creating":
            return self._exists()
        if _NO_XET in str(exc) or isinstance(exc, ValueError):
            return RemoteServiceError(f"{doing} {self.repo!r} failed: {exc}")
        if status is not None and 400 <= status < 500 and status not in {408, 429}:
            msg = f"{doing} {self.repo!r} failed with HTTP {status}: {exc}"
            return RemoteServiceError(msg, status=status)
        return None


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
