# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The command that lets a language model summarize abstracts."""

from paperclip.cli.arguments import Command, count
from paperclip.cli.output import Destination
from paperclip.cli.terminal import clear_status, say, show_status

__all__ = ["SUMMARIES"]

_VIEW = {
    "key": ("key", None),
    "summary": ("summary", None),
    "status": ("status", None),
    "message": ("message", None),
}


def _arguments(parser):
    parser.description += (
        " It goes on where it ended when it was interrupted: answers are kept in "
        "FILE.journal."
    )
    parser.add_argument(
        "input",
        metavar="INPUT",
        help="folder of a data set, a table with a column of abstracts (.ecsv, .csv, "
        ".fits, .vot, .parquet), or a text file with one abstract per line (.txt)",
    )
    parser.add_argument(
        "--backend",
        required=True,
        metavar="MODEL",
        help="'openai:http://host:8000/v1#model' (key in OPENAI_API_KEY), "
        "'transformers:DIRECTORY_OR_NAME' or 'llamacpp:FILE.gguf'",
    )
    parser.add_argument(
        "--column", default="abstract", metavar="NAME", help="'abstract' by default"
    )
    parser.add_argument(
        "--limit", type=count, metavar="N", help="first N abstracts, to try things out"
    )
    how = parser.add_argument_group("how to ask")
    how.add_argument(
        "--batch-size", type=count, metavar="N", help="abstracts at a time"
    )
    how.add_argument(
        "--max-tokens",
        type=count,
        default=400,
        metavar="N",
        help="of an answer at the first attempt; 400 by default",
    )
    how.add_argument("--retries", type=int, default=2, metavar="N", help="2 by default")
    how.add_argument("--seed", type=int, default=0, metavar="N", help="0 by default")
    how.add_argument("--offline", action="store_true", help="ask this machine only")
    where = parser.add_argument_group("where to")
    where.add_argument(
        "--output",
        metavar="FILE",
        help="file of the table (.ecsv, .fits, .vot, .xml, .csv); without it a text is "
        "shown and nothing is kept",
    )
    where.add_argument(
        "--restart",
        action="store_true",
        help="forget the answers in FILE.journal, and replace FILE",
    )


def _run(args):
    from paperclip.training import load_backend, summarize
    from paperclip.training._answerfile import texts_file

    source = texts_file(args.input)
    with load_backend(args.backend, offline=args.offline or None) as backend:
        table = summarize(
            source[: args.limit],
            backend=backend,
            column=args.column,
            batch_size=args.batch_size,
            max_tokens=args.max_tokens,
            retries=args.retries,
            seed=args.seed,
            output=args.output,
            resume=not args.restart,
            progress=_progress,
        )
    clear_status()
    meta = table.meta
    heading = [
        ("model", meta["model"]),
        ("prompts", f"version {meta['prompt_version']}"),
        ("abstracts", meta["rows"]),
        ("first attempt", meta["first_attempt"]),
        ("failed", meta["failed"]),
    ]
    destination = Destination("text", None, None)
    if args.output is None:
        destination.write(table, view=_VIEW, heading=heading)
    else:
        destination.write_facts(dict(heading))
        say(f"table written to {args.output}")
    return 0


def _progress(step, done, total):
    show_status(f"{step}: {done} of {total} ...")


SUMMARIES = (
    Command("summarize", "Summarize abstracts with a language model", _arguments, _run),
)
"""The commands of this module."""
