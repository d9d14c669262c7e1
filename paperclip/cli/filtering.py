# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Options that say which observations are searched."""

from contextlib import suppress
from pathlib import Path

from paperclip.exceptions import InvalidQueryError
from paperclip.utils.optional import import_optional

__all__ = ["add_filter_options", "filters_from"]

_COLUMNS = {
    "instrument": ("instrument_name", "instrument"),
    "collection": ("obs_collection", "mission or collection"),
    "filters": ("filters", "filters"),
    "proposal": ("proposal_id", "programme"),
    "target": ("target_name", "target"),
}
_FITS = (".fits", ".fit", ".moc", ".fits.gz")


def add_filter_options(parser):
    """
    Add the options that choose observations.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`
        Parser of a command.
    """
    group = parser.add_argument_group("which observations")
    group.add_argument(
        "--where",
        metavar="SQL",
        help="condition on the columns, for example \"obs_collection = 'JWST' AND "
        's_dec < 0"',
    )
    group.add_argument(
        "--region",
        metavar="PLACE",
        help="part of the sky that footprints must meet: a position such as "
        "'10.68 41.27' (degrees) or '00h42m44s +41d16m', a .reg file of DS9, or a "
        "FITS file with a MOC",
    )
    group.add_argument(
        "--radius",
        metavar="ANGLE",
        help="around a position, for example '2 arcmin'; a number is in degrees",
    )
    for option, (_, what) in _COLUMNS.items():
        group.add_argument(
            f"--{option}",
            action="append",
            metavar="VALUE",
            help=f"{what}, any case; * is any text, ? any character; may be repeated",
        )
    group.add_argument(
        "--after",
        metavar="TIME",
        help="exposures that end at this time or later: '2022-07-12', with a time of "
        "day '2022-07-12T10:30' (UTC), or an MJD",
    )
    group.add_argument(
        "--before", metavar="TIME", help="exposures that begin at this time or earlier"
    )


def filters_from(args):
    """
    Return the conditions of the command line.

    Parameters
    ----------
    args : `argparse.Namespace`
        With the options of `add_filter_options`.

    Returns
    -------
    conditions : dict
        As `~paperclip.PaperclipClass.query_text` takes them.

    Raises
    ------
    InvalidQueryError
        If a file of a region cannot be read as one.
    FileNotFoundError
        If there is no such file.
    """
    radius = args.radius
    if radius is not None:
        with suppress(ValueError):  # an angle with a unit
            radius = float(radius)
    conditions = {
        "where": args.where,
        "region": None if args.region is None else _region(args.region),
        "radius": radius,
        "t_min": args.after,
        "t_max": args.before,
    }
    for option, (name, _) in _COLUMNS.items():
        conditions[name] = getattr(args, option)
    return conditions


def _region(text):
    """Return the contents of a file, or the text itself if it names no file."""
    path = Path(text).expanduser()
    name = path.name.lower()
    if not name.endswith((".reg", *_FITS)):
        return text
    if not path.is_file():
        msg = f"--region: there is no file '{text}'"
        raise FileNotFoundError(msg)
    return _ds9(path) if name.endswith(".reg") else _moc(path)


def _ds9(path):
    from regions import Regions

    try:
        found = Regions.read(path, format="ds9")
    except (ValueError, TypeError, KeyError, UnicodeDecodeError) as exc:
        msg = f"--region: '{path}' is no region file of DS9: {exc}"
        raise InvalidQueryError(msg) from exc
    if not len(found):
        msg = f"--region: '{path}' holds no region"
        raise InvalidQueryError(msg)
    return list(found)


def _moc(path):
    mocpy = import_optional("mocpy", extra="moc", purpose="reading a MOC")
    try:
        return mocpy.MOC.load(path, format="fits")
    except (ValueError, OSError, AttributeError, KeyError) as exc:
        msg = f"--region: '{path}' is no FITS file with a MOC: {exc}"
        raise InvalidQueryError(msg) from exc
