# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The commands that train models and judge them."""

import argparse
import functools
import os
import sys
from pathlib import Path

from paperclip.cli.arguments import Command, add_output_options
from paperclip.cli.output import Destination
from paperclip.cli.terminal import clear_status, say, show_status

__all__ = ["TRAINING"]

_SETTINGS = (".toml", ".yaml", ".yml", ".json")


# ---- types of arguments


def _change(text):
    name, equals, _ = text.partition("=")
    if not equals or "." not in name:
        msg = f"must read group.name=value, such as optim.lr=1e-4, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return text


# ---- train


def _train_arguments(parser):
    parser.description += (
        " The same command goes on where a run ended when it was interrupted. With "
        "several processors: torchrun --nproc-per-node N -m paperclip train ..."
    )
    parser.add_argument(
        "places",
        nargs="*",
        metavar="CONFIG OUT",
        help=f"settings ({', '.join(_SETTINGS)}), and the directory of the run; "
        "either may be left out",
    )
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help="'default', 'paper' or 'head', in place of CONFIG",
    )
    parser.add_argument(
        "--data",
        action="append",
        metavar="DATASET",
        help="a data set, or a table of one's own; may be given several times",
    )
    parser.add_argument("--output", metavar="DIR", help="the same as OUT")
    parser.add_argument(
        "--model", metavar="NAME", help="where to begin; the same as model.base"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_change,
        dest="changes",
        metavar="NAME=VALUE",
        help="change a setting, such as optim.lr=1e-4; may be given several times",
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on with a run in OUT; --no-resume refuses to touch one",
    )
    parser.add_argument(
        "--show", action="store_true", help="write all settings to stdout, and end"
    )


def _train(args):
    from paperclip.training import TrainingConfig, finetune

    path, output = _places(args)
    if path is not None and args.recipe is not None:
        args.fail(f"--recipe is named in {path} already; leave one of them out")
    if path is None:
        config = TrainingConfig.recipe(args.recipe or "default")
    else:
        config = TrainingConfig.from_file(path)
    given = {"run.output": output, "model.base": args.model, "data.path": args.data}
    config = config.replace({name: v for name, v in given.items() if v is not None})
    config = config.replace(*args.changes)
    if args.show:
        sys.stdout.write(config.to_toml())
        return 0
    if config.run.output is None:
        args.fail("name a directory for the run, for example --output run1")
    if not config.data.path:
        args.fail("name what to train on, for example --data DATASET")
    show_status("reading the pairs and loading the model ...")
    try:
        show = functools.partial(_show_progress, config.run.metric)
        result = finetune(config, resume=args.resume, callbacks=[show])
    except KeyboardInterrupt:
        _say_what_is_kept(config.run.output)
        raise
    if os.environ.get("RANK", "0") == "0":
        facts = {
            "run": str(result.directory),
            "model": str(result.model),
            "steps": result.steps,
            "ended": "nothing got better" if result.stopped == "patience" else "done",
            "best_step": result.best,
        }
        facts |= {f"validation_{k}": f"{v:.4g}" for k, v in result.metrics.items()}
        Destination("text", None, None).write_facts(facts)
    return 0


def _places(args):
    """Return the file of settings and the directory of the run."""
    files = [word for word in args.places if word.lower().endswith(_SETTINGS)]
    folders = [word for word in args.places if word not in files]
    if args.output is not None:
        folders.append(args.output)
    if len(files) > 1:
        args.fail(f"give one file of settings, got {' and '.join(files)}")
    if len(folders) > 1:
        args.fail(f"give one directory for the run, got {' and '.join(folders)}")
    return files[0] if files else None, folders[0] if folders else None


def _say_what_is_kept(output):
    if (Path(output).expanduser() / "checkpoints" / "last").is_file():
        say(f"the same command goes on from the last checkpoint in {output}")
    else:
        say(f"there is no checkpoint in {output} yet; the same command begins anew")


def _show_progress(metric, progress):
    left = _duration(progress.seconds_left)
    line = f"step {progress.step} of {progress.steps}, loss {progress.loss:.3f}"
    if progress.metrics:
        value = progress.metrics[metric]
        say(f"{line}, {metric} {value:.3f}, {left} left")
    else:
        pace = progress.samples_per_second
        show_status(f"{line}, {pace:.3g} pairs per second, {left} left ...")
    if progress.step == progress.steps:
        clear_status()


def _duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


# ---- evaluate


def _evaluate_arguments(parser):
    parser.description += (
        " Every pair counts once, as it is; intervals are 95 %, by bootstrap over "
        "proposals."
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a run, 'builtin', 'org/name[@revision]' on the Hugging Face Hub, or a "
        "model directory",
    )
    parser.add_argument(
        "data", metavar="DATASET", help="a data set, or a table of one's own"
    )
    parser.add_argument(
        "--split",
        default="test",
        metavar="NAME",
        help="'train', 'validation', 'test' (the default) or 'all'",
    )
    parser.add_argument(
        "--texts",
        default="abstract",
        metavar="SOURCE",
        help="which texts are looked for, 'abstract' by default; of several, with "
        "commas between them, the first that a pair has",
    )
    parser.add_argument(
        "--by",
        metavar="COLUMN",
        help="also measure the pictures of each value on their own, such as mission",
    )
    parser.add_argument(
        "--records", metavar="DIR", help="also write what is known of every picture"
    )
    parser.add_argument(
        "--device", metavar="DEVICE", help="'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'"
    )
    add_output_options(parser, columns=False)


def _evaluate(args):
    from paperclip.models import load_encoder
    from paperclip.training import evaluate, read_pairs

    destination = Destination.from_args(args)
    pairs = read_pairs(args.data, None if args.split == "all" else args.split)
    show_status("loading the model ...")
    encoder = load_encoder(_model_of(args.model), device=args.device)
    show_status(f"encoding {len(pairs)} pictures ...")
    found = evaluate(
        encoder,
        pairs,
        texts=args.texts.split(","),
        by=args.by,
        records=args.records,
        progress=lambda done: show_status(f"encoded {done} of {len(pairs)} ..."),
    )
    clear_status()
    view = {
        "subset": ("subset", None),
        "name": ("figure", None),
        "value": ("value", ".4g"),
        "low": ("low", ".4g"),
        "high": ("high", ".4g"),
        "chance": ("chance", ".4g"),
        "n": ("n", None),
    }
    heading = [
        ("model", f"{args.model} ({encoder.fingerprint})"),
        ("data", f"{args.data} ({args.split})"),
        ("pictures", found.settings["n_pictures"]),
        ("proposals", found.settings["n_proposals"]),
        ("texts", args.texts),
    ]
    destination.write(found.metrics, view=view, heading=heading)
    return 0


def _model_of(name):
    """Return the model of a run, or the name itself."""
    from paperclip.training._facts import find_model

    path = Path(name).expanduser()
    return find_model(path)[1] if path.is_dir() else name


TRAINING = (
    Command(
        "train",
        "Train a model on a data set",
        _train_arguments,
        _train,
    ),
    Command(
        "evaluate",
        "Measure how well a model finds pictures and texts",
        _evaluate_arguments,
        _evaluate,
    ),
)
"""The commands of this module."""
