# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Time ``import paperclip`` against ``import astropy.table``.

Every import happens in a fresh interpreter, in turns with the other one and with
an interpreter that imports nothing. The script ends with an error if a heavy
library was loaded.
"""

import argparse
import subprocess
import sys

import numpy as np
from timing import interleave, process, report

HEAVY = ("torch", "open_clip", "astroquery", "matplotlib", "lance")
INSIDE = """
import time
start = time.perf_counter()
import {}
print(time.perf_counter() - start)
"""


def inside(module):
    """Return the seconds that an import takes, seen from inside the process."""
    arguments = [sys.executable, "-c", INSIDE.format(module)]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main():
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()

    seconds = interleave(
        {
            "import paperclip": process("-c", "import paperclip"),
            "import astropy.table": process("-c", "import astropy.table"),
            "nothing": process("-c", "pass"),
        },
        options.rounds,
        warm=2,
    )
    report("whole process", seconds, bare="import astropy.table", aim=1.1)

    modules = ("paperclip", "astropy.table")
    rounds = [{name: inside(name) for name in modules} for _ in range(options.rounds)]
    seconds = {
        f"import {name}": np.array([found[name] for found in rounds])
        for name in modules
    }
    report("import only", seconds, bare="import astropy.table", aim=1.1)

    for statement in ("import paperclip", "from paperclip import Paperclip"):
        code = f"{statement}; import sys; print(*sys.modules)"
        arguments = [sys.executable, "-c", code]
        done = subprocess.run(arguments, check=True, capture_output=True, text=True)
        loaded = set(HEAVY) & set(done.stdout.split())
        print(f"{statement}: loads {sorted(loaded) or 'none'} of {', '.join(HEAVY)}")
        if loaded:
            sys.exit(1)


if __name__ == "__main__":
    main()
