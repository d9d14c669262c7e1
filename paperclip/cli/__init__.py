# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
The command ``paperclip``.

Nothing heavy is imported until a command runs, so that ``paperclip --help``
answers at once. `paperclip.cli.commands` says how to add a command.
"""

import os
import sys

from paperclip.cli.arguments import parse
from paperclip.cli.commands import COMMANDS, GROUPS
from paperclip.cli.terminal import (
    clear_status,
    drop_output,
    plain_warnings,
    report,
    say,
)
from paperclip.exceptions import PaperclipError

__all__ = ["main"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_NO_READER = 141  # 128 + SIGPIPE


def main(argv=None):
    """
    Run the command ``paperclip``.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the name of the command; those of the process when not
        given.

    Returns
    -------
    code : int
        Exit code: 0 if all went well, 1 after an error, 2 if the arguments
        are wrong, 130 if interrupted, 141 if nobody reads the output.

    Examples
    --------
    >>> from paperclip.cli import main
    >>> code = main(["query", "spiral galaxy", "--limit", "5"])  # doctest: +SKIP
    """
    argv = sys.argv[1:] if argv is None else [str(word) for word in argv]
    traceback = bool(os.environ.get("PAPERCLIP_TRACEBACK")) or "--traceback" in argv
    with plain_warnings():
        try:
            args = parse(argv, COMMANDS, GROUPS)
            args.traceback = traceback
            code = args.run(args)
            if sys.stdout is not None:
                sys.stdout.flush()
        except SystemExit as stop:  # of argparse
            code = stop.code or 0
        except KeyboardInterrupt:
            say("paperclip: interrupted")
            code = _INTERRUPTED
        except BrokenPipeError:
            drop_output()
            code = _NO_READER
        except (PaperclipError, OSError) as exc:
            report(exc, traceback=traceback)
            drop_output()
            code = 1
        finally:
            clear_status()
    return code
