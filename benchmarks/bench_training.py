# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Compare the training loop with open_clip_train's, and with the bare model.

All three train the same architecture on the same JPEG files, captions, batch size
and threads, in turns in one process:

``ours``
    The steps of `paperclip.training.finetune`: reading, augmentation, captions,
    tokens, loss with several right answers, clipping, AdamW, records.
``open_clip``
    ``open_clip_train.train.train_one_epoch`` behind a `torch.utils.data.DataLoader`
    with open_clip's own training transform and tokenizer.
``bare``
    Forward, softmax loss, backward and AdamW on tensors that are ready.

Both figures are samples per second: ours / open_clip should be at least 1.0 and
ours / bare at least 0.9.
"""

import argparse
import logging
import tempfile
import types
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from timing import interleave, report

from paperclip.models.hub import resolve
from paperclip.training import Pair, PairList, TrainingConfig
from paperclip.training._run import Run

WORDS = ("deep", "image", "spiral", "galaxy", "dust", "lanes", "young", "star")


def make_pairs(folder, n):
    """Write JPEG files of the size of archive previews, and their captions."""
    rng = np.random.default_rng(0)
    pairs = []
    for i in range(n):
        small = rng.integers(0, 256, (38, 38, 3), dtype=np.uint8)
        path = Path(folder) / f"{i:04d}.jpg"
        image = Image.fromarray(small).resize((512, 512), Image.Resampling.BICUBIC)
        image.save(path, quality=90)
        text = " ".join(rng.choice(WORDS, 45)) + f" {i}."
        pairs.append(
            Pair(
                key=path.stem, picture=path, texts={"abstract": text}, group=f"HST:{i}"
            )
        )
    return PairList(pairs)


def our_steps(pairs, options, folder):
    """Return a call that makes some steps of a run, and its model."""
    config = TrainingConfig.recipe().replace(
        {
            "model.base": str(options.model),
            "model.image_size": options.size,
            "optim.batch_size": options.batch,
            "optim.steps": 10**6,
            "run.output": str(folder / "run"),
            "run.workers": options.workers,
            "run.device": "cpu",
            "model.ema": 0.0 if options.plain else 0.998,
        }
    )
    run = Run(config, pairs, None, resume=False)
    run.open()
    stream = run.batches()

    def call():
        for _ in range(options.steps):
            figures = run.update(next(stream))
            run.record(figures | {"seconds": 1.0})

    return call, run


def their_model(options, run):
    """Return the same model as open_clip builds it."""
    return open_clip.create_model(
        f"local-dir:{run.model.checked.directory}",
        precision="fp32",
        force_image_size=options.size,
    )


def theirs(pairs, options, run):
    """Return a call that trains one epoch of the same length with open_clip_train."""
    from open_clip_train.train import train_one_epoch

    checked = run.model.checked
    model = their_model(options, run)
    model.output_dict = True
    size = run.model.preprocessing.size[0]
    transform = open_clip.image_transform(
        size,
        is_train=True,
        mean=run.model.preprocessing.mean,
        std=run.model.preprocessing.std,
        aug_cfg={"scale": (0.5, 1.0)},
    )
    tokenizer = open_clip.get_tokenizer(f"local-dir:{checked.directory}")

    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return options.steps * options.batch

        def __getitem__(self, i):
            pair = pairs[i % len(pairs)]
            image = transform(Image.open(pair.picture))
            return image, tokenizer([pair.texts["abstract"][0]])[0]

    loader = torch.utils.data.DataLoader(
        Pictures(),
        options.batch,
        shuffle=True,
        num_workers=options.workers,
        drop_last=True,
        persistent_workers=options.workers > 0,
    )
    loader.num_batches, loader.num_samples = (
        options.steps,
        options.steps * options.batch,
    )
    info = types.SimpleNamespace(dataloader=loader, set_epoch=lambda epoch: None)
    arguments = types.SimpleNamespace(
        device="cpu",
        precision="fp32",
        distill=False,
        accum_freq=1,
        skip_scheduler=True,
        grad_clip_norm=1.0,
        horovod=False,
        rank=0,
        local_rank=0,
        log_local=False,
        log_every_n_steps=10**9,
        batch_size=options.batch,
        world_size=1,
        wandb=False,
    )
    loss = open_clip.ClipLoss()
    optimizer = adam(model)

    def call():
        train_one_epoch(
            model, {"train": info}, loss, 0, optimizer, None, None, None, arguments
        )

    return call


def bare(options, run):
    """Return a call that trains on tensors that are ready."""
    model = their_model(options, run).train()
    batch = next(run.batches())
    images = torch.randn(len(batch.frames), 3, *batch.frames.shape[1:3])
    ids = torch.zeros(len(images), model.context_length, dtype=torch.long)
    ids[:, : batch.ids.shape[1]] = torch.from_numpy(batch.ids)
    loss, optimizer = open_clip.ClipLoss(), adam(model)
    if options.channels_last:
        model.visual.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)

    def call():
        for _ in range(options.steps):
            optimizer.zero_grad()
            out = model(images, ids)
            out = (
                out
                if isinstance(out, dict)
                else dict(
                    zip(
                        ("image_features", "text_features", "logit_scale"),
                        out,
                        strict=False,
                    )
                )
            )
            loss(**out).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    return call


def adam(model):
    """Make the optimizer that open_clip_train makes."""
    return torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-6, betas=(0.9, 0.98)
    )


def main():
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, help="side of the pictures in pixels")
    parser.add_argument("--threads", type=int, help="of the model")
    parser.add_argument("--steps", type=int, default=3, help="steps of each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--plain", action="store_true", help="no running average")
    parser.add_argument("--channels-last", action="store_true", help="for bare, too")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    options.model = resolve(options.model).directory
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        pairs = make_pairs(folder, options.pairs)
        ours, run = our_steps(pairs, options, folder)
        calls = {
            "ours": ours,
            "open_clip_train": theirs(pairs, options, run),
            "bare, tensors ready": bare(options, run),
        }
        seconds = interleave(calls, options.rounds)
    n = options.steps * options.batch
    report(f"{n} pairs, {torch.get_num_threads()} threads", seconds, bare="ours")
    rates = {name: n / np.median(values) for name, values in seconds.items()}
    for name, rate in rates.items():
        print(f"  {name:24s} {rate:8.1f} samples/s")
    for name, aim in (("open_clip_train", 1.0), ("bare, tensors ready", 0.9)):
        ratio = rates["ours"] / rates[name]
        verdict = "met" if ratio >= aim else "MISSED"
        print(f"ours / {name}: {ratio:.3f}  aim {aim}: {verdict}")


if __name__ == "__main__":
    main()
