# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
The controls of training: which way of training finds how much, in one table.

Run it in an environment with the package::

    python tools/controls.py --shared FOLDER --work SCRATCH --steps 600 --size 224
    python tools/controls.py --data DATASET --work SCRATCH

Each control is trained with several seeds. A finished cell is kept in ``SCRATCH`` and
not repeated, an interrupted one goes on from its last checkpoint, so the same command
can be stopped and started at will. ``controls.md`` and ``controls.rst`` are written
after every cell.

With ``--shared`` the pictures of the folder are dealt out in five folds, whole groups
(programme, text, object) together; seed *n* is tested on fold *n* and chooses its step
on the next one. With ``--data`` all seeds have the splits of the data set.

The base model is the built-in one with new random projections behind its towers, as its
own have seen the pictures. The image tower has ImageNet weights; the text tower has read
texts only.
"""

import argparse
import hashlib
import itertools
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CONTROLS = {
    "shuffled": ("default", {"run.shuffle_pairs": True}),
    "base": None,
    "scratch": (
        "default",
        {
            "model.random_image": True,
            "model.random_text": True,
            "model.layer_decay": 1.0,
            "optim.lr": 5e-4,  # of the scale; new weights have optim.head_lr, 1e-3
        },
    ),
    "head": ("head", {}),
    "paper": ("paper", {}),
    "default": ("default", {}),
}
TITLES = {
    "shuffled": "shuffled pairs, default recipe",
    "base": "base, projections untrained",
    "scratch": "from scratch",
    "head": "heads only",
    "paper": 'recipe "paper"',
    "default": 'recipe "default"',
}
ORDER = ("shuffled", "base", "scratch", "head", "default")
_DRAWS = 2000
_BATCH = 64


@dataclass
class Parts:
    """What one seed trains on, chooses its step on, and is tested on."""

    train: object
    validation: object
    test: object


# ---- data


def shared_parts(folder, seed, most):
    """Return the real pairs of a folder, dealt out for one seed."""
    sys.path.insert(0, str(Path(__file__).parent / "builtin_v2"))
    import pairs as real

    from paperclip.training import Pair, PairList

    found = real.load_pairs(folder)
    folds = real.make_folds(found)
    chosen, kept = [], []
    for number, (pair, fold) in enumerate(zip(found, folds, strict=True)):
        if not pair.text:
            continue
        title = pair.captions.get("title", [])
        chosen.append(
            Pair(
                key=f"{pair.source}/{pair.path.name}-{number}",
                picture=pair.path,
                texts={"abstract": [pair.text], "title": title},
                group=f"{pair.source} {pair.group}",
                meta={"source": pair.source},
            )
        )
        kept.append(fold)
    every, folds = PairList(chosen), np.array(kept)
    test, validation = seed % 5, (seed + 1) % 5
    masks = (
        (folds != test) & (folds != validation),
        folds == validation,
        folds == test,
    )
    return Parts(*(every.select(mask).limit_groups(most) for mask in masks))


def dataset_parts(place, most):
    """Return the splits of a data set or table."""
    from paperclip.training import read_pairs

    splits = ("train", "validation", "test")
    return Parts(*(read_pairs(place, split).limit_groups(most) for split in splits))


# ---- models


def untrained_base(folder, base, seed):
    """Write a model with new random projections; return its directory."""
    import torch
    from safetensors.torch import load_file, save_file

    from paperclip.models.hub import resolve
    from paperclip.models.verify import check_directory

    target = folder / f"base-{seed}"
    if (target / "open_clip_model.safetensors").is_file():
        return target
    source = check_directory(resolve(base).directory)
    tensors = load_file(source.weights)
    generator = torch.Generator().manual_seed(seed)
    renewed = []
    for name, tensor in tensors.items():
        ours = (
            "visual.head.",
            "visual.proj",
            "text.text_projection",
            "text_projection",
            "text.proj.",
        )
        if not name.startswith(ours):
            continue
        scale = 0.0 if name.endswith("bias") else tensor.shape[-1] ** -0.5
        tensors[name] = scale * torch.randn(tensor.shape, generator=generator)
        renewed.append(name)
    if not renewed:
        msg = f"{source.directory} has no projections that are known here"
        raise SystemExit(msg)
    tensors["logit_scale"] = torch.full_like(
        tensors["logit_scale"].float(), np.log(1 / 0.07)
    )
    target.mkdir(parents=True, exist_ok=True)
    for path in source.directory.iterdir():
        if path.name not in (source.weights.name, "checksums.json", "README.md"):
            (target / path.name).write_bytes(path.read_bytes())
    part = target / "part.safetensors"
    save_file(
        {k: v.contiguous() for k, v in tensors.items()}, part, metadata={"format": "pt"}
    )
    part.rename(target / "open_clip_model.safetensors")
    return target


def settings(name, seed, base, options):
    """Return the configuration of a cell; all see the same number of pictures."""
    from paperclip.training import TrainingConfig

    recipe, changes = CONTROLS[name]
    config = TrainingConfig.recipe(recipe)
    batch = (
        min(options.batch, config.optim.batch_size)
        if options.batch
        else config.optim.batch_size
    )
    steps = max(10, round(options.steps * _BATCH / batch))
    every = max(1, steps // options.evaluations)
    warmup = (
        round(0.1 * steps)
        if recipe == "paper"
        else min(config.optim.warmup, round(0.1 * steps))
    )
    common = {
        "model.base": str(base),
        "model.image_size": options.size,
        "optim.steps": steps,
        "optim.warmup": warmup,
        "optim.batch_size": batch,
        "run.seed": seed,
        "run.eval_every": every,
        "run.save_every": every,
        "run.patience": None,
        "run.device": options.device,
        "run.workers": options.workers,
    }
    return config.replace(common | changes).replace(*options.set)


def judge(model, pairs, device):
    """Return a figure for each test picture: is its text in the best tenth."""
    from paperclip.models import load_encoder
    from paperclip.training.loader import read_picture
    from paperclip.training.metrics import image_ranks

    encoder = load_encoder(model, device=device, precision="float32")
    pictures = encoder.encode_images(list(pairs), load=read_picture)
    said = [pair.texts["abstract"][0] for pair in pairs]
    texts = list(dict.fromkeys(said))
    vectors = encoder.encode_texts(texts)
    place = {text: number for number, text in enumerate(texts)}
    own = np.array([place[text] for text in said])
    kinds = np.array(
        [
            str(pair.meta.get("source") or pair.meta.get("obs_collection") or "all")
            for pair in pairs
        ]
    )
    hits = np.full(len(pairs), np.nan)
    for kind in np.unique(kinds):  # a text is looked for among those of its source
        rows = np.flatnonzero(kinds == kind)
        used, index = np.unique(own[rows], return_inverse=True)
        ranks, _, _ = image_ranks(pictures[rows], vectors[used], index)
        hits[rows] = ranks.within_fraction(0.1)
    return {"hits": hits, "source": kinds, "group": np.array(pairs.groups)}


# ---- cells


def run_cell(name, seed, parts, options):
    """Train and judge one cell, unless that is done; return its records."""
    from paperclip.training import finetune
    from paperclip.training._records import data_hash

    base = untrained_base(options.work / "models", options.base, seed)
    marks = [
        data_hash(getattr(parts, part)) for part in ("train", "validation", "test")
    ]
    config = None
    if CONTROLS[name] is not None:
        config = settings(name, seed, base, options)
        marks.append(config.hash)
    mark = hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:8]
    path = options.work / "cells" / f"{name}-{seed}-{mark}.npz"
    if not path.exists():
        start, model = time.monotonic(), base
        if config is not None:
            run = options.work / "runs" / f"{name}-{seed}-{mark}"
            lines = Log(options.work / "controls.log", f"{name} {seed}")
            result = finetune(
                config.replace({"run.output": str(run)}),
                pairs=parts.train,
                validation=parts.validation,
                callbacks=[lines],
            )
            model = result.model
        found = judge(model, parts.test, options.device)
        found["minutes"] = (time.monotonic() - start) / 60
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, **found)
        part.replace(path)
    with np.load(path) as file:
        return dict(file)


class Log:
    """Lines on stdout and in a file, at every evaluation."""

    def __init__(self, path, title):
        self.path, self.title = path, title

    def __call__(self, progress):
        """Write one line."""
        if not progress.metrics:
            return
        figures = ", ".join(f"{k} {v:.3f}" for k, v in progress.metrics.items())
        line = f"{self.title}: step {progress.step} of {progress.steps}, loss {progress.loss:.3f}, {figures}, {progress.seconds_left / 60:.1f} min left"
        print(line, flush=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


# ---- the table


def means(records, draws, names, source=None):
    """Return the mean over pictures, and that of each draw of groups."""
    totals = np.zeros((2, len(names)))
    place = {group: number for number, group in enumerate(names)}
    for found in records:
        rows = np.isfinite(found["hits"])
        if source is not None:
            rows &= found["source"] == source
        index = [place[group] for group in found["group"][rows]]
        np.add.at(totals[0], index, found["hits"][rows])
        np.add.at(totals[1], index, 1)
    drawn = draws @ totals.T  # sums of hits and of pictures
    with np.errstate(invalid="ignore"):
        return totals[0].sum() / totals[1].sum(), drawn[:, 0] / drawn[:, 1]


def make_table(cells):
    """Return headings, rows of texts, and lines of what follows from them."""
    every = [record for records in cells.values() for record in records]
    names = np.unique(np.concatenate([record["group"] for record in every]))
    sources = np.unique(np.concatenate([record["source"] for record in every]))
    rng = np.random.default_rng(0)
    # each draw counts every group as often as it was drawn
    draws = rng.multinomial(
        len(names), np.full(len(names), 1 / len(names)), _DRAWS
    ).astype(float)
    shown = [None] if len(sources) == 1 else [None, *sources]
    head = [
        "training",
        "seeds",
        *("all" if s is None else str(s) for s in shown),
        "minutes",
    ]
    rows, overall = [], {}
    for name, records in cells.items():
        row = [TITLES[name], str(len(records))]
        for source in shown:
            value, drawn = means(records, draws, names, source)
            low, high = np.nanpercentile(drawn, [2.5, 97.5])
            row.append(f"{value:.3f} ({low:.3f} to {high:.3f})")
            if source is None:
                overall[name] = value, drawn
        row.append(f"{np.mean([r['minutes'] for r in records]):.1f}")
        rows.append(row)
    notes = []
    for one, two in (
        ("default", "paper"),
        ("default", "head"),
        ("default", "shuffled"),
        ("head", "base"),
    ):
        if one in overall and two in overall:
            value = overall[one][0] - overall[two][0]
            low, high = np.percentile(overall[one][1] - overall[two][1], [2.5, 97.5])
            notes.append(
                f"{TITLES[one]} minus {TITLES[two]}: {value:+.3f} ({low:+.3f} to {high:+.3f})"
            )
    if all(name in overall for name in ORDER):
        values = [overall[name][0] for name in ORDER]
        kept = all(a < b for a, b in itertools.pairwise(values))
        notes.append(
            f"order {' < '.join(ORDER)}: {'as in the paper' if kept else 'NOT as in the paper'}"
        )
    return head, rows, notes


def write_table(cells, folder, title):
    """Write the table as Markdown and as reStructuredText."""
    head, rows, notes = make_table(cells)
    lines = [
        "| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)
    ]
    text = "\n".join([title, "", *lines, "", *(f"- {note}" for note in notes), ""])
    (folder / "controls.md").write_text(text, encoding="utf-8")
    lines = [".. list-table::", "    :header-rows: 1", ""]
    for row in (head, *rows):
        lines += [
            f"    {'*' if n == 0 else ' '} - {cell}" for n, cell in enumerate(row)
        ]
    rst = "\n".join([title, "", *lines, "", *(f"- {note}" for note in notes), ""])
    (folder / "controls.rst").write_text(rst, encoding="utf-8")
    return text


def parse(argv=None):
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", help="a data set, or a table of pairs")
    where.add_argument(
        "--shared", type=Path, help="folder of real pictures with manifests"
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--base", default="builtin")
    parser.add_argument(
        "--only", default=",".join(CONTROLS), help="controls, with commas"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--steps",
        type=int,
        default=600,
        help=f"steps of {_BATCH} pictures; others see as many pictures",
    )
    parser.add_argument(
        "--size", type=int, help="side of the pictures, that of the base by default"
    )
    parser.add_argument("--batch", type=int, help="largest batch")
    parser.add_argument("--most", type=int, default=20, help="pictures of a group")
    parser.add_argument("--evaluations", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for all trained cells",
    )
    options = parser.parse_args(argv)
    options.only = [name.strip() for name in options.only.split(",")]
    if unknown := [name for name in options.only if name not in CONTROLS]:
        parser.error(
            f"--only must be some of {', '.join(CONTROLS)}, got {', '.join(unknown)}"
        )
    return options


def main(argv=None):
    """Run the cells that are missing, and write the table."""
    options = parse(argv)
    options.work.mkdir(parents=True, exist_ok=True)
    cells, text = {}, ""
    for seed in range(options.seeds):
        if options.shared is None:
            parts = dataset_parts(options.data, options.most)
        else:
            parts = shared_parts(options.shared, seed, options.most)
        sizes = [len(part) for part in (parts.train, parts.validation, parts.test)]
        print(f"seed {seed}: {sizes} pairs to train, choose and test", flush=True)
        for name in options.only:
            cells.setdefault(name, []).append(run_cell(name, seed, parts, options))
            print(
                f"{name} {seed}: {np.nanmean(cells[name][-1]['hits']):.3f}", flush=True
            )
            size = "own" if options.size is None else options.size
            title = f"Top-10 % retrieval accuracy, 95 % intervals over groups; {options.steps} steps of {_BATCH}, size {size}."
            text = write_table(cells, options.work, title)
    print(text)
    return cells


if __name__ == "__main__":
    main()
