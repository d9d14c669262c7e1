# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The commands that search and describe."""

import warnings
from importlib.util import find_spec
from pathlib import Path

from paperclip.cli.arguments import (
    Command,
    add_model_options,
    add_output_options,
    count,
    count_or_all,
    hdu_name,
    picture_file,
    plane_number,
)
from paperclip.cli.filtering import add_filter_options, filters_from
from paperclip.cli.formats import (
    add_stream_options,
    check_stream,
    write_stream,
)
from paperclip.cli.output import Destination, check_new, new_file
from paperclip.cli.terminal import report, say, show_status
from paperclip.exceptions import (
    ImageConversionError,
    InvalidQueryError,
    MissingDependencyError,
    PaperclipError,
    PaperclipWarning,
    VocabularyError,
)

__all__ = ["SEARCHING"]

# column -> heading and format of the text
_FOUND = {
    "rank": ("rank", None),
    "target_name": ("target", None),
    "instrument_name": ("instrument", None),
    "filters": ("filters", None),
    "s_ra": ("ra", ".4f"),
    "s_dec": ("dec", "+.4f"),
    "proposal_id": ("programme", None),
    "similarity": ("similarity", ".3f"),
    "similarity_percentile": ("percentile", ".1f"),
}
_TERMS = {
    "rank": ("rank", None),
    "term": ("term", None),
    "kind": ("kind", None),
    "similarity": ("similarity", ".3f"),
    "percentile": ("percentile", ".1f"),
    "probability": ("probability", ".3f"),
}
_KEY = "obs_id"
_DRAWN = 200  # rows of one mosaic
_DOTS = 150  # per inch of a picture


# ---- what several commands do


def _session(args, **options):
    """Return a Paperclip with the options of the command line."""
    from paperclip.core import Paperclip

    chosen = {"model": args.model, "device": args.device, **options}
    chosen["offline"] = True if args.offline else None
    return Paperclip(**chosen)


def _check_picture(path, option):
    """Refuse a picture that could not be written after all the work."""
    check_new(path, overwrite=True)
    if path is not None and find_spec("matplotlib") is None:
        msg = (
            f"{option} needs matplotlib, which is not installed. "
            "Install it with: pip install 'astro-paperclip[plot]'"
        )
        raise MissingDependencyError(msg)


def _save(figure, path, what):
    with new_file(path) as part:
        figure.savefig(part, dpi=_DOTS)
    say(f"{what} written to {path}")


def _plural(number, word):
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


# ---- query


def _query_arguments(parser):
    parser.epilog = (
        "example: paperclip query face-on spiral galaxy --limit 5 "
        "--where \"instrument_name LIKE 'NIRCAM%'\" --mosaic spirals.png"
    )
    parser.add_argument(
        "text", nargs="+", metavar="TEXT", help="what to look for, in English"
    )
    parser.add_argument(
        "--limit",
        type=count,
        metavar="N",
        help="largest number of observations (default: 10; no limit with --all)",
    )
    add_stream_options(parser)
    add_filter_options(parser)
    parser.add_argument(
        "--index",
        metavar="URI",
        help="index to search: 'builtin', a directory or an object-store URI",
    )
    add_model_options(parser)
    add_output_options(parser)
    parser.add_argument(
        "--mosaic",
        type=picture_file,
        metavar="FILE",
        help="draw the observations (.png, .pdf, .svg or .jpg)",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        help="folder with previews for --mosaic, so that none are downloaded",
    )


def _query(args):
    check_stream(args)
    if args.all:
        show_status("loading the model and searching ...")
        session = _session(args, index=args.index)
        return write_stream(session, " ".join(args.text), args, filters_from(args))
    args.limit = args.limit or 10
    destination = Destination.from_args(args)
    if args.images is not None:
        if args.mosaic is None:
            args.fail("--images needs --mosaic, the picture to be drawn from them")
        if not Path(args.images).expanduser().is_dir():
            msg = f"--images: there is no folder '{args.images}'"
            raise NotADirectoryError(msg)
    _check_picture(args.mosaic, "--mosaic")
    conditions = filters_from(args)
    show_status("loading the model and searching ...")
    session = _session(args, index=args.index)
    table = session.query_text(" ".join(args.text), limit=args.limit, **conditions)
    destination.write(table, view=_view_of(table))
    programmes = table.meta.get("n_props")
    of = f" of {_plural(programmes, 'programme')}" if programmes else ""
    say(
        f"{_plural(len(table), 'observation')}{of}; {len(session.index)} in the index, "
        f"model {session.encoder.name}"
    )
    if args.mosaic is not None:
        _draw_mosaic(table, args)
    return 0


def _view_of(table):
    """Return the columns of the text, with the id where no target is known."""
    import numpy as np

    if not len(table) or not np.all(getattr(table["target_name"], "mask", False)):
        return _FOUND
    rank, *others = _FOUND.items()
    return dict([rank, (_KEY, (_KEY, None)), *others])


