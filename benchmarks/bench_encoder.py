# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Compare the encoder with the bare model, interleaved in one process.

1. Pictures: ``encode_images`` from JPEG files against the image tower alone on
   tensors that are ready, with the same number format, batch and threads.
2. Texts: a warm single ``encode_texts`` against ``model.encode_text`` on ids that
   are ready, and against the tokenizer plus ``model.encode_text``.
3. Number formats: cosine between float32 and the chosen format, and between
   batches and single pictures.

The wall time of every pass is printed together with the processor time of all
threads; on a busy machine the second is the one to trust.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image

from paperclip.exceptions import ModelNotFoundError
from paperclip.models import load_encoder


def make_pictures(folder, n):
    """Write JPEG files of the size of archive previews."""
    rng = np.random.default_rng(0)
    for i in range(n):
        small = rng.integers(0, 256, (38, 63, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((500, 300), Image.Resampling.BICUBIC)
        image.save(Path(folder) / f"{i:04d}.jpg", quality=90)


def clock(call):
    """Return seconds of wall and of processor time of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(title, ours, bare, repeats, unit):
    """Print medians of interleaved runs and their ratio."""
    ours(), bare()
    times = {"ours": [], "bare": []}
    for _ in range(repeats):
        times["bare"].append(clock(bare))
        times["ours"].append(clock(ours))
    for i, kind in enumerate(("wall", "processor")):
        bare_time = statistics.median(t[i] for t in times["bare"])
        ours_time = statistics.median(t[i] for t in times["ours"])
        print(
            f"{title}, {kind}: ours {1e3 * ours_time / unit:.2f} ms, bare "
            f"{1e3 * bare_time / unit:.2f} ms, bare/ours {bare_time / ours_time:.3f}, "
            f"ours/bare {ours_time / bare_time:.3f}"
        )


def bench_images(encoder, paths, batch, repeats):
    """Compare pictures from files with ready tensors."""
    frames = np.stack([encoder.prepare(Image.open(path)) for path in paths])
    with torch.inference_mode():
        ready = [
            encoder.to_tensor(frames[i : i + batch])
            for i in range(0, len(frames), batch)
        ]

    def bare():
        with torch.inference_mode():
            for tensor in ready:
                encoder.model.encode_image(tensor)

    def ours():
        encoder.encode_images(paths, load=Image.open, batch_size=batch)

    compare("one picture", ours, bare, repeats, len(paths))
    image = Image.open(paths[0])
    image.load()
    seconds = [clock(lambda: encoder.prepare(image))[1] for _ in range(50)]
    print(f"prepare(): {1e3 * statistics.median(seconds):.2f} ms processor time")


def bench_texts(encoder, repeats):
    """Compare a single warm query with the bare text tower."""
    text = ["a face-on spiral galaxy with dust lanes"]
    ids = torch.tensor([encoder._reader.ids(text[0])])
    if not encoder._trim:
        ids = open_clip.tokenize(text, context_length=encoder.context_length)

    def bare():
        with torch.inference_mode():
            for _ in range(20):
                encoder._texts(ids)

    def padded():
        with torch.inference_mode():
            tokens = open_clip.tokenize(text, context_length=encoder.context_length)
            for _ in range(20):
                encoder.model.encode_text(tokens)

    def ours():
        for _ in range(20):
            encoder.encode_texts(text)

    compare("query against forward on trimmed ids", ours, bare, repeats, 20)
    try:
        padded()
    except (IndexError, RuntimeError):  # a model that has another tokenizer
        return
    compare("query against model.encode_text", ours, padded, repeats, 20)


def bench_formats(encoder, name, paths, batch):
    """Print how far number formats and batches change a vector."""
    full = load_encoder(name, device=str(encoder.device), precision="float32")
    reference = full.encode_images(paths, load=Image.open, batch_size=batch)
    for title, vectors in {
        f"{encoder.dtype} against float32": encoder.encode_images(
            paths, load=Image.open, batch_size=batch
        ),
        "float32, single pictures against batches": np.concatenate(
            [full.encode_images([path], load=Image.open) for path in paths]
        ),
    }.items():
        cosines = (vectors * reference).sum(axis=1)
        print(f"{title}: smallest cosine {cosines.min():.7f}")
    batched = encoder.encode_images(paths, load=Image.open, batch_size=batch)
    single = np.concatenate(
        [encoder.encode_images([path], load=Image.open) for path in paths]
    )
    cosines = (batched * single).sum(axis=1)
    print(f"{encoder.dtype}, single against batches: {cosines.min():.7f}")


def main():
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--images", type=Path, help="folder of JPEG files")
    parser.add_argument("--number", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    start = time.perf_counter()
    try:
        encoder = load_encoder(options.model)
    except ModelNotFoundError as error:
        parser.error(f"{error}; give --model DIR")
    seconds = time.perf_counter() - start
    print(f"{encoder}, {encoder.dtype}, {torch.get_num_threads()} threads")
    print(f"load_encoder after imports: {seconds:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        if options.images is None:
            make_pictures(folder, options.number)
        source = options.images or Path(folder)
        paths = sorted(source.rglob("*.jp*g"))[: options.number]
        if not paths:
            parser.error(f"no JPEG files in {source}")
        bench_images(encoder, paths, options.batch, options.repeats)
        bench_texts(encoder, options.repeats)
        bench_formats(encoder, options.model, paths[:64], options.batch)


if __name__ == "__main__":
    main()
