# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Two linear heads on the frozen towers, and what they reach on kept-back groups."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from paperclip.training import clamp_log_scale, positive_mask, softmax_loss
from paperclip.training.metrics import image_ranks

KINDS = {"full": 3, "sentence": 3, "title": 2, "label": 3}


@dataclass(frozen=True)
class Recipe:
    """Settings of a training of the heads."""

    steps: int = 300
    batch_size: int = 256
    rate: float = 2e-3
    text_rate: float = 0.3  # of ``rate``
    weight_decay: float = 0.05
    dropout: float = 0.5
    scale: float = 10.0
    plain: float = 0.5  # share of pictures that are shown unchanged
    members: int = 3  # trainings whose weights are averaged


class Heads(nn.Module):
    """Linear maps of picture features and text vectors into one space."""

    def __init__(self, mean, deviation, recipe):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.dropout = nn.Dropout(recipe.dropout)
        self.image = nn.Linear(len(mean), 384)
        self.text = nn.Linear(384, 384, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(np.log(recipe.scale)).float())
        nn.init.normal_(self.image.weight, std=0.01)
        nn.init.zeros_(self.image.bias)
        nn.init.eye_(self.text.weight)

    def images(self, features):
        """Return unit vectors of features, shape (n, 384)."""
        scaled = (features - self.mean) / self.deviation
        return normalize(self.image(self.dropout(scaled)), dim=-1)

    def texts(self, vectors):
        """Return unit vectors of text vectors, shape (n, 384)."""
        return normalize(self.text(vectors), dim=-1)


def train_once(features, texts, captions, groups, chosen, recipe, seed):
    """Return the heads of one training on the pictures ``chosen``."""
    torch.manual_seed(0)  # members start alike, so that their mean makes sense
    rng = np.random.default_rng(seed)
    first = features[0][chosen]
    heads = Heads(first.mean(0), first.std(0) + 1e-3, recipe)
    optimizer = torch.optim.AdamW(
        [
            {"params": heads.image.parameters(), "weight_decay": recipe.weight_decay},
            {"params": heads.text.parameters(), "weight_decay": 0.0},
            {"params": [heads.log_scale], "weight_decay": 0.0},
        ],
        fused=True,
    )
    rates = [recipe.rate, recipe.rate * recipe.text_rate, 1e-3]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=recipe.steps, pct_start=0.1
    )
    usable = np.array([number for number in chosen if captions[number]])
    _, inverse, sizes = np.unique(
        groups[usable], return_inverse=True, return_counts=True
    )
    chance = 1 / np.sqrt(sizes[inverse])  # a large programme counts less
    chance /= chance.sum()
    size = min(recipe.batch_size, len(usable) // 2)
    choices, borders = caption_table(captions)
    for _ in range(recipe.steps):
        drawn = rng.choice(usable, size=size, p=chance, replace=False)
        above = borders[drawn] < rng.random(size)[:, None]
        said = choices[drawn, above.sum(1)]
        changed = rng.integers(1, len(features), size)
        changed[rng.random(size) < recipe.plain] = 0
        image = heads.images(features[changed, drawn])
        text = heads.texts(texts[said])
        same = positive_mask(torch.from_numpy(groups[drawn]), torch.from_numpy(said))
        loss = softmax_loss(image, text, heads.log_scale, same)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        clamp_log_scale(heads.log_scale)
    return heads.eval()


def caption_table(captions):
    """
    Return captions of pictures in rows, and where the chance of each ends.

    The kind of a caption is drawn by `KINDS`, then one of that kind. Rows are filled
    with what is never drawn.
    """
    width = max(sum(map(len, kinds.values())) for kinds in captions)
    choices = np.zeros((len(captions), width), dtype=int)
    borders = np.ones((len(captions), width))
    for row, kinds in enumerate(captions):
        total = sum(KINDS[kind] for kind in kinds)
        found = [
            (c, KINDS[k] / total / len(own)) for k, own in kinds.items() for c in own
        ]
        for place, (caption, _) in enumerate(found):
            choices[row, place] = caption
        ends = np.cumsum([chance for _, chance in found])[:-1]
        borders[row, : len(ends)] = ends
    return choices, borders


def train(features, texts, captions, groups, chosen, recipe, *, seed=0):
    """Return the heads with the mean weights of several trainings."""
    members = [
        train_once(features, texts, captions, groups, chosen, recipe, [seed, member])
        for member in range(recipe.members)
    ]
    mean = members[0]
    states = [member.state_dict() for member in members]
    mean.load_state_dict(
        {name: sum(state[name] for state in states) / len(states) for name in states[0]}
    )
    return mean


def evaluate(heads, features, texts, pairs, full, chosen):
    """Return {source: list of (group, found, chance, number of texts)}."""
    with torch.inference_mode():
        image = heads.images(features[0]).numpy()
        text = heads.texts(texts).numpy()
    found = {}
    for source in dict.fromkeys(pair.source for pair in pairs):
        rows = [n for n in chosen if pairs[n].source == source and pairs[n].text]
        names, own = np.unique([full[n] for n in rows], return_inverse=True)
        ranks, _, _ = image_ranks(image[rows], text[names], own)
        hits = ranks.within_fraction(0.1)
        found[source] = [
            (pairs[n].group, float(hit), 0.1, len(names))
            for n, hit in zip(rows, hits, strict=True)
        ]
    return found


def macro(records):
    """Return the mean over groups of the mean of their hits."""
    groups = np.array([record[0] for record in records])
    hits = np.array([record[1] for record in records], dtype=float)
    _, inverse = np.unique(groups, return_inverse=True)
    return (np.bincount(inverse, hits) / np.bincount(inverse)).mean()


def interval(records, *, seed=0, count=2000):
    """Return the mean of hits and its 95 % interval, by bootstrap over groups."""
    groups = np.array([record[0] for record in records])
    hits = np.array([record[1] for record in records], dtype=float)
    names, inverse = np.unique(groups, return_inverse=True)
    total = np.bincount(inverse, hits)
    size = np.bincount(inverse)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(names), size=(count, len(names)))
    means = total[drawn].sum(1) / size[drawn].sum(1)
    return hits.mean(), *np.percentile(means, [2.5, 97.5])
