# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Time a warm ``Paperclip.describe`` of a FITS image against its two bare steps.

The bare steps are reading all pixels as float32, and one forward pass of the
image tower on a tensor that is ready. The image is float32 and, like the file
of an archive, in the page cache after the first round.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits
from PIL import Image
from timing import interleave, report

from paperclip import Paperclip
from paperclip.imaging import load_picture


def write_image(path, side):
    """Write an image of noise with a few hundred round sources."""
    rng = np.random.default_rng(0)
    data = rng.normal(0.1, 0.02, (side, side)).astype(np.float32)
    y, x = np.mgrid[-20:21, -20:21]
    for row, column in rng.integers(20, side - 20, (300, 2)):
        stamp = rng.exponential(3) * np.exp(-np.hypot(y, x) / rng.uniform(1, 6))
        data[row - 20 : row + 21, column - 20 : column + 21] += stamp
    header = fits.Header({"TELESCOP": "JWST", "INSTRUME": "NIRCAM", "BUNIT": "MJy/sr"})
    hdus = [fits.PrimaryHDU(header=header), fits.ImageHDU(data, name="SCI")]
    fits.HDUList(hdus).writeto(path)


def main():
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="name or directory; built-in by default")
    parser.add_argument("--index", help="its index; built-in by default")
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()

    clip = Paperclip(model=options.model, index=options.index)
    encoder = clip.encoder
    print(f"{encoder}, {encoder.dtype}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.fits"
        write_image(path, options.side)
        rgb = load_picture(path).rgb
        ready = encoder.to_tensor(encoder.prepare(Image.fromarray(rgb))[np.newaxis])

        def read():
            return np.asarray(fits.getdata(path), dtype=np.float32)

        def forward():
            with torch.inference_mode():
                return encoder.model.encode_image(ready)

        def both():
            return read(), forward()

        calls = {
            "describe": lambda: clip.describe(path),
            "read + forward": both,
            "read": read,
            "forward": forward,
            "load_picture": lambda: load_picture(path),
            "encode_images": lambda: encoder.encode_images([rgb]),
        }
        seconds = interleave(calls, options.rounds, warm=3)
    title = f"float32 {options.side} x {options.side}"
    report(title, seconds, bare="read + forward", aim=1.5)


if __name__ == "__main__":
    main()
