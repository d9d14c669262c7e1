# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Time a text query, cold and warm, against what it cannot do without.

Cold: a whole process ``paperclip query "..."`` against a process that imports
torch and open_clip. Warm: ``Paperclip.query_text`` in this process against the
text tower alone, in three forms:

- ``open_clip``: its tokenizer and ``model.encode_text``, which always calculates
  all places of the context;
- ``trimmed``: the same tokenizer and the tower on the tokens there are, the
  fastest form that gives the same vector;
- ``trimmed, ready``: that without the tokenizer.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import open_clip
import torch
from timing import interleave, process, report

from paperclip import Paperclip

TEXTS = (
    "face-on spiral galaxy",
    "a dusty disk around a young star",
    "planetary nebula with a bright central star, seen in the infrared",
    "deep field of galaxies at high redshift, gravitationally lensed by a cluster",
)
RUN = "import sys; from paperclip.cli import main; sys.exit(main())"


def cold(options):
    """Compare processes."""
    chosen = []
    for name in ("model", "index"):
        if getattr(options, name) is not None:
            chosen += [f"--{name}", getattr(options, name)]
    with tempfile.TemporaryDirectory() as folder:
        mosaic = str(Path(folder) / "mosaic.png")
        query = ("-c", RUN, "query", TEXTS[0], "--offline", *chosen)
        calls = {
            "paperclip query": process(*query),
            "import torch, open_clip": process("-c", "import torch, open_clip"),
        }
        if options.mosaic:
            calls["paperclip query --mosaic"] = process(*query, "--mosaic", mosaic)
        seconds = interleave(calls, options.processes, warm=1)
    report("cold", seconds, bare="import torch, open_clip", aim=1.5)


def warm(options):
    """Compare calls in this process, for every text."""
    clip = Paperclip(model=options.model, index=options.index)
    encoder = clip.encoder
    print(f"{encoder}, {clip.index}, {torch.get_num_threads()} threads")
    for text in TEXTS:
        calls = {"query_text": lambda text=text: clip.query_text(text)}
        calls |= bare_calls(encoder, text)
        seconds = interleave(calls, options.rounds, warm=20)
        title = f"warm, {encoder.tokens(text)} tokens: {text!r}"
        report(title, seconds, bare="open_clip", aim=1.3)
        ratio = np.median(seconds["query_text"]) / np.median(seconds["trimmed"])
        print(f"  query_text / trimmed: {ratio:.3f}")


def bare_calls(encoder, text):
    """Return the three forms of the text tower alone."""
    model, tower = encoder.model, encoder._texts
    length, size = encoder.context_length, encoder.tokens(text)
    tokens = open_clip.tokenize([text], context_length=length)
    ready = tokens[:, :size].contiguous()

    def padded():
        with torch.inference_mode():
            return model.encode_text(
                open_clip.tokenize([text], context_length=length), normalize=True
            )

    def trimmed():
        with torch.inference_mode():
            ids = open_clip.tokenize([text], context_length=length)
            return torch.nn.functional.normalize(tower(ids[:, :size]), dim=-1)

    def forward():
        with torch.inference_mode():
            return torch.nn.functional.normalize(tower(ready), dim=-1)

    if not encoder._trim:
        return {"open_clip": padded}
    if not torch.allclose(padded(), trimmed(), atol=1e-5):
        msg = "the trimmed tower gives another vector"
        raise RuntimeError(msg)
    return {"open_clip": padded, "trimmed": trimmed, "trimmed, ready": forward}


def main():
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="name or directory; built-in by default")
    parser.add_argument("--index", help="its index; built-in by default")
    parser.add_argument("--processes", type=int, default=11, help="cold rounds")
    parser.add_argument("--rounds", type=int, default=300, help="warm rounds")
    parser.add_argument("--mosaic", action="store_true", help="also draw a mosaic")
    options = parser.parse_args()
    cold(options)
    warm(options)


if __name__ == "__main__":
    main()
