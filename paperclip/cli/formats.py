# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The commands that write an index in formats of astronomy, and read them."""

import argparse
import math
from pathlib import Path

from paperclip.cli.arguments import Command, column_list
from paperclip.cli.filtering import add_filter_options, filters_from
from paperclip.cli.terminal import say, show_status

__all__ = ["FORMATTING", "add_stream_options", "check_stream", "write_stream"]

_FORMATS = (
    "hats",
    "parquet",
    "votable",
    "fits",
    "ecsv",
    "csv",
    "moc",
    "obscore",
)
_STREAMED = (".csv", ".ecsv", ".parquet", ".vot", ".xml")
_TABLES = (".ecsv", ".fit", ".fits", ".vot", ".xml")
_PAGE = 5000  # rows


# ---- answers of any length


def add_stream_options(parser):
    """
    Add the options for an answer of any length.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`
        Parser of a command.
    """
    parser.add_argument(
        "--all",
        action="store_true",
        help="write all observations to --output FILE "
        f"({', '.join(_STREAMED)}), however many there are",
    )
    parser.add_argument(
        "--min-similarity",
        type=_similarity,
        metavar="X",
        help="with --all, only what is at least as similar as this (-1 to 1)",
    )


def _similarity(text):
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not -1 <= number <= 1:
        msg = f"must be a number from -1 to 1, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return number


def check_stream(args):
    """
    Refuse options that do not go with an answer of any length.

    Parameters
    ----------
    args : `argparse.Namespace`
        With the options of `add_stream_options` and of the output.
    """
    if not args.all:
        if args.min_similarity is not None:
            args.fail("--min-similarity needs --all")
        return
    if args.output in (None, "-"):
        args.fail("--all needs --output FILE, for example --output found.parquet")
    if args.mosaic is not None:
        args.fail("--mosaic draws a few observations; leave out --all")
    end = Path(args.output).suffix.lower()
    if args.format in ("text", "json") or (
        args.format is None and end not in _STREAMED
    ):
        args.fail(
            f"--all writes files that end in {', '.join(_STREAMED)}, got "
            f"{args.format or args.output!r}"
        )


def write_stream(session, text, args, conditions):
    """
    Write all observations that fit a text to a file.

    Parameters
    ----------
    session : `~paperclip.PaperclipClass`
        What searches.
    text : str
        What to look for.
    args : `argparse.Namespace`
        Options of the command.
    conditions : dict
        Arguments that choose rows.

    Returns
    -------
    code : int
        Exit code.
    """
    from paperclip.index.formats import write_pages

    columns = args.columns if isinstance(args.columns, list) else None
    pages = session.iter_query_text(
        text,
        page=_PAGE,
        limit=args.limit,
        min_similarity=args.min_similarity,
        columns=columns,
        **conditions,
    )
    path = Path(args.output).expanduser()
    number = write_pages(
        _told(pages), path, format=args.format, overwrite=args.overwrite
    )
    size = len(session.index)
    say(f"{_observations(number)} written to {path}; {size:,} in the index")
    return 0


def _told(pages):
    done = 0
    for page in pages:
        yield page
        done += len(page)
        show_status(f"{done:,} of {page.meta['n_stream']:,} written ...")


def _observations(number):
    return "1 observation" if number == 1 else f"{number:,} observations"


# ---- index export


def _export_arguments(parser):
    parser.epilog = (
        "examples: paperclip index export my-index/ my.parquet   "
        "paperclip index export my-index/ hst/ --format hats "
        "--where \"obs_collection = 'HST'\""
    )
    parser.add_argument("index", metavar="INDEX", help="'builtin', a directory or URI")
    parser.add_argument("path", metavar="OUT", help="file or folder to write")
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        help="by default what the end of OUT says (.parquet, .vot, .fits, .ecsv, "
        ".csv, .hats, .moc)",
    )
    add_filter_options(parser)
    parser.add_argument(
        "--columns", type=column_list, metavar="NAME,...", help="columns to write"
    )
    parser.add_argument(
        "--vectors",
        action=argparse.BooleanOptionalAction,
        help="write the vectors; by default with hats and parquet only",
    )
    parser.add_argument(
        "--order", type=int, metavar="N", help="with moc, HEALPix order (default: 10)"
    )
    parser.add_argument(
        "--publisher", metavar="IVOID", help="with obscore, ivo://authority/name"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace OUT if it is there already"
    )


def _export(args):
    index = _open(args.index)
    options = filters_from(args)
    for name in ("columns", "vectors", "order", "publisher"):
        value = getattr(args, name)
        if value not in (None, "all"):
            options[name] = value
    show_status("writing ...")
    path = index.export(args.path, args.format, overwrite=args.overwrite, **options)
    say(f"{index.uri} written to {path}")
    return 0


def _open(uri):
    from paperclip.core import Paperclip

    return Paperclip(index=uri).index


# ---- index import


def _import_arguments(parser):
    parser.epilog = (
        "example: paperclip index import catalogue.parquet my-index/ "
        "--vector embedding --rename source_id=obs_id,ra=s_ra,dec=s_dec "
        "--fingerprint 3f9a..."
    )
    parser.add_argument(
        "path",
        metavar="IN",
        help="Parquet, VOTable (.vot, .xml), FITS or ECSV file, or folder of a HATS "
        "catalogue",
    )
    parser.add_argument("index", metavar="INDEX", help="new directory or URI")
    parser.add_argument(
        "--vector",
        default="vector",
        metavar="NAME",
        help="column of the vectors (default: vector)",
    )
    parser.add_argument(
        "--rename",
        type=_renamed,
        metavar="OLD=NEW,...",
        help="names of columns in the index, for example source_id=obs_id",
    )
    parser.add_argument(
        "--columns", type=column_list, metavar="NAME,...", help="columns to keep"
    )
    parser.add_argument(
        "--fingerprint",
        metavar="TEXT",
        help="of the model that made the vectors, if IN does not say it",
    )
    parser.add_argument("--model", metavar="NAME", help="name of that model")


def _renamed(text):
    pairs = [item.split("=") for item in text.split(",")]
    if any(len(pair) != 2 or not all(map(str.strip, pair)) for pair in pairs):
        msg = f"must be OLD=NEW pairs with commas between them, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return {old.strip(): new.strip() for old, new in pairs}


def _import(args):
    from paperclip.index.formats import import_hats, import_parquet, import_table

    source = Path(args.path).expanduser()
    if not source.exists():
        msg = f"there is no file or folder '{source}'"
        raise FileNotFoundError(msg)
    show_status("reading ...")
    read = import_table if source.suffix.lower() in _TABLES else import_parquet
    read = import_hats if source.is_dir() else read
    index = read(
        source,
        args.index,
        fingerprint=args.fingerprint,
        model=args.model,
        vector=args.vector,
        rename=args.rename,
        columns=None if args.columns == "all" else args.columns,
    )
    say(f"{index.uri} has {_observations(len(index))}, dimension {index.dimension}")
    return 0


FORMATTING = (
    Command(
        "index export",
        "Write an index in a format of astronomy",
        _export_arguments,
        _export,
    ),
    Command(
        "index import",
        "Make an index of a file or a catalogue of vectors",
        _import_arguments,
        _import,
    ),
)
"""The commands of this module."""
