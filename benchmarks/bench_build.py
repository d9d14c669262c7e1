# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Compare building an index with the bare model, interleaved in one process.

1. Pictures: ``build_index`` of a folder of JPEG files against the image tower alone
   on tensors that are ready, with the same number format, batch and threads; and
   reading the files and encoding them with ``encode_images``, one step after the other.
2. With ``--ray``: the same folder on a cluster of two nodes with one processor each on
   this machine, with one and with two encoders of one thread each. Counted is the time
   from the first to the last answer, without the start of the processes.
3. FITS files: ``build_index``, which converts in processes, against the conversion in
   this process, one file after the other, and the tower after that.
"""

import argparse
import shutil
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits
from PIL import Image
from timing import interleave, report

from paperclip.imaging import load_picture, read_preview
from paperclip.index import build_index
from paperclip.models import load_encoder


def make_pictures(folder, n):
    """Write JPEG files of the size of archive previews."""
    rng = np.random.default_rng(0)
    for i in range(n):
        small = rng.integers(0, 256, (38, 63, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((500, 300), Image.Resampling.BICUBIC)
        image.save(folder / f"{i:04d}.jpg", quality=90)


def make_fits(folder, n, side):
    """Write images with stars on noise."""
    rng = np.random.default_rng(0)
    for i in range(n):
        data = rng.normal(size=(side, side)).astype(np.float32)
        data[rng.integers(0, side, 500), rng.integers(0, side, 500)] += 1000
        fits.PrimaryHDU(data).writeto(folder / f"{i:04d}.fits")


def copy_some(source, folder, n):
    """Copy the first files of a folder."""
    paths = sorted(p for p in source.rglob("*") if p.suffix in (".jpg", ".jpeg"))
    for path in paths[:n]:
        shutil.copy(path, folder / path.name)


def tower(encoder, frames, batch):
    """Return a call of the image tower alone on tensors that are ready."""
    parts = [frames[i : i + batch] for i in range(0, len(frames), batch)]
    with torch.inference_mode():
        ready = [encoder.to_tensor(np.stack(part)) for part in parts]

    def bare():
        with torch.inference_mode():
            for tensor in ready:
                encoder.model.encode_image(tensor)

    return bare


def builder(encoder, folder, scratch, batch):
    """Return a call that builds a new index each time."""

    def ours():
        for name in ("index", "index.build"):
            shutil.rmtree(scratch / name, ignore_errors=True)
        build_index(scratch / "index", source=folder, encoder=encoder, batch_size=batch)

    return ours


def bench_pictures(encoder, folder, scratch, batch, rounds, clock):
    """Time a folder of pictures."""
    paths = sorted(folder.iterdir())
    frames = [encoder.prepare(read_preview(path)) for path in paths]

    def in_turns():
        encoder.encode_images([read_preview(path) for path in paths], batch_size=batch)

    calls = {
        "build_index": builder(encoder, folder, scratch, batch),
        "read all, then encode_images": in_turns,
        "image tower alone": tower(encoder, frames, batch),
    }
    seconds = interleave(calls, rounds, clock=clock)
    title = f"{len(paths)} JPEG files, {encoder.dtype}"
    ratios = report(title, seconds, bare="image tower alone", aim=1.18)
    print(f"  pictures per second against the tower: {1 / ratios['build_index']:.3f}")


def bench_fits(encoder, folder, scratch, batch, rounds):
    """Time a folder of FITS files."""
    paths = sorted(folder.iterdir())

    def in_turns():
        encoder.encode_images([load_picture(path).rgb for path in paths])

    calls = {
        "build_index": builder(encoder, folder, scratch, batch),
        "load_picture, then encode_images": in_turns,
    }
    seconds = interleave(calls, rounds)
    report(f"{len(paths)} FITS files", seconds, bare="load_picture, then encode_images")


def ray_rate(folder, scratch, model, workers, address):
    """Build on a cluster and return the pictures per second between answers."""
    for name in ("index", "index.build"):
        shutil.rmtree(scratch / name, ignore_errors=True)
    marks = []

    def progress(state):
        if state.stage == "embedding":
            marks.append((time.perf_counter(), state.done))

    build_index(
        scratch / "index",
        source=folder,
        encoder=model,
        ray=address,
        workers=workers,
        batch_size=8,
        commit_rows=16,
        progress=progress,
    )
    # the second encoder is there when a quarter is done
    first = next(mark for mark in marks if 4 * mark[1] >= marks[-1][1])
    (start, before), (end, after) = first, marks[-1]
    return (after - before) / (end - start)


def bench_ray(folder, scratch, model, rounds):
    """Compare one encoder with two, in turns, on the same cluster."""
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "object_store_memory": 1 << 28, "include_dashboard": False}
    head["_system_config"] = {"num_workers_soft_limit": 4}  # else they come and go
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, object_store_memory=1 << 28)
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        rates = {1: [], 2: []}
        for number in range(rounds):
            for workers in (1, 2) if number % 2 else (2, 1):
                rate = ray_rate(folder, scratch, model, workers, cluster.address)
                rates[workers].append(rate)
    finally:
        ray.shutdown()
        cluster.shutdown()
    ratios = np.array(rates[2]) / np.array(rates[1])
    for workers, values in rates.items():
        print(f"  {workers} encoders: {np.round(values, 1).tolist()} pictures/s")
    print(
        f"  two against one: median {np.median(ratios):.2f}, "
        f"{ratios.min():.2f} to {ratios.max():.2f}; aim 1.7"
    )


def main():
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--images", type=Path, help="folder of JPEG files")
    parser.add_argument("--number", type=int, default=192)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fits", type=int, default=40, help="number of FITS files")
    parser.add_argument("--side", type=int, default=2048, help="of the FITS files")
    parser.add_argument(
        "--processor",
        action="store_true",
        help="time on processors instead of wall time, for a busy machine; no FITS",
    )
    parser.add_argument("--ray", action="store_true", help="on a cluster; nothing else")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    encoder = None if options.ray else load_encoder(options.model)
    if not options.ray:
        print(f"{encoder}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        pictures, images = scratch / "pictures", scratch / "fits"
        pictures.mkdir()
        images.mkdir()
        if options.images is None:
            make_pictures(pictures, options.number)
        else:
            copy_some(options.images, pictures, options.number)
        if options.ray:
            bench_ray(pictures, scratch, options.model, options.rounds)
            return
        settings = (scratch, options.batch, options.rounds)
        clock = time.process_time if options.processor else time.perf_counter
        bench_pictures(encoder, pictures, *settings, clock)
        if options.processor:
            return
        make_fits(images, options.fits, options.side)
        bench_fits(encoder, images, *settings)


if __name__ == "__main__":
    main()
