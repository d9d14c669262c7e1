# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Build folders of pictures in processes that can be killed.

It imports everything once. For each line of input (JSON: folder, rows,
options) it forks a process that builds, and prints its number; after an empty
line it waits for that process and prints how it ended.
"""

import json
import os
import sys
import traceback

import pyarrow.parquet  # noqa: F401
from astropy.table import Table
from PIL import Image, JpegImagePlugin  # noqa: F401

from paperclip.imaging import read_preview
from paperclip.mast import MastClient
from paperclip.mast.manifest import PictureStore


def build(folder, rows, options):
    """Make or go on with a folder of pictures."""
    store = PictureStore.open_or_create(folder, size=128)
    store.add(Table(rows))
    store.fetch(MastClient(), check=read_preview, **options)


def main():
    """Fork for each line."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        number = os.fork()
        if number == 0:
            status = 1
            try:
                build(*json.loads(line))
                status = 0
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                os._exit(status)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        sys.stdin.readline()  # until then its number belongs to nobody else
        _, status = os.waitpid(number, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
