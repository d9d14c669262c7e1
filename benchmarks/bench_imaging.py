# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Time `load_picture` and `read_preview` against the bare reads they contain.

Run ``python benchmarks/bench_imaging.py [--side 4096] [--rounds 15]``. Both
members of a pair are timed in turns in one process; the table gives medians,
the spread (10 to 90 percent) and the ratio of the medians. The last column is
what is spent beyond the bare read.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from PIL import Image
from timing import interleave

from paperclip.imaging import load_picture, read_preview


def measure(pairs, rounds):
    """Print one line for each pair of (name, bare, ours)."""
    print(f"{'what':32s} {'bare ms':>18s} {'ours ms':>18s} {'ratio':>6s} {'extra':>6s}")
    for name, bare, ours in pairs:
        times = interleave({"bare": bare, "ours": ours}, rounds)
        (b0, b, b1), (o0, o, o1) = (
            1e3 * np.percentile(values, (10, 50, 90)) for values in times.values()
        )
        spread = f"{b:6.1f} [{b0:.1f},{b1:.1f}]", f"{o:6.1f} [{o0:.1f},{o1:.1f}]"
        print(f"{name:32s} {spread[0]:>18s} {spread[1]:>18s} {o / b:6.2f} {o - b:6.1f}")


def fits_pairs(folder, side):
    """Yield pairs for plain, scaled, flagged and compressed images."""
    data = np.random.default_rng(0).normal(100, 5, (side, side)).astype(np.float32)
    holes = data.copy()
    holes[::97, ::89] = np.nan
    flagged = [fits.PrimaryHDU(), fits.ImageHDU(data, name="SCI")]
    flagged.append(fits.ImageHDU(np.zeros((side, side), np.int16), name="DQ"))
    flagged[0].header["TELESCOP"], flagged[0].header["INSTRUME"] = "HST", "ACS"
    quarter = data[: side // 2, : side // 2].astype(np.int16)
    cases = {
        f"float32 {side}": fits.HDUList([fits.PrimaryHDU(data)]),
        f"float32 {side} with NaN": fits.HDUList([fits.PrimaryHDU(holes)]),
        f"uint16 {side}": fits.HDUList([fits.PrimaryHDU(data.astype(np.uint16))]),
        f"float32 {side} with DQ": fits.HDUList(flagged),
        f"RICE int16 {side // 2}": fits.HDUList(
            [fits.PrimaryHDU(), fits.CompImageHDU(quarter)]
        ),
    }
    for name, hdus in cases.items():
        path = folder / f"{len(name)}-{name.replace(' ', '-')}.fits"
        hdus.writeto(path)

        def bare(path=path):
            return np.asarray(fits.getdata(path), dtype=np.float32)

        def ours(path=path):
            return load_picture(path).rgb

        yield name, bare, ours


def preview_pairs(folder):
    """Yield a pair for an archive preview of 512 pixels."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8))
    for name, mode in (("JPEG 512 colour", "RGB"), ("JPEG 512 grey", "L")):
        path = folder / f"{mode}.jpg"
        smooth.resize((512, 512)).convert(mode).save(path, quality=90)

        def bare(path=path):
            return np.asarray(Image.open(path))

        def ours(path=path):
            return read_preview(path)

        yield name, bare, ours


def main():
    """Read the options and run every pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = [*fits_pairs(folder, options.side), *preview_pairs(folder)]
        measure(pairs, options.rounds)


if __name__ == "__main__":
    main()
