# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pictures with their captions, and groups that must not be split."""

import csv
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SOURCES = ("jwst_previews", "hst_previews", "deep_sky", "esa_webb", "apod")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


@dataclass
class Pair:
    """One picture: where it is, what is said of it, what it belongs to."""

    path: Path
    source: str
    text: str
    captions: dict[str, list[str]] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    group: int = -1


def read_rows(path):
    """Return the rows of a CSV file as dictionaries."""
    csv.field_size_limit(sys.maxsize)
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def sentences(text):
    """Return the sentences of a text that say something."""
    text = re.sub(r"\s+", " ", text.strip())
    return [part for part in _SENTENCE.split(text) if len(part) > 15]


def _labels(row, source):
    """Return short captions from the columns of facts."""
    label = row["labels"].strip()
    if source == "jwst_previews" and label:
        parts = [part.strip().lower() for part in label.split(";") if part.strip()]
        joined = ", ".join(parts)
        name = f"{row['object_name']}: {joined}, observed with JWST {row['instrument']}"
        return [joined, parts[-1], name]
    if source == "hst_previews":
        found = [label.lower()] if label else []
        if row["object_name"]:
            found.append(row["object_name"])
            found += [part.strip() for part in row["object_name"].split(",")]
        found += [row["science_use_cases"]] if row["science_use_cases"] else []
        queries = row["retrieved_by_query"].split("|")
        return found + [query.strip() for query in queries if query.strip()]
    if source == "deep_sky" and label:
        found = [label]
        if row["title"]:
            found.append(f"{row['title']}, a {label}")
        if row["hubble_type"]:
            found.append(f"{label}, Hubble type {row['hubble_type']}")
        return found
    return [label.replace(";", ",")] if source == "apod" and label else []


def _keys(row, source):
    """Return what ties a picture to others: programme, text, object."""
    keys = []
    if row["proposal_id"]:
        keys.append(f"{source} {row['proposal_id'].split('.')[0]}")
    if row["text"].strip():
        keys.append(f"text {row['text'].strip()[:200]}")
    if source in ("deep_sky", "esa_webb", "apod"):
        for name in row["object_name"].split(";"):
            name = re.sub(r"[^a-z0-9]", "", re.split(r"[,(]", name.lower())[0])
            if len(name) > 2:
                keys.append(f"object {name}")
    return keys


def _group(pairs):
    """Give pictures that share any key the same group (union-find)."""
    parent = list(range(len(pairs)))

    def find(item):
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    seen = {}
    for number, pair in enumerate(pairs):
        for key in pair.keys:
            if key in seen:
                parent[find(number)] = find(seen[key])
            else:
                seen[key] = number
    for number, pair in enumerate(pairs):
        pair.group = find(number)


def load_pairs(data):
    """Return the shippable pictures of a folder with captions and groups."""
    pairs = []
    for source in SOURCES:
        for row in read_rows(data / source / "manifest.csv"):
            if row["shippable"] != "yes":
                continue
            text = row["text"].strip()
            captions = {
                "full": [text] if text else [],
                "sentence": sentences(text) if len(text) > 200 else [],
                "title": [row["title"]]
                if row["title"] and source != "deep_sky"
                else [],
                "label": _labels(row, source),
            }
            captions = {kind: found for kind, found in captions.items() if found}
            path = data / source / row["file"]
            pairs.append(Pair(path, source, text, captions, _keys(row, source)))
    _group(pairs)
    return pairs


def make_folds(pairs, count=5, seed=0):
    """Return a fold for each picture; a group lies in one, sources are balanced."""
    rng = np.random.default_rng(seed)
    sources = np.array([pair.source for pair in pairs])
    groups = np.array([pair.group for pair in pairs])
    folds = np.zeros(len(pairs), dtype=int)
    for source in SOURCES:
        names, sizes = np.unique(groups[sources == source], return_counts=True)
        load = np.zeros(count)
        order = rng.permutation(len(names))
        for place in order[np.argsort(-sizes[order], kind="stable")]:
            fold = np.lexsort((rng.random(count), load))[0]
            load[fold] += min(sizes[place], 6)  # a large programme counts little
            folds[groups == names[place]] = fold
    return folds
