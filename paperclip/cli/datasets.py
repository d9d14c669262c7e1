# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The commands that make training sets and look at them."""

import argparse

from paperclip.cli.arguments import Command, add_output_options, count
from paperclip.cli.output import Destination
from paperclip.cli.terminal import clear_status, say, show_status
from paperclip.exceptions import InvalidQueryError

__all__ = ["DATASETS"]

_REASONS = 3
_VIEW = {
    "split": ("split", None),
    "rows": ("pairs", None),
    "fraction": ("share", ".3f"),
    "wanted": ("wanted", ".3f"),
    "proposals": ("proposals", None),
    "positions": ("positions", None),
    "pis": ("PIs", None),
    "largest_group": ("largest group", None),
    "no_position": ("no position", ".3f"),
    "nearest": ("nearest", ".2f"),
}


# ---- types of arguments


def _fractions(text):
    from paperclip.training import SplitSettings

    try:
        return SplitSettings(fractions=text.split(",")).fractions
    except InvalidQueryError:
        msg = (
            "must be three numbers for train, validation and test whose sum is 1, "
            f"such as 0.8,0.1,0.1, got {text!r}"
        )
        raise argparse.ArgumentTypeError(msg) from None


def _angle(text):
    from paperclip.training import SplitSettings

    try:
        return SplitSettings(radius=text).radius
    except InvalidQueryError:
        msg = (
            "must be an angle with a unit, such as 2arcmin, from 1arcsec to 10deg "
            f"(0deg: positions do not count), got {text!r}"
        )
        raise argparse.ArgumentTypeError(msg) from None


def _seed(text):
    if not text.strip().isdecimal() or len(text) > 18:
        msg = f"must be a whole number from 0, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _cycles(text):
    from paperclip.mast import parse_cycles

    try:
        return parse_cycles(text)
    except InvalidQueryError as exc:
        msg = str(exc).removeprefix("cycles ")
        raise argparse.ArgumentTypeError(msg) from None


# ---- dataset build


def _build_arguments(parser):
    parser.description += (
        " It goes on where it ended when it was interrupted, and adds cycles, "
        "proposals or missions to a finished one."
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="new or empty, or a data set to go on with"
    )
    what = parser.add_argument_group("what to take")
    what.add_argument(
        "--mission", required=True, metavar="NAME", help="'HST' or 'JWST'"
    )
    what.add_argument("--cycles", type=_cycles, metavar="N-N,N", help="such as 25-30")
    what.add_argument(
        "--proposals", metavar="N,N", help="numbers, beside or instead of cycles"
    )
    what.add_argument(
        "--max-per-proposal",
        type=count,
        default=20,
        metavar="N",
        help="most pictures of a proposal, 20 by default",
    )
    what.add_argument(
        "--recipe",
        metavar="NAME",
        help="'PAPER_HST', 'JWST' or 'ANY_PREVIEW'; by default that of the mission",
    )
    what.add_argument(
        "--catalogue",
        metavar="FILE",
        help="abstracts: abstracts.cat, or a table with proposal_id and abstract",
    )
    what.add_argument(
        "--limit", type=count, metavar="N", help="most pictures, to try things out"
    )
    how = parser.add_argument_group("how to split")
    how.add_argument("--seed", type=_seed, default=0, metavar="N", help="0 by default")
    how.add_argument(
        "--fractions",
        type=_fractions,
        default=(0.8, 0.1, 0.1),
        metavar="A,B,C",
        help="of train, validation and test; 0.8,0.1,0.1 by default",
    )
    how.add_argument(
        "--radius",
        type=_angle,
        default="2 arcmin",
        metavar="ANGLE",
        help="what is closer shares a split; 2arcmin by default",
    )
    how.add_argument(
        "--split-by-pi",
        action="store_true",
        help="keep all proposals of a principal investigator in one split",
    )
    where = parser.add_argument_group("how to work")
    where.add_argument("--workers", type=count, metavar="N", help="downloads at a time")
    where.add_argument(
        "--cloud",
        action="store_true",
        help="read pictures from the public copy of the archive in the cloud",
    )
    where.add_argument(
        "--no-shards", action="store_true", help="write no WebDataset shards"
    )
    where.add_argument(
        "--retry-failed",
        action="store_true",
        help="try what failed before once more",
    )
    where.add_argument(
        "--dry-run",
        action="store_true",
        help="count proposals, pictures and bytes, and download no picture",
    )


