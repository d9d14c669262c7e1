# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Processes that change an index until they are killed, or all at once.

``crash`` kills writers at random moments and compares what is in the index
with what they were told is there; ``crowd`` runs writers and readers beside
each other. Run as a program, this file is one of those processes.
"""

import json
import os
import subprocess
import sys
import time
import zlib
from datetime import timedelta
from pathlib import Path

import numpy as np

from paperclip.index import Index

DIMENSION = 8
GROUP = 20  # rows that are always replaced together
EXTRA = {"made": "int64"}
# rows enough for indexes of columns
BASE = 10_200


def vectors_of(ids, made):
    """The vector of a row follows from its id and from when it was made."""
    seeds = [zlib.crc32(f"{name} {made}".encode()) for name in ids]
    bits = np.array(seeds, np.uint32)[:, None] >> np.arange(DIMENSION, dtype=np.uint32)
    return 2.0 * (bits & 1) - 1 + 0.1 * np.arange(DIMENSION)


def rows_of(ids, made):
    return {"obs_id": list(ids), "made": np.full(len(ids), made)}


def contents(index):
    """Ids and when they were made, after a look at each row and vector."""
    table = index.to_table(["obs_id", "made"])
    ids, made = table["obs_id"].tolist(), table["made"].tolist()
    assert len(index) == len(ids) == len(set(ids)), "rows are there twice"
    vectors = index.vectors()
    assert len(vectors) == len(ids)
    for value in set(made):
        rows = [i for i, m in enumerate(made) if m == value]
        wanted = vectors_of([ids[i] for i in rows], value)
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        assert np.abs(vectors[rows] - wanted).max() < 2e-3, "wrong vectors"
    return dict(zip(ids, made, strict=True))


# ---- killed writers


def new_store(uri, options=None, base=BASE):
    index = Index.create(
        uri,
        fingerprint="f",
        dimension=DIMENSION,
        extra_columns=EXTRA,
        storage_options=options,
    )
    ids = [f"base-{i:05d}" for i in range(base)]
    index.append(rows_of(ids, 0), vectors_of(ids, 0))
    index.compact()
    return index


def change_until_killed(uri, ledger, name, seed):
    """Write down what is intended, do it, write down that it is done."""
    from paperclip.index._upkeep import clean

    rng = np.random.default_rng(seed)
    index = Index.open(uri)
    wait_for_start()
    with Path(ledger).open("a") as stream:

        def note(**what):
            stream.write(json.dumps(what) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

        for number in range(10**6):
            kind = rng.choice(
                ["append", "upsert", "delete", "compact", "clean"],
                p=[0.35, 0.35, 0.1, 0.15, 0.05],
            )
            size, made = int(rng.integers(1, 40)), int(seed) * 1000 + number
            old = [f"base-{i:05d}" for i in rng.choice(BASE, size, replace=False)]
            new = [f"{name}-{number}-{i}" for i in range(size)]
            ids = {"append": new, "delete": old, "upsert": old + new}.get(kind, [])
            note(begin=kind, ids=ids, made=made)
            if kind == "append":
                index.append(rows_of(ids, made), vectors_of(ids, made))
            elif kind == "upsert":
                index.upsert(rows_of(ids, made), vectors_of(ids, made))
            elif kind == "delete":
                index.delete(ids)
            elif kind == "compact":
                index.compact()
            else:  # nobody else is reading
                clean(index._place, timedelta(0))
            note(done=number)


def after(state, step):
    state = dict(state)
    if step["begin"] == "delete":
        for name in step["ids"]:
            state.pop(name, None)
    else:
        state |= dict.fromkeys(step["ids"], step["made"])
    return state


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def wait_for_start():
    say("ready")
    sys.stdin.readline()


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-W", "error", __file__, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def crash(folder, kills, seed=0):
    """
    Kill writers, one after the other, and look at the index each time.

    Returns
    -------
    figures : dict
        Number of kills by what they interrupted, and of steps done.
    """
    rng = np.random.default_rng(seed)
    index = new_store(folder / "ix")
    state = contents(index)
    figures = {"kills": 0, "steps": 0}
    while figures["kills"] < kills:
        # several at a time: to start them takes longest
        numbers = range(figures["kills"], min(figures["kills"] + 5, kills))
        ledgers = [folder / f"ledger-{number}" for number in numbers]
        writers = [
            start("crash", index.uri, ledger, f"w{number}", 1000 * seed + number)
            for number, ledger in zip(numbers, ledgers, strict=True)
        ]
        try:
            for writer in writers:
                assert writer.stdout.readline() == "ready\n", writer.stderr.read()
            for writer, ledger in zip(writers, ledgers, strict=True):
                writer.stdin.write("go\n")
                writer.stdin.flush()
                wait_for_progress(ledger, rng)
                writer.kill()
                errors = writer.communicate(timeout=60)[1]
                assert writer.returncode == -9, errors
                state, interrupted = judge(index.uri, ledger, state, figures)
                figures["kills"] += 1
                figures[interrupted] = figures.get(interrupted, 0) + 1
        finally:
            for writer in writers:
                writer.kill()
                writer.communicate()
    return figures


def wait_for_progress(ledger, rng):
    """Wait for some lines and then a part of a step, however slow steps are."""
    wanted, begun = 1 + int(rng.integers(8)), time.monotonic()
    n_lines = 0
    while n_lines < wanted and time.monotonic() < begun + 60:
        time.sleep(0.002)
        n_lines = ledger.read_text().count("\n") if ledger.exists() else 0
    time.sleep(rng.uniform(0, 2 * (time.monotonic() - begun) / wanted))


def judge(uri, ledger, state, figures):
    """Compare the index with what the ledger says; return what is there."""
    lines = ledger.read_text().split("\n")[:-1] if ledger.exists() else []
    steps = [json.loads(line) for line in lines]
    begun = [step for step in steps if "begin" in step]
    done = len(steps) - len(begun)
    for step in begun[:done]:
        state = after(state, step)
    figures["steps"] += done
    index = Index.open(uri)
    found = contents(index)
    index.search(np.ones(DIMENSION), limit=5)
    if len(begun) == done:
        assert found == state, "what was done is not there"
        return found, "between"
    assert found in (state, after(state, begun[-1])), "a change by halves"
    return found, f"in {begun[-1]['begin']}"


# ---- writers and readers at once


def write_in_crowd(uri, options, number, seconds):
    """Append rows of one's own, replace those of all, compact now and then."""
    rng = np.random.default_rng(number)
    index = Index.open(uri, storage_options=options)
    mine, made, steps = [], (number + 1) * 10**6, 0
    wait_for_start()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        made += 1
        draw = rng.random()
        if draw < 0.45:
            ids = [f"w{number}-{made}-{i}" for i in range(int(rng.integers(1, 20)))]
            index.append(rows_of(ids, made), vectors_of(ids, made))
            mine += ids
        elif draw < 0.9:
            group = int(rng.integers(5))
            ids = [f"group{group}-{i}" for i in range(GROUP)]
            index.upsert(rows_of(ids, made), vectors_of(ids, made))
        elif draw < 0.97 and mine:
            index.delete(mine.pop())
        else:
            index.compact()
        steps += 1
    say(json.dumps({"mine": mine, "steps": steps}))


