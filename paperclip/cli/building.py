# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The command that builds an index."""

import argparse
import time

from paperclip.cli.arguments import Command, add_model_options, column_list, count
from paperclip.cli.terminal import say, show_status, watched
from paperclip.exceptions import InvalidQueryError

__all__ = ["BUILDING"]

_EVERY = 60.0  # seconds between lines of progress where there is no terminal
_SELECTION = {
    "mission": "obs_collection",
    "proposals": "proposal_id",
    "cycles": "cycles",
    "instrument": "instrument_name",
    "filters": "filters",
    "target": "target_name",
}


def _seed(text):
    if not text.strip().isdecimal() or len(text) > 18:
        msg = f"must be a whole number from 0, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _cycles(text):
    from paperclip.mast import parse_cycles

    try:
        parse_cycles(text)
    except InvalidQueryError as exc:
        msg = str(exc).removeprefix("cycles ")
        raise argparse.ArgumentTypeError(msg) from None
    return text.strip()


def _build_arguments(parser):
    parser.description += (
        " From the pictures and FITS files of a folder, from a table of files, or from "
        "the previews of MAST. The command may be stopped at any moment, also with "
        "kill -9; the same command goes on."
    )
    parser.epilog = (
        "examples: paperclip index build pictures/ my-index/   "
        "paperclip index build --mission HST --proposals 15513,14226 my-index/"
    )
    parser.add_argument(
        "places",
        nargs="+",
        metavar="[SOURCE] INDEX",
        help="folder, table (.csv, .ecsv, .parquet, .vot) or data set to read, none "
        "for MAST; and the directory or URI of the index. A table may name http, "
        "https, s3, gs, abfs and hdfs URIs",
    )
    _file_arguments(parser.add_argument_group("for files"))
    _mast_arguments(parser.add_argument_group("for MAST"))
    _work_arguments(parser.add_argument_group("how"))
    add_model_options(parser)


def _file_arguments(files):
    files.add_argument(
        "--metadata",
        metavar="FILE",
        help="table (.csv, .ecsv, .parquet, .vot) of what is known of the files, with "
        "a column 'file'",
    )
    files.add_argument(
        "--extra-columns",
        type=column_list,
        metavar="NAME,...",
        help="columns of the table to keep beside those that every index has",
    )


def _mast_arguments(mast):
    mast.add_argument("--mission", metavar="NAME", help="HST or JWST")
    mast.add_argument(
        "--proposals", type=column_list, metavar="ID,...", help="programmes"
    )
    mast.add_argument(
        "--cycles",
        type=_cycles,
        metavar="N-N,N",
        help="such as 25-30, beside or instead of proposals",
    )
    for name, example in (
        ("instrument", "'ACS/WFC' or 'NIRCAM*'"),
        ("filters", "F814W"),
        ("target", "'NGC 628'"),
    ):
        mast.add_argument(f"--{name}", metavar="NAME", help=f"for example {example}")
    mast.add_argument(
        "--max-per-proposal",
        type=count,
        metavar="N",
        help="most pictures of one programme",
    )
    mast.add_argument(
        "--seed",
        type=_seed,
        metavar="N",
        help="of the choice among the pictures of a programme (default: 0)",
    )
    mast.add_argument(
        "--recipe", metavar="NAME", help="which previews (default: by mission)"
    )
    mast.add_argument(
        "--pictures",
        metavar="DIR",
        help="folder for the pictures (default: INDEX.pictures)",
    )


def _work_arguments(work):
    work.add_argument(
        "--update",
        action="store_true",
        help="add what is new to an index that is complete or from another source",
    )
    work.add_argument(
        "--rebuild",
        action="store_true",
        help="build anew beside the index that is there, with another --model for "
        "example, and replace it in one step at the end",
    )
    work.add_argument(
        "--retry-failed", action="store_true", help="try again what failed before"
    )
    work.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and do nothing"
    )
    work.add_argument(
        "--batch-size", type=count, metavar="N", help="pictures encoded together"
    )
    work.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="files read or fetched at once; with --ray, pictures encoded at once",
    )
    work.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="build on a Ray cluster that is running: its address, or auto for the one "
        "of this machine",
    )


