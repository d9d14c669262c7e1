# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
The table of commands.

A module of commands ends in a tuple of `paperclip.cli.arguments.Command`, each
with one function that adds the arguments and one that does the work.
"""

from paperclip.cli.ann import APPROXIMATE
from paperclip.cli.building import BUILDING
from paperclip.cli.datasets import DATASETS
from paperclip.cli.formats import FORMATTING
from paperclip.cli.indexes import INDEXES
from paperclip.cli.looking import LOOKING
from paperclip.cli.publishing import PUBLISHING
from paperclip.cli.searching import SEARCHING
from paperclip.cli.summaries import SUMMARIES
from paperclip.cli.training import TRAINING

__all__ = ["COMMANDS", "GROUPS"]

GROUPS = {
    "index": "Build an index and look at it",
    "model": "Look at models, fetch and publish them",
    "dataset": "Make training sets and look at them",
}
"""What the groups of commands are for, by name."""

COMMANDS = (
    *SEARCHING,
    *BUILDING,
    *FORMATTING,
    *LOOKING,
    *INDEXES,
    *APPROXIMATE,
    *DATASETS,
    *TRAINING,
    *PUBLISHING,
    *SUMMARIES,
)
"""All commands, in the order of the help."""
