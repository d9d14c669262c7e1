# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Make the built-in sample index from a folder of archive previews.

Run it after the built-in model changed::

    python tools/make_sample_index.py --data FOLDER

``FOLDER`` holds ``jwst_previews/`` and ``hst_previews/``, each with pictures and a
``manifest.csv``, and ``proposals/`` with rows of the archive. Only rows marked as
shippable are taken, and of those only facts: identifiers, positions, target names,
classes, filters, dates, programme numbers. No text and no picture enters the index.
"""

import argparse
import csv
import gzip
import re
import shutil
import sys
from pathlib import Path

from astropy.table import MaskedColumn, Table
from astropy.time import Time

from paperclip.imaging import read_preview
from paperclip.index import Index
from paperclip.models import load_encoder
from paperclip.results import COLUMNS

OUTPUT = Path(__file__).parents[1] / "paperclip" / "data" / "sample_index.lance"
NAMES = [
    "obs_id", "obs_collection", "instrument_name", "filters", "target_name",
    "target_classification", "s_ra", "s_dec", "t_min", "t_max", "proposal_id",
    "proposal_pi", "obs_title", "dataURI", "jpegURL",
]  # fmt: skip
INSTRUMENTS = {"NIRCam": "NIRCAM", "MIRI": "MIRI", "NIRISS": "NIRISS"}


def read_rows(path):
    """Return the rows of a CSV file, gzipped or not, as dictionaries."""
    csv.field_size_limit(sys.maxsize)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def product_name(uri):
    """Return the stem of a product: no folder, no suffix."""
    return uri.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def archive_rows(folder):
    """Return what the archive says of a product, by the stem of its name."""
    known = {}
    for row in read_rows(folder / "jwst_mast_latest.csv.gz"):
        facts = {
            "proposal_pi": row["proposal_pi"],
            "obs_title": row["obs_title"],
            "t_max": row["t_max"],
        }
        known.setdefault(product_name(row["dataURL"]), {}).update(facts)
    for row in read_rows(folder / "jwst_mast_images_with_classification.csv"):
        facts = {
            "target_classification": row["target_classification"],
            "obs_title": row["title"],
            "t_min": row["collected_from"],
            "t_max": row["collected_to"],
        }
        known.setdefault(product_name(row["jpeg"]), {}).update(facts)
    return known


def day(text):
    """Return a date of the archive as MJD, None if there is none."""
    return float(Time(text.strip()).mjd) if text and text.strip() else None


def number(text):
    """Return a number, None for an empty field."""
    return float(text) if text.strip() else None


def instruments(text):
    """Return the instruments of a picture with the archive's spelling."""
    names = [INSTRUMENTS.get(name) for name in text.split("+")]
    return ";".join(sorted(set(names))) if all(names) else None


def filters(text):
    """Return filter names as the archive writes them, without clear pupils."""
    names = [name.upper().removeprefix("CLEAR-") for name in text.split()]
    return ";".join(dict.fromkeys(names)) or None


def jwst_row(row, known, used):
    """Return the facts of one JWST preview, None if its products are all used."""
    products = [name.removesuffix(".fits") for name in row["fits_files"].split()]
    free = [name for name in products if name not in used]
    if products and not free:
        return None
    archive = {}
    for name in products:  # what is known of any product of the picture
        for key, value in known.get(name, {}).items():
            archive.setdefault(key, value)
    facts = {
        "obs_collection": "JWST",
        "instrument_name": instruments(row["instrument"]),
        "filters": filters(row["filters"]),
        "target_name": row["object_name"],
        "target_classification": archive.get("target_classification") or row["labels"],
        "s_ra": number(row["ra_deg"]),
        "s_dec": number(row["dec_deg"]),
        "t_min": day(archive.get("t_min", "")),
        "t_max": day(archive.get("t_max", "")),
        "proposal_id": row["proposal_id"].split(".")[0],
        "proposal_pi": archive.get("proposal_pi") or row["pi"],
        "obs_title": archive.get("obs_title") or row["title"],
    }
    if free:
        used.add(free[0])
        facts["obs_id"] = free[0].removesuffix("_i2d")
        facts["dataURI"] = f"mast:JWST/product/{free[0]}.fits"
        facts["jpegURL"] = f"mast:JWST/product/{free[0]}.jpg"
    else:
        facts["obs_id"] = Path(row["file"]).stem
    return facts


def hst_row(row):
    """Return the facts of one HST preview; most have no observation id."""
    stem = Path(row["file"]).stem
    return {
        "obs_id": re.sub(r"^(hst_\d{3})_p\d+$", r"\1", stem),
        "obs_collection": "HST",
        "instrument_name": "ACS/WFC" if "ACS" in row["instrument"] else None,
        "target_classification": None,
        "proposal_id": row["proposal_id"].split(".")[0],
    }


def gather(data):
    """Return the rows of the index and the path of the picture of each."""
    rows, paths = [], []
    known = archive_rows(data / "proposals")
    used = set()
    for folder in ("jwst_previews", "hst_previews"):
        for row in read_rows(data / folder / "manifest.csv"):
            if row["shippable"] != "yes":
                continue
            facts = jwst_row(row, known, used) if folder[0] == "j" else hst_row(row)
            if facts is not None:
                rows.append(facts)
                paths.append(data / folder / row["file"])
    return rows, paths


def as_table(rows):
    """Return a table with the types of the columns, missing values masked."""
    table = Table()
    for name in NAMES:
        values = [row.get(name) or None for row in rows]
        blank = [value is None for value in values]
        fill = "" if COLUMNS[name].dtype == "str" else 0.0
        column = [fill if value is None else value for value in values]
        table[name] = MaskedColumn(column, mask=blank, name=name)
    return table


def main():
    """Read the arguments, encode the pictures, write the index."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of previews")
    parser.add_argument("--model", default="builtin", help="model, as of load_encoder")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()

    encoder = load_encoder(options.model)
    rows, paths = gather(options.data)
    vectors = encoder.encode_images(paths, load=read_preview)
    if options.output.exists():  # old versions of a packaged index are of no use
        shutil.rmtree(options.output)
    index = Index.create(
        options.output,
        fingerprint=encoder.fingerprint,
        dimension=encoder.dimension,
        model=str(options.model),
    )
    index.append(as_table(rows), vectors)
    (options.output / ".paperclip-lock").unlink(missing_ok=True)
    print(f"{len(index)} rows in {options.output}")


if __name__ == "__main__":
    main()