def _build(args):
    from paperclip.index import build_index

    source, uri = _places(args)
    show_status("looking at the source and loading the model ...")
    report = build_index(
        uri,
        source=source,
        encoder=args.model,
        metadata=args.metadata,
        extra_columns=_names(args),
        update=args.update,
        rebuild=args.rebuild,
        ray=args.ray,
        retry_failed=args.retry_failed,
        dry_run=args.dry_run,
        batch_size=args.batch_size,
        workers=args.workers,
        pictures=args.pictures,
        max_per_proposal=args.max_per_proposal,
        recipe=args.recipe,
        seed=args.seed or 0,
        device=args.device,
        offline=True if args.offline else None,
        progress=_Teller(),
    )
    _summarise(report, dry_run=args.dry_run)
    return 0


def _places(args):
    """Return source and index; what does not go together is a usage error."""
    criteria = {}
    for option, column in _SELECTION.items():
        value = getattr(args, option)
        if value is not None:
            criteria[column] = value
    *source, uri = args.places
    if len(source) > 1:
        args.fail("give one SOURCE and one INDEX; put names with spaces in quotes")
    names = (*_SELECTION, "pictures", "max_per_proposal", "seed", "recipe")
    given = [n.replace("_", "-") for n in names if getattr(args, n) is not None]
    if source and given:
        args.fail(f"--{given[0]} is for MAST; leave it out, or leave SOURCE out")
    if source:
        return source[0], uri
    if not criteria:
        args.fail(
            "give a SOURCE and an INDEX, or say what to take from MAST, for example "
            "--mission HST --proposals 15513,14226"
        )
    for option in ("metadata", "extra_columns"):
        if getattr(args, option) is not None:
            name = option.replace("_", "-")
            args.fail(f"--{name} is for files; rows from MAST have their columns")
    if set(criteria) == {"obs_collection"}:
        args.fail(
            "--mission alone is the whole archive; add --proposals, --cycles, "
            "--instrument, --filters or --target"
        )
    if "cycles" in criteria and args.mission is None:
        args.fail("--cycles needs --mission, which numbers them")
    if args.update and args.rebuild:
        args.fail("--update adds to an index and --rebuild replaces it; choose one")
    return criteria, uri


def _names(args):
    if args.extra_columns == "all":
        args.fail("--extra-columns: give the names of the columns")
    return args.extra_columns or ()


class _Teller:
    """Say how far the build is: a line that changes, or a line a minute."""

    def __init__(self):
        self._next = time.monotonic() + _EVERY
        self._fetched = ""

    def __call__(self, state):
        if state.stage == "listing":
            show_status("looking at the source ...")
            return
        text = f"{state.stage} {state.done:,} of {state.total:,}"
        if state.rate > 0:
            text += (
                f", {state.rate:.3g} per second, {_duration(state.seconds_left)} left"
            )
        if state.failed:
            text += f", {state.failed:,} failed"
        if state.stage == "fetching":  # it goes on while others are encoded
            self._fetched = f"{state.done:,} of {state.total:,} fetched; "
            self._fetched *= state.done < state.total
        else:
            text = self._fetched + text
        show_status(text)
        if time.monotonic() >= self._next and not watched():
            say(text)
            self._next = time.monotonic() + _EVERY


def _duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours / 24:.1f} days"


def _files(number):
    return "1 picture" if number == 1 else f"{number:,} pictures"


def _summarise(report, *, dry_run):
    for note in report.notes:
        say(f"note: {note}")
    if dry_run:
        say(
            f"would add {_files(report.n_new)} to {report.uri}; "
            f"{report.n_present:,} of {report.n_source:,} are in it already"
        )
        _say_failures(report, "")
        return
    rows = len(report.index)
    seconds = _duration(report.seconds)
    say(
        f"added {_files(report.n_added)} in {seconds}; {report.n_present:,} of "
        f"{report.n_source:,} were there already; {report.uri} has {rows:,} rows"
    )
    _say_failures(report, f"; they are listed in {report.failures}")


def _say_failures(report, where):
    """Say how many files are not in the index."""
    parts = []
    if report.n_failed:
        parts.append(f"{_files(report.n_failed)} failed (--retry-failed tries again)")
    if report.n_repeated:
        parts.append(f"{_files(report.n_repeated)} left out, their obs_id is taken")
    if parts:
        say(f"{', '.join(parts)}{where}")


BUILDING = (
    Command(
        "index build",
        "Build an index, go on with one, or add to one",
        _build_arguments,
        _build,
    ),
)
"""The commands of this module."""
