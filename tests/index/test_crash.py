# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Writers that are killed must not harm what was acknowledged."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from paperclip.index import Index

WRITER = """
import sys
import numpy as np
from paperclip.index import Index

index = Index.open(sys.argv[1])
rng = np.random.default_rng()
print("ready", flush=True)
sys.stdin.readline()
for i in range(10**6):
    ids = [f"{sys.argv[2]}-{i}-{j}" for j in range(3)]
    index.append({"obs_id": ids}, rng.normal(size=(3, 8)))
    print(i, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_writers_lose_and_repeat_nothing(tmp_path):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=8)
    rng = np.random.default_rng(0)
    acknowledged = set()
    command = [sys.executable, "-W", "error", "-c", WRITER, index.uri]
    for start in range(0, 10, 5):  # five at a time: starting them takes longest
        writers = [
            subprocess.Popen(
                [*command, f"w{number}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(start, start + 5)
        ]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for number, writer in enumerate(writers, start):
            writer.stdin.write("go\n")
            writer.stdin.flush()
            time.sleep(rng.uniform(0.05, 0.3))
            writer.kill()
            out, _ = writer.communicate(timeout=60)
            done = out.splitlines()
            acknowledged |= {f"w{number}-{i}-{j}" for i in done for j in range(3)}
            ids = Index.open(index.uri).to_table(["obs_id"])["obs_id"].tolist()
            assert len(ids) == len(set(ids))
            assert acknowledged <= set(ids)
            assert len(ids) % 3 == 0  # no batch by halves
    assert acknowledged
    index.refresh()
    assert len(index.search(np.ones(8), limit=10**6)) == len(ids)
