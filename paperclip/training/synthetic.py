# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Made-up pictures with texts that belong to them, to try things out."""

import numpy as np

from paperclip.utils.checks import whole_number

from .pairs import Pair, PairList

__all__ = ["synthetic_pairs"]

_COLOURS = {
    "red": (1.0, 0.35, 0.25),
    "blue": (0.35, 0.55, 1.0),
    "green": (0.4, 1.0, 0.45),
    "golden": (1.0, 0.85, 0.4),
}
_KINDS = {
    "spiral galaxy": "the winding of spiral arms and where their stars are born",
    "elliptical galaxy": "smooth light and the merger history of old galaxies",
    "edge-on galaxy": "thin disks seen from the side and the height of their stars",
    "globular cluster": "dense clusters and the ages of their oldest stars",
    "ring nebula": "shells of gas that dying stars have thrown off",
    "bipolar nebula": "two lobes of gas and the binary star between them",
    "comet": "the tails of comets and how dust leaves them",
    "galaxy pair": "two interacting galaxies and the tides between them",
}
_FIELDS = {
    "crowded": "Many foreground stars surround the targets.",
    "empty": "The fields lie far from the plane of the Galaxy.",
}
_OPENINGS = (
    "We propose to image {kinds} of {colour} colour.",
    "This programme takes deep pictures of {colour} {kinds}.",
    "{Colour} {kinds} are the aim of these observations.",
)
_PER_PROGRAMME = 4


def synthetic_pairs(n, seed=0, *, size=96):
    """
    Draw simple pictures of the sky and write proposals for them.

    Every four pictures share a programme: a kind of object, its colour, and
    whether there are stars around it. A model can learn all three from the
    pictures, so that a run on a few hundred of them shows whether training
    works; they teach nothing about real telescopes.

    Parameters
    ----------
    n : int
        Number of pairs, at least 8.
    seed : int, optional
        The same seed draws the same pictures.
    size : int, optional
        Side of the pictures in pixels, from 32.

    Returns
    -------
    pairs : `PairList`
        Pictures as uint8 of shape (size, size, 3) with the sources "abstract"
        and "title".

    Raises
    ------
    InvalidQueryError
        If a number is out of range.

    Examples
    --------
    >>> from paperclip.training import synthetic_pairs
    >>> pairs = synthetic_pairs(8, seed=1)
    >>> pairs
    <PairList: 8 pairs of 2 groups>
    """
    n = whole_number("n", n, 8, 100_000)
    size = whole_number("size", size, 32, 1024)
    seed = whole_number("seed", seed, 0)
    rng = np.random.default_rng([seed, 0x5059])
    subjects = [(k, c, f) for k in _KINDS for c in _COLOURS for f in _FIELDS]
    order = []
    while len(order) * _PER_PROGRAMME < n:
        order += [subjects[i] for i in rng.permutation(len(subjects))]
    pairs = []
    for number in range(n):
        programme = number // _PER_PROGRAMME
        subject = order[programme]
        pairs.append(
            Pair(
                key=f"synthetic-{number:05d}",
                picture=_draw(*subject, size, np.random.default_rng([seed, number])),
                texts=_texts(*subject, programme),
                group=f"synthetic:{programme + 1:04d}",
                meta={
                    "obs_id": f"synthetic-{number:05d}",
                    "instrument_name": "SketchCam",
                    "proposal_id": f"{programme + 1:04d}",
                },
            )
        )
    return PairList(pairs)


def _texts(kind, colour, field, programme):
    kinds = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    kinds = "bipolar nebulae" if kind == "bipolar nebula" else kinds
    kinds = "ring nebulae" if kind == "ring nebula" else kinds
    opening = _OPENINGS[programme % len(_OPENINGS)].format(
        kinds=kinds, colour=colour, Colour=colour.capitalize()
    )
    abstract = f"{opening} The pictures will show {_KINDS[kind]}. {_FIELDS[field]}"
    stars = "among stars" if field == "crowded" else "in an empty field"
    return {"abstract": abstract, "title": f"A {colour} {kind} {stars}"}


def _draw(kind, colour, field, size, rng):
    """Return a uint8 picture of one object with noise and stars."""
    y, x = np.mgrid[0:size, 0:size] / (size - 1) * 2 - 1
    centre = rng.uniform(-0.2, 0.2, 2)
    angle, scale = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.25)
    u = ((x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)) / scale
    v = ((y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle)) / scale
    light = _SHAPES[kind](u, v, rng)
    picture = light[..., None] * np.array(_COLOURS[colour])
    picture += _stars(x, y, 40 if field == "crowded" else 3, rng)[..., None]
    picture += rng.normal(0.03, 0.02, picture.shape)
    return (255 * np.clip(picture, 0, 1) ** 0.8).astype(np.uint8)


def _stars(x, y, count, rng):
    light = np.zeros_like(x)
    for _ in range(count):
        place, flux = rng.uniform(-1, 1, 2), rng.uniform(0.3, 1)
        light += flux * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 5e-4)
    return light


def _spiral(u, v, rng):
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    sense = rng.choice([-1, 1])
    arms = np.cos(2 * angle + sense * 9 * np.log(radius + 0.05)) ** 4
    return np.exp(-radius / 0.3) * arms + np.exp(-((radius / 0.1) ** 2))


def _elliptical(u, v, rng):
    radius = np.hypot(u, v / rng.uniform(0.65, 0.95))
    return 1.2 * np.exp(-3 * radius**0.6)


def _edge_on(u, v, rng):
    disk = np.exp(-np.abs(u) / 0.35 - np.abs(v) / 0.04)
    return disk + 0.8 * np.exp(-np.hypot(u, v) / 0.1)


def _cluster(u, v, rng):
    light = np.zeros_like(u)
    for place in rng.normal(0, 0.22, (150, 2)):
        light += 0.6 * np.exp(-((u - place[0]) ** 2 + (v - place[1]) ** 2) / 6e-4)
    return light


def _ring(u, v, rng):
    radius = np.hypot(u, v / rng.uniform(0.8, 1.0))
    return np.exp(-(((radius - 0.45) / 0.09) ** 2)) + np.exp(-(radius**2) / 1e-3)


def _bipolar(u, v, rng):
    lobes = np.exp(-(((np.abs(u) - 0.35) / 0.2) ** 2) - (v / 0.16) ** 2)
    return 0.9 * lobes + np.exp(-(u**2 + v**2) / 1e-3)


def _comet(u, v, rng):
    behind = np.clip(u + 0.4, 0, None)
    tail = np.exp(-behind / 0.4 - (v / (0.04 + 0.25 * behind)) ** 2) * (u > -0.4)
    return 0.8 * tail + np.exp(-((u + 0.4) ** 2 + v**2) / 4e-3)


def _pair(u, v, rng):
    apart = rng.uniform(0.25, 0.4)
    one = np.exp(-np.hypot(u - apart, v) / 0.13)
    two = np.exp(-np.hypot(u + apart, v) / 0.13)
    bridge = 0.3 * np.exp(-((v / 0.05) ** 2)) * (np.abs(u) < apart)
    return one + two + bridge


_SHAPES = {
    "spiral galaxy": _spiral,
    "elliptical galaxy": _elliptical,
    "edge-on galaxy": _edge_on,
    "globular cluster": _cluster,
    "ring nebula": _ring,
    "bipolar nebula": _bipolar,
    "comet": _comet,
    "galaxy pair": _pair,
}
