# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What the command says on stderr: errors, warnings, progress."""

import contextlib
import logging
import os
import re
import sys
import traceback as _traceback
import warnings

from astropy.utils.exceptions import AstropyWarning

__all__ = [
    "clean",
    "clear_status",
    "drop_output",
    "plain_warnings",
    "report",
    "say",
    "show_status",
    "watched",
]

_CLEAR = "\r\033[K"
# how messages of the library name options, as in "choose one with hdu="
_KEYWORD = re.compile(r"\b(hdu|plane|where|vocabulary|catalogue|column)=(?=[\s,.;:]|$)")


def clean(text):
    """
    Replace characters that a terminal would obey instead of showing.

    Parameters
    ----------
    text : str
        Anything, for example the name of a target or of a file.

    Returns
    -------
    text : str
        Printable characters and line breaks.
    """
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def say(text):
    """
    Write a line to stderr.

    Parameters
    ----------
    text : str
        One line or more.
    """
    clear_status()
    _write(clean(text) + "\n")


def show_status(text):
    """
    Show what is being done until the next message, if a person is watching.

    Parameters
    ----------
    text : str
        A few words; nothing is shown where stderr is not a terminal.
    """
    if watched():
        _write(f"{_CLEAR}{clean(text)[:100]}")


def watched():
    """
    Tell whether a person may be watching.

    Returns
    -------
    answer : bool
        True if stderr is a terminal.
    """
    return sys.stderr is not None and sys.stderr.isatty()


def clear_status():
    """Remove what `show_status` wrote."""
    show_status("")


def _write(text):
    if sys.stderr is None:
        return
    with contextlib.suppress(BrokenPipeError):
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        sys.stderr.write(text.encode(encoding, "replace").decode(encoding))
        sys.stderr.flush()


def report(exc, *, about="", traceback=False):
    """
    Write an error to stderr.

    Parameters
    ----------
    exc : Exception
        What went wrong.
    about : str, optional
        The file at hand, named if the message does not name it.
    traceback : bool, optional
        Write where it happened, too.
    """
    if traceback:
        lines = _traceback.format_exception(exc)
        say("".join(lines).rstrip())
    if isinstance(exc, OSError) and exc.strerror:
        text = exc.strerror if exc.filename is None else f"{exc.filename}: "
        text += "" if exc.filename is None else exc.strerror
    else:
        text = str(exc) or type(exc).__name__
    text = _KEYWORD.sub(r"--\1", text)
    if about and about not in text:
        text = f"{about}: {text}"
    say(f"paperclip: error: {text}")


def drop_output():
    """Send what is left of stdout nowhere, if it cannot be written."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _LogLines(logging.Handler):
    def emit(self, record):
        say(f"{record.levelname.lower()}: {record.getMessage()}")


@contextlib.contextmanager
def plain_warnings():
    """Show warnings, and what the package logs, as one line each."""

    def show(message, category, filename, lineno, file=None, line=None):
        known = issubclass(category, AstropyWarning)
        say(f"warning: {message}{'' if known else f' ({category.__name__})'}")

    handler = _LogLines(logging.WARNING)
    logger = logging.getLogger("paperclip")
    with warnings.catch_warnings():
        warnings.showwarning = show
        # every file of a run may have a word to say, also the same one
        warnings.simplefilter("always", AstropyWarning)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
