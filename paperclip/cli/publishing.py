# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The commands that save trained models and publish them."""

from pathlib import Path

from paperclip.cli.arguments import Command
from paperclip.cli.output import Destination
from paperclip.cli.terminal import clear_status, show_status
from paperclip.exceptions import InvalidQueryError

__all__ = ["PUBLISHING"]


# ---- model save


def _save_arguments(parser):
    parser.description += " DIR appears when it is complete."
    parser.add_argument("source", metavar="RUN", help="a run, or a model directory")
    parser.add_argument("directory", metavar="DIR", help="new directory")
    parser.add_argument(
        "--licence",
        "--license",
        required=True,
        metavar="NAME",
        help="short name, such as cc-by-4.0, apache-2.0, other",
    )
    parser.add_argument("--name", metavar="TEXT", help="title of the card")
    parser.add_argument("--description", default="", metavar="TEXT", help="its purpose")
    parser.add_argument(
        "--data", metavar="TEXT", help="name of the data; by default as in the run"
    )
    parser.add_argument(
        "--metrics",
        metavar="FILE",
        help="table of figures, as 'paperclip evaluate --output FILE' writes it",
    )
    parser.add_argument(
        "--split", metavar="NAME", help="what the figures of FILE were measured on"
    )
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        dest="limits",
        metavar="TEXT",
        help="where the model fails; may be given several times",
    )
    parser.add_argument(
        "--half", action="store_true", help="half precision, the loss is measured"
    )
    parser.add_argument(
        "--repo", metavar="ORG/NAME", help="name on the Hub, for the examples"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a saved model in DIR"
    )


def _save(args):
    from paperclip.training import save_model

    metrics = None if args.metrics is None else _table(args.metrics)
    show_status("saving the model ...")
    saved = save_model(
        args.source,
        args.directory,
        licence=args.licence,
        name=args.name,
        description=args.description,
        data=args.data,
        metrics=metrics,
        evaluated_on=args.split,
        limits=args.limits,
        half=args.half,
        repo=args.repo,
        overwrite=args.overwrite,
    )
    clear_status()
    model = saved.manifest["model"]
    facts = {
        "model": str(saved.directory),
        "fingerprint": saved.fingerprint,
        "precision": model["precision"],
        "size": f"{model['bytes'] / 1e6:.3g} MB",
        "card": str(saved.directory / "README.md"),
    }
    if args.half:
        facts["lowest_cosine"] = f"{model['half']['lowest_cosine']:.6f}"
    Destination("text", None, None).write_facts(facts)
    return 0


def _table(path):
    """Read figures that ``paperclip evaluate`` wrote."""
    import json

    from astropy.table import Table

    try:
        if path.lower().endswith(".json"):
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            return Table(content["rows"])
        return Table.read(path)
    except (ValueError, TypeError, LookupError) as exc:
        msg = f"{path} cannot be read as a table of figures: {exc}"
        raise InvalidQueryError(msg) from exc


# ---- model push


def _push_arguments(parser):
    parser.description += (
        " What arrived is fetched back and compared. The Hub knows you by 'hf auth "
        "login' or the environment variable HF_TOKEN."
    )
    parser.add_argument(
        "directory", metavar="DIR", help="made by 'paperclip model save'"
    )
    parser.add_argument("repo", metavar="ORG/NAME", help="repository on the Hub")
    parser.add_argument(
        "--public", action="store_true", help="let everybody see a new repository"
    )
    parser.add_argument(
        "--update", action="store_true", help="add a commit to one that exists"
    )
    parser.add_argument(
        "--revision", default="main", metavar="BRANCH", help="'main' by default"
    )
    parser.add_argument("--message", metavar="TEXT", help="message of the commit")
    parser.add_argument(
        "--no-check", action="store_true", help="do not fetch it back and compare"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be sent, and end"
    )


def _push(args):
    from paperclip.training.push import choose_files, push_model

    if args.dry_run:
        names, left_out = choose_files(Path(args.directory).expanduser())
        facts = {"repository": args.repo, "files": ", ".join(names)}
        facts["left_out"] = ", ".join(left_out) or "nothing"
        Destination("text", None, None).write_facts(facts)
        return 0
    show_status(f"publishing {args.repo} ...")
    pushed = push_model(
        args.directory,
        args.repo,
        private=not args.public,
        exist_ok=args.update,
        revision=args.revision,
        message=args.message,
        check=not args.no_check,
    )
    clear_status()
    facts = {
        "repository": pushed.repo,
        "revision": pushed.revision,
        "commit": pushed.url,
        "files": ", ".join(pushed.files),
    }
    if pushed.difference is not None:
        facts["difference"] = f"{pushed.difference:.1g}"
    Destination("text", None, None).write_facts(facts)
    return 0


PUBLISHING = (
    Command(
        "model save",
        "Save a trained model with a card that says what it is",
        _save_arguments,
        _save,
    ),
    Command(
        "model push",
        "Publish a saved model on the Hugging Face Hub",
        _push_arguments,
        _push,
    ),
)
"""The commands of this module."""
