# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Very many products take little memory."""

import subprocess
import sys

import pytest

from ..mast_server import Archive, big_products, mast_server

N = 300_000
CODE = """
from pathlib import Path
from paperclip.mast import MastClient

def keep(table):
    return table["productType"] == "PREVIEW"

obsids = range(900_000_000, 900_000_000 + {observations})
table = MastClient().products(obsids, keep={keep})
status = Path("/proc/self/status").read_text()  # ru_maxrss has the parent's peak
peak = next(x.split()[1] for x in status.splitlines() if x.startswith("VmHWM"))
print(len(table), len(set(table["dataURI"])), table.meta["rows_available"], peak)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak")
@pytest.mark.parametrize(("keep", "n"), [("keep", N // 50), ("None", N)])
def test_many_products_take_less_than_a_gigabyte(tmp_path, keep, n):
    with mast_server(Archive(products=big_products(N))) as mast:
        done = subprocess.run(
            [sys.executable, "-c", CODE.format(observations=N // 1000, keep=keep)],
            env=mast.environment(tmp_path, timeout=60.0),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found, different, total, peak = map(int, done.stdout.split())
    assert (found, different, total) == (n, n, N)
    assert peak < 2**20  # KiB
