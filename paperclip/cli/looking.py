# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The commands that look at indexes and models."""

import sys

from paperclip.cli.arguments import Command, add_output_options
from paperclip.cli.layout import in_bytes
from paperclip.cli.output import Destination
from paperclip.cli.terminal import say, show_status

__all__ = ["LOOKING"]


# ---- index info


def _index_info_arguments(parser):
    parser.add_argument(
        "uri",
        nargs="?",
        metavar="URI",
        help="'builtin', a directory or an object-store URI",
    )
    add_output_options(parser, columns=False)


def _index_info(args):
    from paperclip.core import Paperclip

    destination = Destination.from_args(args)
    table = Paperclip(index=args.uri).index.info()
    meta = dict(table.meta)
    heading = {
        "index": meta.pop("uri"),
        "rows": meta.pop("rows"),
        **meta,
        "size": in_bytes(meta["size"]),
    }
    heading["model"] = meta["model"] or "not recorded"
    heading = [(name.replace("_", " "), value) for name, value in heading.items()]
    view = {
        "obs_collection": ("collection", None),
        "instrument_name": ("instrument", None),
        "n_rows": ("rows", None),
    }
    destination.write(table, view=view, heading=heading)
    return 0


# ---- model info, model fetch


def _model_info_arguments(parser):
    parser.description += " The model is loaded, but never downloaded."
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="'builtin', 'org/name[@revision]' on the Hugging Face Hub, or a model "
        "directory",
    )
    parser.add_argument(
        "--device", metavar="DEVICE", help="'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'"
    )
    add_output_options(parser, columns=False)


def _model_info(args):
    from paperclip import conf
    from paperclip.models import load_encoder
    from paperclip.models.hub import resolve

    destination = Destination.from_args(args)
    name = conf.model if args.name is None else args.name
    found = resolve(name, offline=True)
    show_status("loading the model ...")
    encoder = load_encoder(name, device=args.device, offline=True)
    size = sum(p.stat().st_size for p in found.directory.iterdir() if p.is_file())
    facts = {
        "model": found.name,
        "kind": found.kind,
        "directory": str(found.directory),
        "revision": found.revision,
        "fingerprint": encoder.fingerprint,
        "dimension": encoder.dimension,
        "image_size": str(encoder.image_size),
        "context_length": encoder.context_length,
        "logit_scale": round(encoder.logit_scale, 4),
        "device": str(encoder.device),
        "precision": str(encoder.dtype).removeprefix("torch."),
        "size": size,
    }
    card = found.directory / "README.md"
    if card.is_file():
        facts["card"] = str(card)
    if destination.format == "text":
        facts["size"] = in_bytes(size)
    facts = {key: value for key, value in facts.items() if value is not None}
    destination.write_facts(facts)
    return 0


def _model_fetch_arguments(parser):
    parser.description += " Its directory is written to stdout."
    parser.add_argument(
        "name",
        metavar="NAME",
        help="'org/name[@revision]' on the Hugging Face Hub",
    )


def _model_fetch(args):
    from paperclip.models import fetch

    show_status(f"fetching {args.name} ...")
    found = fetch(args.name)
    if found.kind == "hub":
        say(f"model {found.name} is complete at revision {found.revision}")
    else:
        say(f"model {found.name} is on this machine; nothing to fetch")
    sys.stdout.write(f"{found.directory}\n")
    return 0


LOOKING = (
    Command(
        "index info",
        "Say what an index holds and which model made it",
        _index_info_arguments,
        _index_info,
    ),
    Command(
        "model info",
        "Say what a model is and whether it works here",
        _model_info_arguments,
        _model_info,
    ),
    Command(
        "model fetch",
        "Download a model for use without a network",
        _model_fetch_arguments,
        _model_fetch,
    ),
)
"""The commands of this module."""
