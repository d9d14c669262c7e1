# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Parse the command line; say what to do where it is wrong."""

import argparse
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from paperclip import __version__
from paperclip.cli.output import FORMATS, SUFFIXES
from paperclip.cli.terminal import say

__all__ = [
    "Command",
    "add_model_options",
    "add_output_options",
    "column_list",
    "count",
    "count_or_all",
    "hdu_name",
    "parse",
    "picture_file",
    "plane_number",
]

_PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Command:
    """
    One line of the table of commands.

    Parameters
    ----------
    name : str
        One word, or a group and a word (``"index info"``).
    summary : str
        One line for the list of commands.
    add_arguments : callable
        Gets the parser of the command and adds its arguments.
    run : callable
        Gets the parsed arguments, does the work and returns the exit code.
        ``args.fail(message)`` ends with a usage error.
    """

    name: str
    summary: str
    add_arguments: Callable
    run: Callable


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message):
        say(f"paperclip: error: {message}\nSee '{self.prog} --help'.")
        raise SystemExit(2)


def parse(argv, commands, groups):
    """
    Parse the command line.

    Parameters
    ----------
    argv : list of str
        Arguments after the name of the command.
    commands : sequence of `Command`
        What there is to run.
    groups : dict of str to str
        Summary of the groups of commands, by name.

    Returns
    -------
    args : `argparse.Namespace`
        With ``run`` of the command and ``fail``, which ends with a usage
        error.

    Raises
    ------
    SystemExit
        With code 2 if something is wrong, 0 after ``--help`` and
        ``--version``.
    """
    top = _Parser(
        prog="paperclip",
        description="Search and describe telescope images with words.",
        epilog='Try: paperclip query "face-on spiral galaxy"',
    )
    top.add_argument("--version", action="version", version=f"paperclip {__version__}")
    places = {"": top.add_subparsers(metavar="COMMAND", title="commands")}
    parsers = {"": top}
    for command in commands:
        group, _, name = command.name.rpartition(" ")
        if group not in places:
            parser = places[""].add_parser(group, help=groups[group])
            places[group] = parser.add_subparsers(metavar="COMMAND", title="commands")
            parsers[group] = parser
        parser = places[group].add_parser(
            name, help=command.summary, description=f"{command.summary}."
        )
        command.add_arguments(parser)
        parser.add_argument(
            "--traceback",
            action="store_true",
            help="with an error, show where in the program it happened",
        )
        parser.set_defaults(run=command.run, fail=parser.error)
        parsers[command.name] = parser
    parser = _find_command(argv, parsers)
    args, extra = top.parse_known_args(argv)
    if extra:
        _refuse(parser, extra[0])
    if not hasattr(args, "run"):
        say(parser.format_help().rstrip())
        raise SystemExit(2)
    return args


def _find_command(argv, parsers):
    """Return the parser of the command; suggest one where it is unknown."""
    here = ""
    for word in argv:
        if word in ("-h", "--help", "--version"):
            break
        if word.startswith("-"):
            parsers[here].error(f"{word!r} is no option here; options follow a command")
        name = f"{here} {word}".strip()
        if name not in parsers:
            names = [n for n in parsers if n.rpartition(" ")[0] == here and n]
            listed = ", ".join(n.rpartition(" ")[2] for n in names)
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean 'paperclip {near[0]}'? Choose" if near else "choose"
            kind = f"{here} command" if here else "command"
            parsers[here].error(f"no {kind} {word!r}; {hint} from {listed}")
        here = name
        if not any(n.startswith(f"{here} ") for n in parsers):
            break
    return parsers[here]


def _refuse(parser, word):
    if not word.startswith("-"):
        parser.error(f"unexpected {word!r}; put words that belong together in quotes")
    name = word.partition("=")[0]
    known = [n for action in parser._actions for n in action.option_strings]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    parser.error(f"no option {name!r}{hint}")


# ---- options that several commands share


def add_model_options(parser):
    """
    Add the options that choose model and device.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`
        Parser of a command.
    """
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="'builtin', 'org/name[@revision]' on the Hugging Face Hub, or a model "
        "directory",
    )
    parser.add_argument(
        "--device", metavar="DEVICE", help="'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'"
    )
    parser.add_argument(
        "--offline", action="store_true", help="never open a network connection"
    )


def add_output_options(parser, *, columns=True):
    """
    Add the options that say how and where the table is written.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`
        Parser of a command.
    columns : bool, optional
        Add ``--columns`` as well.
    """
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="format of the table; by default that of the name of --output, else text",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help=f"write the table to a file ({', '.join(SUFFIXES)})",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace FILE if it is there already"
    )
    if columns:
        parser.add_argument(
            "--columns",
            type=column_list,
            metavar="NAME,...",
            help="columns of the table, or 'all'; text shows the main ones, the other "
            "formats hold all",
        )


# ---- types of arguments; argparse puts the name of the option in front


def count(text):
    """
    Return a whole number from 1.

    Parameters
    ----------
    text : str
        What was typed.

    Returns
    -------
    number : int
        At least 1.
    """
    if not text.strip().isdecimal() or len(text) > 9 or int(text) < 1:
        msg = f"must be a whole number from 1, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def count_or_all(text):
    """
    Return a whole number from 1, or None for "all".

    Parameters
    ----------
    text : str
        What was typed.

    Returns
    -------
    number : int or None
        At least 1.
    """
    return None if text == "all" else count(text)


def column_list(text):
    """
    Split names at commas.

    Parameters
    ----------
    text : str
        What was typed.

    Returns
    -------
    names : list of str or "all"
        Each once.
    """
    names = [name.strip() for name in text.split(",")]
    if "" in names or len(set(names)) < len(names):
        msg = f"must be names with commas between them, each once, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return "all" if names == ["all"] else names


def hdu_name(text):
    """
    Read the number or the name of an HDU.

    Parameters
    ----------
    text : str
        "1", "SCI" or "SCI,2".

    Returns
    -------
    hdu : int, str or tuple of (str, int)
        As `paperclip.imaging.load_picture` takes it.
    """
    name, comma, version = (part.strip() for part in text.partition(","))
    if not name or (comma and not version.isdecimal()):
        msg = f"must be a number, a name, or a name and a version (SCI,2), got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    if comma:
        return name, int(version)
    return int(name) if name.isdecimal() else name


def plane_number(text):
    """
    Read the position of a plane in a cube.

    Parameters
    ----------
    text : str
        "3", or "0,3" for more than one axis.

    Returns
    -------
    plane : int or tuple of int
        As `paperclip.imaging.load_picture` takes it.
    """
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        msg = f"must be a number, or numbers with commas between them, got {text!r}"
        raise argparse.ArgumentTypeError(msg) from None
    return numbers if len(numbers) > 1 else numbers[0]


def picture_file(text):
    """
    Check the name of a picture to be written.

    Parameters
    ----------
    text : str
        What was typed.

    Returns
    -------
    path : `~pathlib.Path`
        Its name ends in a format that can be written.
    """
    path = Path(text).expanduser()
    if path.suffix.lower() not in _PICTURES:
        msg = f"must end in {', '.join(_PICTURES)}, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return path
