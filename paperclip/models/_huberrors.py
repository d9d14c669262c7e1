# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What the client of the Hub raises, in our own words."""

from paperclip.exceptions import ModelNotFoundError, RemoteServiceError

__all__ = ["http_status", "root_cause", "translate"]


def root_cause(exc, kinds):
    """
    Look for the error behind an error.

    Parameters
    ----------
    exc : Exception
        What was raised; the client wraps what happened in other errors.
    kinds : type or tuple of type
        Kinds of errors to look for.

    Returns
    -------
    cause : Exception
        The first of these kinds in the chain of causes, else ``exc`` itself.
    """
    cause = exc
    while cause is not None:
        if isinstance(cause, kinds):
            return cause
        cause = cause.__cause__
    return exc


def http_status(exc):
    """
    Return the status of the answer behind an error.

    Parameters
    ----------
    exc : Exception
        Error of the client of the Hub.

    Returns
    -------
    status : int or None
        Status of HTTP; None if there was no answer.
    """
    return getattr(getattr(exc, "response", None), "status_code", None)


def translate(exc, repo, revision):
    """
    Tell a failure that stays from one that may pass.

    Parameters
    ----------
    exc : Exception
        Error of the client while it fetched a model.
    repo : str
        Name of the model.
    revision : str or None
        What was asked for.

    Returns
    -------
    error : PaperclipError or None
        What to raise; None for a failure that may pass.
    """
    from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

    status = http_status(exc)
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