def _draw_mosaic(table, args):
    from paperclip.plotting import show_results

    if len(table) > _DRAWN:
        say(f"warning: the mosaic shows the first {_DRAWN} of {len(table)}")
    show_status("drawing the mosaic ...")
    figure = show_results(
        table[:_DRAWN], images=args.images, offline=True if args.offline else None
    )
    _save(figure, args.mosaic, "mosaic")


# ---- describe


def _describe_arguments(parser):
    parser.epilog = "example: paperclip describe image.fits --limit 5 --figure it.png"
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="FITS, JPEG, PNG, TIFF or WebP file"
    )
    parser.add_argument(
        "--hdu",
        type=hdu_name,
        metavar="HDU",
        help="HDU to use, by number, name, or name and version (SCI,2); by default "
        "the science image is chosen",
    )
    parser.add_argument(
        "--plane", type=plane_number, metavar="N", help="plane of a cube, from 0"
    )
    parser.add_argument(
        "--vocabulary",
        metavar="FILE",
        help="terms to choose from: .txt with one per line, .csv or .ecsv with a "
        "column 'term'",
    )
    parser.add_argument(
        "--kind", help="only terms of this kind, for example 'object' or 'science use'"
    )
    parser.add_argument(
        "--limit",
        type=count_or_all,
        default=10,
        metavar="N",
        help="largest number of terms per file, or 'all' (default: 10)",
    )
    parser.add_argument(
        "--index",
        metavar="URI",
        help="index whose pictures give the percentiles",
    )
    add_model_options(parser)
    add_output_options(parser)
    parser.add_argument(
        "--figure",
        type=picture_file,
        metavar="FILE",
        help="draw the image and its terms (.png, .pdf, .svg or .jpg)",
    )


def _describe(args):
    from paperclip.vocabulary import load_vocabulary

    destination = Destination.from_args(args)
    files = list(dict.fromkeys(args.files))
    several = len(files) > 1
    if several and args.figure is not None:
        args.fail("--figure draws one image; give one FILE")
    _check_picture(args.figure, "--figure")
    if args.vocabulary is not None:  # a path also where its name looks otherwise
        args.vocabulary = Path(args.vocabulary).expanduser()
    terms = load_vocabulary(args.vocabulary)
    args.kind = _find_kind(args.kind, terms["kind"].tolist())
    session = _session(args, index=args.index, vocabulary=terms)
    tables, failed = {}, 0
    for number, name in enumerate(files, start=1):
        show_status(f"describing {number} of {len(files)}: {name}")
        try:
            _check_file(name)
            tables[name] = session.describe(
                name, limit=args.limit, kind=args.kind, hdu=args.hdu, plane=args.plane
            )
        except (PaperclipError, OSError) as exc:
            if not _is_of_file(exc):
                raise
            report(exc, about=name, traceback=args.traceback)
            failed += 1
    if tables:
        view = {"file": ("file", None), **_TERMS} if several else _TERMS
        destination.write(_join(tables), view=view)
    if args.figure is not None and tables:
        _draw_description(args, *tables.items())
    if several and failed:
        say(f"{failed} of {len(files)} files failed")
    return 1 if failed else 0


def _check_file(name):
    if Path(name).expanduser().is_dir():
        msg = f"'{name}' is a folder; give the files, for example {name}/*.fits"
        raise IsADirectoryError(msg)


def _is_of_file(exc):
    """Tell whether the next file may fare better."""
    own = (ImageConversionError, InvalidQueryError)
    return isinstance(exc, own) or not isinstance(exc, PaperclipError)


def _find_kind(kind, kinds):
    """Complete a part of the name of a kind, if it is part of one only."""
    if kind is None or kind in kinds:
        return kind
    near = sorted({k for k in kinds if kind.strip().casefold() in k.casefold()})
    if len(near) == 1 and kind.strip():
        return near[0]
    listed = ", ".join(repr(k) for k in sorted(set(kinds)))
    msg = f"--kind: no kind {kind!r} in the vocabulary; choose from {listed}"
    raise VocabularyError(msg)


def _join(tables):
    """Put the tables of several files below each other."""
    from astropy.table import Column, vstack

    facts = []
    for name, table in tables.items():
        column = Column([name] * len(table), description="File", dtype=str)
        table.add_column(column, name="file", index=0)
        facts.append(table.meta.pop("image", None))
    joined = vstack(list(tables.values()), metadata_conflicts="silent")
    joined.meta["images"] = facts
    return joined


def _draw_description(args, item):
    from paperclip.imaging import to_rgb
    from paperclip.plotting import show_description

    name, table = item
    show_status("drawing ...")
    with warnings.catch_warnings():  # said when the file was described
        warnings.simplefilter("ignore", PaperclipWarning)
        rgb = to_rgb(name, hdu=args.hdu, plane=args.plane)
    figure = show_description(rgb, table, limit=max(len(table), 1))
    _save(figure, args.figure, "figure")


SEARCHING = (
    Command("query", "Find observations that fit a text", _query_arguments, _query),
    Command(
        "describe",
        "Describe images with the terms of a vocabulary",
        _describe_arguments,
        _describe,
    ),
)
"""The commands of this module."""
