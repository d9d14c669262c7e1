# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The commands for the versions and the upkeep of an index."""

import argparse

from paperclip.cli.arguments import Command, add_output_options
from paperclip.cli.layout import in_bytes
from paperclip.cli.output import Destination
from paperclip.cli.terminal import say, show_status

__all__ = ["INDEXES"]


def _open(args):
    from paperclip.index import Index

    return Index.open(args.uri)


def _add_uri(parser):
    parser.add_argument(
        "uri", metavar="URI", help="directory or object-store URI of the index"
    )


def _version(text):
    return int(text) if text.isdecimal() else text


def _days(text):
    try:
        return float(text)
    except ValueError:
        msg = f"must be a number of days, got {text!r}"
        raise argparse.ArgumentTypeError(msg) from None


def _rows(number):
    return "1 row" if number == 1 else f"{number:,} rows"


# ---- index versions


def _versions_arguments(parser):
    parser.description += " Any of them can be restored until compaction removes it."
    _add_uri(parser)
    add_output_options(parser, columns=False)


def _versions(args):
    destination = Destination.from_args(args)
    table = _open(args).versions()
    view = {
        "version": ("version", None),
        "time": ("time", None),
        "n_rows": ("rows", None),
        "tags": ("tags", None),
        "note": ("what was done", None),
    }
    destination.write(table, view=view)
    return 0


# ---- index restore


def _restore_arguments(parser):
    parser.description += (
        " The old state becomes a new version; what came after it is kept as versions."
    )
    parser.epilog = "example: paperclip index restore my-index/ 12"
    _add_uri(parser)
    parser.add_argument(
        "version", type=_version, metavar="VERSION", help="number or tag"
    )


def _restore(args):
    index = _open(args)
    before = index.version
    number = index.restore(args.version)
    say(
        f"version {number} is what {args.version} was: {_rows(len(index))}; "
        f"'paperclip index restore {args.uri} {before}' undoes it"
    )
    return 0


# ---- index tag


def _tag_arguments(parser):
    parser.description += " Compaction keeps versions with a tag."
    parser.epilog = "example: paperclip index tag my-index/ cycle-4"
    _add_uri(parser)
    parser.add_argument("name", metavar="NAME", help="letters, digits, '.', '-', '_'")
    parser.add_argument(
        "--version",
        type=_version,
        metavar="VERSION",
        help="number or other tag (default: the newest version)",
    )
    parser.add_argument(
        "--remove", action="store_true", help="take the tag away; the version stays"
    )


def _tag(args):
    if args.remove and args.version is not None:
        args.fail("--remove takes no --version")
    index = _open(args)
    if args.remove:
        index.untag(args.name)
        say(f"there is no tag {args.name} any more")
        return 0
    index.tag(args.name, args.version)
    version = index.version if args.version is None else args.version
    say(f"version {version} is {args.name}")
    return 0


# ---- index compact


def _compact_arguments(parser):
    parser.description += " Readers and writers may be at work meanwhile; writers wait."
    _add_uri(parser)
    parser.add_argument(
        "--keep-days",
        type=_days,
        default=7.0,
        metavar="DAYS",
        help="versions that are older are removed, unless they have a tag (default: 7)",
    )


def _compact(args):
    index = _open(args)
    show_status("putting files together ...")
    report = index.compact(keep_days=args.keep_days)
    say(
        f"{report.files_before:,} files are {report.files_after:,} now; removed "
        f"{report.versions_removed:,} old versions, "
        f"{in_bytes(report.bytes_removed)}"
    )
    return 0


# ---- index delete


def _delete_arguments(parser):
    parser.description += " 'paperclip index restore' brings them back."
    parser.epilog = (
        "example: paperclip index delete my-index/ "
        "--where \"instrument_name = 'WFPC2' AND t_min < 50000\""
    )
    _add_uri(parser)
    parser.add_argument("ids", nargs="*", metavar="OBS_ID", help="rows to delete")
    parser.add_argument("--where", metavar="SQL", help="condition on the columns")


def _delete(args):
    if bool(args.ids) == (args.where is not None):
        args.fail("give the OBS_ID of rows, or --where, and not both")
    index = _open(args)
    before = index.version
    number = index.delete(args.ids or None, where=args.where)
    text = f"deleted {_rows(number)}; {args.uri} has {_rows(len(index))}"
    absent = len(set(args.ids)) - number
    if args.ids and absent:
        text += f"; OBS_ID that were not in it: {absent}"
    if number:
        text += f"; 'paperclip index restore {args.uri} {before}' brings them back"
    say(text)
    return 0


INDEXES = (
    Command(
        "index versions",
        "List the versions of an index",
        _versions_arguments,
        _versions,
    ),
    Command(
        "index restore",
        "Go back to an older version of an index",
        _restore_arguments,
        _restore,
    ),
    Command("index tag", "Give a version of an index a name", _tag_arguments, _tag),
    Command(
        "index compact",
        "Make an index quicker and smaller, remove old versions",
        _compact_arguments,
        _compact,
    ),
    Command("index delete", "Delete rows of an index", _delete_arguments, _delete),
)
"""The commands of this module."""
