# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Run the command in processes that can be killed.

It imports everything once. For each line of input (JSON: the arguments) it
forks a process, prints its number, and waits for an empty line; then it prints
the exit code, which is negative after a signal. A process that comes to its
end says so.
"""

import json
import os
import sys
import warnings

import pyarrow.parquet  # noqa: F401
from PIL import Image, JpegImagePlugin  # noqa: F401

import paperclip.imaging.preview
import paperclip.mast.client  # noqa: F401
from paperclip.cli import main as command
from paperclip.training import _builder, build


def main():
    """Fork for each line."""
    warnings.simplefilter("error")
    _builder.BATCH = 2  # proposals at a time
    build.build_dataset.__kwdefaults__["shard_size"] = 20_480
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what the command prints

    def say(text):
        os.write(answers, f"{text}\n".encode())

    say("ready")
    for line in sys.stdin:
        number = os.fork()
        if number == 0:
            code = command(json.loads(line))
            say("ended")
            os._exit(code)
        say(number)
        sys.stdin.readline()
        say(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]))


if __name__ == "__main__":
    main()
