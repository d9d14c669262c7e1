# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The command for the approximate index."""

import argparse
from pathlib import Path

from paperclip.cli.arguments import Command, add_model_options, add_output_options
from paperclip.cli.output import Destination
from paperclip.cli.terminal import say, show_status

__all__ = ["APPROXIMATE"]

_MOST = 1 << 20  # bytes of a file of queries
_VIEW = {
    "share": ("rows kept", ".3g"),
    "limit": ("rows wanted", None),
    "nprobes": ("partitions", None),
    "candidates": ("candidates", ".3g"),
    "recall": ("recall", ".3f"),
    "time": ("time", ".2f"),
    "exact_time": ("exact time", ".2f"),
}


def _number(text):
    try:
        return float(text)
    except ValueError:
        msg = f"must be a number between 0 and 1, got {text!r}"
        raise argparse.ArgumentTypeError(msg) from None


def _ann_arguments(parser):
    parser.description += (
        " Searches use it where it was measured to be quicker than the exact search; "
        "the table that is written says where, and what they find."
    )
    parser.epilog = (
        "examples: paperclip index ann my-index/ --recall 0.99   "
        "paperclip index ann my-index/ --show"
    )
    parser.add_argument(
        "uri", metavar="URI", help="directory or object-store URI of the index"
    )
    parser.add_argument(
        "--recall",
        type=_number,
        metavar="PART",
        help="part of the best rows to be found on average (0.98)",
    )
    parser.add_argument(
        "--kind",
        metavar="KIND",
        help="'small' (default), 8%% of the size of the vectors, or 'fast', 50%%",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of all random numbers (0)"
    )
    parser.add_argument(
        "--texts",
        metavar="FILE",
        help="queries to measure with, one per line, encoded by the model",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--show", action="store_true", help="change nothing")
    what.add_argument("--drop", action="store_true", help="remove it")
    add_model_options(parser)
    add_output_options(parser, columns=False)


def _ann(args):
    from paperclip.index import Index

    names = ("recall", "kind", "seed", "texts")
    options = {name: getattr(args, name) for name in names}
    options = {name: value for name, value in options.items() if value is not None}
    if options and (args.show or args.drop):
        args.fail(
            f"--{next(iter(options))} is for making one; leave out --show, --drop"
        )
    destination = Destination.from_args(args)
    index = Index.open(args.uri)
    if args.drop:
        dropped = index.drop_ann()
        say(
            "the approximate index is dropped; 'paperclip index compact' frees its disk"
            if dropped
            else "there is no approximate index"
        )
        return 0
    if args.show:
        table = index.ann_info()
        if table.meta["kind"] is None:
            say(
                "there is no approximate index, so all searches are exact; "
                f"'paperclip index ann {args.uri}' makes one"
            )
            if destination.format == "text":
                return 0
    else:
        if "texts" in options:
            options["queries"] = _vectors(args, index, options.pop("texts"))
        table = index.create_ann(**options, progress=_tell)
    heading = [(name.replace("_", " "), value) for name, value in table.meta.items()]
    destination.write(table, view=_VIEW, heading=heading)
    return 0


def _tell(stage, part):
    show_status(f"{stage} {part:.0%}")


def _vectors(args, index, name):
    from paperclip import conf
    from paperclip.models import load_encoder

    try:
        with Path(name).open(encoding="utf-8") as stream:
            lines = stream.read(_MOST).splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        args.fail(f"--texts {name}: {exc}")
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        args.fail(f"--texts {name} holds no text; write one query per line")
    show_status("loading the model ...")
    encoder = load_encoder(
        conf.model if args.model is None else args.model,
        device=args.device,
        offline=True if args.offline else None,
    )
    vectors = encoder.encode_texts(lines)
    # refuses vectors of another model
    index.search(vectors[0], limit=1, exact=True, fingerprint=encoder.fingerprint)
    return vectors


APPROXIMATE = (
    Command(
        "index ann",
        "Make an approximate index of the vectors of an index",
        _ann_arguments,
        _ann,
    ),
)
