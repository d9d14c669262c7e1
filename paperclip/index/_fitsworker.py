# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Convert FITS files in processes of their own.

The conversion catches warnings, which Python does for all threads at once, so it
may not run beside others in one process; and astropy holds the interpreter while
it reads headers. A worker is started as ``python -m paperclip.index._fitsworker``
rather than with `multiprocessing`, so that a script needs no guard around its main
part. It ends when its stdin is closed, also if its parent is killed.
"""

import json
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from queue import LifoQueue

import numpy as np

from paperclip.exceptions import ImageConversionError

__all__ = ["FitsPool"]

_TIMEOUT = 600.0  # seconds for one file, after which it counts as hanging


class FitsPool:
    """
    Processes that turn FITS files into pictures.

    Parameters
    ----------
    size : int
        Largest number of processes; each is started when it is needed.
    timeout : float, optional
        Seconds that one file may take.
    """

    def __init__(self, size, *, timeout=_TIMEOUT):
        self._timeout = timeout
        self._places = LifoQueue()
        for _ in range(size):
            self._places.put(None)

    def convert(self, path):
        """
        Turn one file into a picture; safe to call from threads.

        Parameters
        ----------
        path : str
            FITS file.

        Returns
        -------
        rgb : `~numpy.ndarray`, shape (ny, nx, 3), uint8
            The picture, row 0 on top.
        row : dict
            See ``paperclip.index._headers.row_from_picture``.

        Raises
        ------
        ImageConversionError
            If it holds no picture, or the process that reads it dies or takes
            too long. The next file gets a new process.
        """
        worker = self._places.get()
        try:
            if worker is None:
                worker = _start()
            answer = _ask(worker, path, self._timeout)
            if answer is None:
                worker, dead = None, worker
                code = _stop(dead, kill=True)
                msg = (
                    f"{path}: the process that converted it ended with code {code}; "
                    f"it died of the file or took longer than {self._timeout:g} s"
                )
                raise ImageConversionError(msg)
        finally:
            self._places.put(worker)
        facts, pixels = answer
        if "error" in facts:
            raise ImageConversionError(facts["error"])
        return pixels, facts["row"]

    def close(self):
        """End all processes; no conversion may be under way."""
        workers = [self._places.get() for _ in range(self._places.qsize())]
        for worker in workers:
            if worker is not None:
                _stop(worker)
            self._places.put(None)


def _start():
    """Start a process that finds the same package as this one."""
    root = str(Path(__file__).resolve().parents[2])
    search = [root, os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, search))}
    # of another process group, so that Ctrl-C reaches the parent alone
    apart = {"process_group": 0} if os.name == "posix" else {}
    return subprocess.Popen(
        [sys.executable, "-m", "paperclip.index._fitsworker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        **apart,
    )


def _ask(worker, path, timeout):
    """Return the answer of a process, or None if it has died."""
    alarm = threading.Timer(timeout, worker.kill)
    alarm.daemon = True
    alarm.start()
    try:
        worker.stdin.write(json.dumps(path).encode() + b"\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
        facts = json.loads(line) if line.endswith(b"\n") else None
        if facts is None or "error" in facts:
            return facts and (facts, None)
        shape = facts["shape"]
        pixels = worker.stdout.read(shape[0] * shape[1] * 3)
        if len(pixels) < shape[0] * shape[1] * 3:
            return None
        return facts, np.frombuffer(bytearray(pixels), np.uint8).reshape(shape)
    except (OSError, ValueError):  # a broken pipe, or half an answer
        return None
    finally:
        alarm.cancel()


def _stop(worker, *, kill=False):
    """End a process and return its exit code."""
    if kill:
        worker.kill()
    try:
        worker.stdin.close()
    except OSError:
        worker.kill()  # it had not read all of it
    worker.stdout.close()
    try:
        return worker.wait(timeout=10)
    except subprocess.TimeoutExpired:
        worker.kill()
        return worker.wait()


# ---- what runs in the process


def _convert(path):
    """Return the facts and the pixels of one file, or why there are none."""
    from paperclip.imaging import load_picture
    from paperclip.index._headers import row_from_picture

    try:
        picture = load_picture(path)
        row = row_from_picture(picture)
    except ImageConversionError as exc:
        return {"error": str(exc)}, None
    except MemoryError:
        return {"error": f"{path}: there is not enough memory to read it"}, None
    return {"shape": picture.rgb.shape, "row": row}, picture.rgb


def _serve(requests, answers):
    """Answer until there are no more requests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for line in requests:
            facts, pixels = _convert(json.loads(line))
            answers.write(json.dumps(facts).encode() + b"\n")
            if pixels is not None:
                answers.write(np.ascontiguousarray(pixels).data)
            answers.flush()


if __name__ == "__main__":
    # whatever a library writes to stdout must not get between the answers
    with os.fdopen(os.dup(1), "wb") as _answers:
        os.dup2(2, 1)
        _serve(sys.stdin.buffer, _answers)
