# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Small runs, to be imported or started: FOLDER STEPS [KILL]."""

import os
import signal
import sys
import warnings
from pathlib import Path

import numpy as np

from paperclip.training import Pair, PairList, TrainingConfig, finetune

__all__ = ["tiny_config", "tiny_pairs"]

_WORDS = ("galaxy", "spiral", "nebula", "star", "cluster", "dust", "ring", "jet")


def tiny_pairs(n=48, seed=0):
    """Make pictures with a bar whose place and colour the text names."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(n):
        place = i % 8
        picture = rng.integers(0, 60, (40, 40, 3)).astype(np.uint8)
        picture[:, place * 5 : place * 5 + 5, place % 3] = 255
        text = f"We image a {_WORDS[place]}. The field {i // 2} is deep. It is old."
        pairs.append(
            Pair(
                key=f"{seed}-{i:03d}",
                picture=picture,
                texts={"abstract": text, "title": f"Deep {_WORDS[place]}"},
                group=f"HST:{seed}{i // 2:03d}",
                meta={"instrument_name": "ACS", "target_name": _WORDS[place]},
            )
        )
    return PairList(pairs)


def tiny_config(base, output, *changes, recipe="default"):
    """Return settings of a run of seconds."""
    config = TrainingConfig.recipe(recipe).replace(
        {
            "model.base": str(base),
            "optim.batch_size": 8,
            "optim.lr": 1e-4,
            "optim.steps": 12,
            "optim.warmup": 2,
            "run.output": str(output),
            "run.eval_every": 6,
            "run.save_every": 4,
            "run.device": "cpu",
            "run.workers": 1,
            "run.patience": None,
        }
    )
    return config.replace(*changes)


def main(folder, steps, kill="0", *changes):
    """Run in a process of its own, which may kill itself behind a step."""
    folder, kill = Path(folder), int(kill)

    def callback(progress):
        if progress.step == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    warnings.simplefilter("error")
    config = tiny_config(
        folder / "base", folder / "run", {"optim.steps": int(steps)}, *changes
    )
    finetune(
        config, pairs=tiny_pairs(), validation=tiny_pairs(16, 1), callbacks=[callback]
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
