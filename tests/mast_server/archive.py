# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What an archive holds: rows of observations and products, and files."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from .columns import OBSERVATION_FIELDS, PRODUCT_FIELDS

__all__ = ["Archive", "BigProducts", "big_products"]


@dataclass
class Archive:
    """
    Everything that the server knows.

    Attributes
    ----------
    observations : list of dict
        CAOM rows; a field that is not given is null.
    products : sequence of dict
        Rows of products. ``parent_obsid`` (or ``obsID``) says of which
        observation.
    files : dict
        Data URI to bytes, a path, or a function that returns bytes.
    names : dict
        Object name to (ra, dec) in degrees.
    catalogue : bytes
        The proposal abstracts of HST.
    programmes : dict
        (``"HST"`` or ``"JWST"``, proposal) to the bytes of its file.
    not_in_cloud : set of str
        Data URIs that the public copy lacks.
    exclusive : set of str
        Data URIs that are answered with status 401.
    catalogue_page : bytes or None
        The page that links to the catalogue; None for a plain one.
    """

    observations: list = field(default_factory=list)
    products: list = field(default_factory=list)
    files: dict = field(default_factory=dict)
    names: dict = field(default_factory=dict)
    catalogue: bytes = b""
    programmes: dict = field(default_factory=dict)
    not_in_cloud: set = field(default_factory=set)
    exclusive: set = field(default_factory=set)
    catalogue_page: bytes | None = None

    def content(self, uri):
        """Return the bytes of a file, or None."""
        found = self.files.get(uri)
        if found is None or isinstance(found, bytes):
            return found
        return found.read_bytes() if isinstance(found, Path) else found()

    def products_of(self, obsids):
        """Return the products of observations, in the order of the archive."""
        wanted = {str(obsid) for obsid in obsids}
        if hasattr(self.products, "of"):
            return self.products.of(wanted)
        return [
            row
            for row in self.products
            if str(row.get("parent_obsid", row.get("obsID"))) in wanted
        ]

    def find(self, filters, position=None):
        """Return the rows of observations that a request asks for."""
        rows = [
            row for row in self.observations if all(_passes(row, f) for f in filters)
        ]
        if position is None:
            return rows
        ra, dec, radius = position
        found = []
        for row in rows:
            if row.get("s_ra") is None or row.get("s_dec") is None:
                continue
            away = _separation(ra, dec, row["s_ra"], row["s_dec"])
            if away <= radius + _extent(row):
                found.append(row | {"distance": away * 3600})
        return found

    def cloud_path(self, uri):
        """Return where the public copy has a file, or None."""
        if uri not in self.files or uri in self.not_in_cloud:
            return None
        scheme, _, name = uri.partition(":")
        mission, _, name = name.partition("/")
        return f"/{mission.lower()}/public/{scheme}/{name}"

    def cloud_uri(self, path):
        """Return the data URI that a path of the public copy stands for."""
        return next((uri for uri in self.files if self.cloud_path(uri) == path), None)

    def fields(self, service):
        """Return the columns of a service as (name, type)."""
        return PRODUCT_FIELDS if service.endswith("Products") else OBSERVATION_FIELDS


def _passes(row, condition):
    """Tell whether a row meets one entry of a Mashup filter list."""
    name = condition["paramName"].lower()
    value = next((v for k, v in row.items() if k.lower() == name), None)
    wanted = condition.get("values", [])
    if value is None:
        return False
    if wanted and isinstance(wanted[0], dict):
        return any(r["min"] <= value <= r["max"] for r in wanted)
    text = str(value).casefold()
    pieces = {text}
    if separator := condition.get("separator"):
        pieces |= {piece.strip() for piece in text.split(separator)}
    if pieces & {str(item).casefold() for item in wanted}:
        return True
    pattern = condition.get("freeText", "").casefold()
    return bool(pattern) and _like(text, pattern.split("%"))


def _like(text, parts):
    """Tell whether a text fits a pattern with ``%``, given as its parts."""
    if len(parts) == 1:
        return text == parts[0]
    if not (text.startswith(parts[0]) and text.endswith(parts[-1])):
        return False
    place = len(parts[0])
    for part in parts[1:-1]:
        place = text.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return place + len(parts[-1]) <= len(text)


def _separation(ra1, dec1, ra2, dec2):
    """Return the angle between two positions; everything in degrees."""
    d1, d2 = math.radians(dec1), math.radians(dec2)
    half = math.sin((d1 - d2) / 2) ** 2
    half += math.cos(d1) * math.cos(d2) * math.sin(math.radians(ra1 - ra2) / 2) ** 2
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(half))))


def _extent(row):
    """Return the radius in degrees of a circle around a footprint."""
    words = (row.get("s_region") or "").split()
    numbers = []
    for word in words:
        try:
            numbers.append(float(word))
        except ValueError:
            continue
    if words[:1] == ["CIRCLE"] and len(numbers) == 3:
        return numbers[2]
    corners = zip(numbers[::2], numbers[1::2], strict=False)
    away = [_separation(row["s_ra"], row["s_dec"], *corner) for corner in corners]
    return max(away, default=0.0)


class BigProducts:
    """
    Very many products, made when they are asked for.

    Attributes
    ----------
    obsids : list of str
        The observations that they belong to.
    """

    def __init__(self, n, per_observation):
        self.n = n
        self.per_observation = per_observation
        self.obsids = [str(900_000_000 + i) for i in range(-(-n // per_observation))]

    def __len__(self):
        return self.n

    def of(self, wanted):
        """Return the products of some observations."""
        numbers = []
        for place, obsid in enumerate(self.obsids):
            if obsid in wanted:
                first = place * self.per_observation
                numbers.append(range(first, min(first + self.per_observation, self.n)))
        return _Selection(self, numbers)

    def row(self, number):
        """Return one product; every 50th is a preview."""
        obsid = self.obsids[number // self.per_observation]
        preview = number % 50 == 0
        name = f"hst_99999_{number:07d}_wfc3_uvis_total_drc"
        name += ".jpg" if preview else ".fits"
        return {
            "obsID": int(obsid),
            "parent_obsid": int(obsid),
            "obs_collection": "HST",
            "dataproduct_type": "image",
            "obs_id": f"hst_99999_{obsid}_total",
            "description": "Preview-Full" if preview else "HAP drizzled image",
            "type": "S",
            "dataURI": f"mast:HST/product/{name}",
            "productType": "PREVIEW" if preview else "SCIENCE",
            "productGroupDescription": None,
            "productSubGroupDescription": "DRC",
            "productDocumentationURL": None,
            "project": "HAP",
            "prvversion": "1.0",
            "proposal_id": "99999",
            "productFilename": name,
            "size": 100_000 + number,
            "dataRights": "PUBLIC",
            "calib_level": 3,
            "filters": "detection",
        }


class _Selection:
    """A sequence of rows that makes only those that are looked at."""

    def __init__(self, products, ranges):
        self.products = products
        self.ranges = ranges
        self.length = sum(len(part) for part in ranges)

    def __len__(self):
        return self.length

    def __getitem__(self, places):
        start, stop, _ = places.indices(self.length)
        rows, seen = [], 0
        for part in self.ranges:
            low, high = max(start - seen, 0), min(stop - seen, len(part))
            rows += [self.products.row(i) for i in part[low:high]]
            seen += len(part)
        return rows


def big_products(n=300_000, *, per_observation=1000):
    """Return very many products, every 50th a preview, as one archive's list."""
    return BigProducts(n, per_observation)