def read_in_crowd(uri, options, number, seconds):
    """See whole commits only, at the newest version and at those held open."""
    index = Index.open(uri, storage_options=options)
    held, looks = [], 0
    wait_for_start()
    until = time.monotonic() + seconds
    while time.monotonic() < until or not looks:
        index.refresh()
        found = contents(index)
        for group in range(5):
            made = {found.get(f"group{group}-{i}") for i in range(GROUP)}
            assert len(made) == 1, f"group {group} by halves: {made}"
        held.append(
            (Index.open(uri, version=index.version, storage_options=options), found)
        )
        for old, there in held[:: max(1, len(held) // 3)]:
            assert contents(old) == there, "a version changed"
            assert len(old.search(np.ones(DIMENSION), limit=3)) == min(3, len(there))
        held = held[-20:] if len(held) > 40 else held
        looks += 1
    say(json.dumps({"looks": looks}))


def crowd(uri, seconds, *, writers=4, readers=4, options=None, base=BASE):
    """
    Run writers and readers at once and count the rows afterwards.

    Returns
    -------
    figures : dict
        Steps of writers, looks of readers, rows and versions at the end.
    """
    index = new_store(uri, options, base)
    groups = [f"group{g}-{i}" for g in range(5) for i in range(GROUP)]
    index.append(rows_of(groups, 1), vectors_of(groups, 1))
    given = json.dumps(options)
    workers = [start("write", uri, given, n, seconds) for n in range(writers)]
    workers += [start("read", uri, given, n, seconds) for n in range(readers)]
    try:
        for worker in workers:
            assert worker.stdout.readline() == "ready\n", worker.stderr.read()
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        answers = []
        for worker in workers:
            out, errors = worker.communicate(timeout=seconds + 300)
            assert worker.returncode == 0, errors
            assert not errors
            answers.append(json.loads(out))
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    index.refresh()
    found = contents(index)
    mine = {name for answer in answers[:writers] for name in answer["mine"]}
    expected = mine | set(groups) | {f"base-{i:05d}" for i in range(base)}
    assert set(found) == expected, "rows are lost, or there are others"
    return {
        "steps": sum(answer["steps"] for answer in answers[:writers]),
        "looks": sum(answer["looks"] for answer in answers[writers:]),
        "rows": len(found),
        "version": index.version,
    }


if __name__ == "__main__":
    role, place, *rest = sys.argv[1:]
    if role == "crash":
        change_until_killed(place, rest[0], rest[1], int(rest[2]))
    else:
        run = {"write": write_in_crowd, "read": read_in_crowd}[role]
        run(place, json.loads(rest[0]), int(rest[1]), float(rest[2]))