def _build(args):
    from paperclip.training import SplitSettings
    from paperclip.training.build import build_dataset, count_dataset

    if args.cycles is None and args.proposals is None:
        args.fail("give --cycles, for example --cycles 25-30, or --proposals")
    split = SplitSettings(
        fractions=args.fractions, radius=args.radius, by_pi=args.split_by_pi
    )
    what = {
        "mission": args.mission,
        "cycles": args.cycles,
        "proposals": args.proposals,
        "max_per_proposal": args.max_per_proposal,
        "recipe": args.recipe,
        "seed": args.seed,
        "catalogue": args.catalogue,
        "split": split,
        "limit": args.limit,
        "progress": _progress,
    }
    if args.dry_run:
        counts = count_dataset(**what)
        counts["size"] = f"{counts.pop('bytes') / 1e6:.3g} MB"
        Destination("text", None, None).write_facts(counts)
        return 0
    try:
        data = build_dataset(
            args.folder,
            **what,
            shards=not args.no_shards,
            workers=args.workers,
            cloud=args.cloud,
            retry_failed=args.retry_failed,
        )
    except KeyboardInterrupt:
        say("what is complete stays; run the same command again to go on")
        raise
    clear_status()
    report = data.report()
    _write(Destination("text", None, None), data, report)
    if failed := sum(report.meta["failed"].values()):
        total = len(data.pairs)
        say(f"{failed} of {total} pictures failed; --retry-failed tries them again")
    return 0


def _progress(step, done, total):
    show_status(f"{step}: {done} of {total} ..." if total else f"{step} ...")


# ---- dataset info


def _info_arguments(parser):
    parser.add_argument("folder", metavar="FOLDER", help="a data set")
    add_output_options(parser, columns=False)


def _info(args):
    from paperclip.training import DataSet

    destination = Destination.from_args(args)
    data = DataSet.open(args.folder, unfinished=True)
    if data.complete:
        _write(destination, data, data.report())
        return 0
    from paperclip.mast.manifest import PictureStore

    facts = {"data_set": str(data.folder), "state": "not finished"}
    if (data.folder / "manifest.parquet").exists():
        counts = PictureStore.open(data.folder).counts
        facts |= {f"pictures_{status}": n for status, n in counts.items()}
    destination.write_facts(facts)
    say("run the same 'paperclip dataset build' again to go on")
    return 0


def _write(destination, data, report):
    meta = report.meta
    heading = [
        ("data set", str(data.folder)),
        ("pairs", meta["pairs"]),
        ("missions", _counted(meta["missions"])),
        ("radius", f"{meta['radius']:g} arcmin"),
        ("split by PI", "yes" if meta["by_pi"] else "no"),
        ("seed", meta["seed"]),
        ("shards", sum(len(data.shards(split)) for split in data.splits)),
        ("failed", _reasons(meta["failed"])),
        ("left out", _reasons(meta["left_out"])),
    ]
    destination.write(report, view=_VIEW, heading=heading)


def _reasons(numbers):
    shown = [f"{n} x {why}" for why, n in list(numbers.items())[:_REASONS]]
    more = "; ..." if len(numbers) > _REASONS else ""
    listed = f" ({'; '.join(shown)}{more})" if shown else ""
    return f"{sum(numbers.values())}{listed}"


def _counted(numbers):
    return ", ".join(f"{name} {n}" for name, n in numbers.items()) or "none"


DATASETS = (
    Command(
        "dataset build",
        "Make a training set of pictures and abstracts",
        _build_arguments,
        _build,
    ),
    Command(
        "dataset info",
        "Say what is in the splits of a training set",
        _info_arguments,
        _info,
    ),
)
"""The commands of this module."""
