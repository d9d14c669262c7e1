# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Make ``paperclip/data/vocabulary.ecsv``, the default terms of ``describe()``.

The terms are our own and stand in ``vocabulary.csv`` beside this script:
``term``, ``kind`` and ``uat_label``, the name of the nearest concept of the
Unified Astronomy Thesaurus (empty where there is none). The script looks the
label up in the thesaurus and keeps only the number of the concept, which is a
fact; no text of the thesaurus (CC BY-SA 3.0, https://astrothesaurus.org) goes
into the package.

Usage::

    python tools/make_vocabulary.py --uat UAT_list.json [--check]

``UAT_list.json`` is published at https://github.com/astrothesaurus/UAT.
"""

import argparse
import csv
import difflib
import json
import sys
from pathlib import Path

from astropy.table import MaskedColumn, Table

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "vocabulary.csv"
TARGET = HERE.parent / "paperclip" / "data" / "vocabulary.ecsv"
KINDS = ("object or phenomenon", "science use")


def read_terms(path=SOURCE):
    """Return the curated rows as dictionaries, checked for form."""
    with Path(path).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    seen = set()
    for row in rows:
        if row["term"] != " ".join(row["term"].split()) or not row["term"]:
            msg = f"blank or padded term: {row}"
            raise SystemExit(msg)
        if row["term"].casefold() in seen:
            msg = f"repeated term: {row}"
            raise SystemExit(msg)
        if row["kind"] not in KINDS:
            msg = f"kind must be one of {KINDS}: {row}"
            raise SystemExit(msg)
        seen.add(row["term"].casefold())
    return rows


def read_concepts(path):
    """Return {label: number} of the concepts that are not deprecated."""
    concepts = json.loads(Path(path).read_text(encoding="utf-8"))
    return {
        concept["name"].strip(): int(concept["uri"].rsplit("/", 1)[1])
        for concept in concepts
        if concept.get("status") != "deprecated"
    }


def make_table(rows, concepts):
    """Return the packaged table; stop at labels that do not exist."""
    ids = []
    for row in rows:
        label = row["uat_label"]
        if label and label not in concepts:
            near = difflib.get_close_matches(label, concepts, n=3)
            msg = f"{label!r} ({row['term']}) is no concept; near: {near}"
            raise SystemExit(msg)
        ids.append(concepts.get(label, -1))
    table = Table(
        {
            "term": [row["term"] for row in rows],
            "kind": [row["kind"] for row in rows],
            "source": ["paperclip"] * len(rows),
            "uat_id": MaskedColumn(ids, mask=[number < 0 for number in ids]),
        }
    )
    table.meta["comments"] = [
        "Made by tools/make_vocabulary.py from tools/vocabulary.csv.",
        "uat_id: number of the nearest concept of the Unified Astronomy "
        "Thesaurus 5.1, http://astrothesaurus.org/uat/<uat_id>",
    ]
    return table


def main(argv=None):
    """Write the table, or compare it with the file that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--uat", required=True, help="UAT_list.json")
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    args = parser.parse_args(argv)
    table = make_table(read_terms(), read_concepts(args.uat))
    if args.check:
        old = Table.read(TARGET, format="ascii.ecsv")
        same = old.colnames == table.colnames and all(
            list(old[name].astype(str)) == list(table[name].astype(str))
            for name in table.colnames
        )
        print("up to date" if same else f"{TARGET.name} differs: run without --check")
        return 0 if same else 1
    table.write(TARGET, format="ascii.ecsv", overwrite=True)
    linked = len(table) - table["uat_id"].mask.sum()
    print(f"{len(table)} terms, {linked} with a concept -> {TARGET.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
