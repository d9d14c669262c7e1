# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The commands that train, judge, save and publish; the page that shows them."""

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paperclip import conf
from paperclip.cli import main
from paperclip.training import synthetic_pairs, write_pairs

from ..hub_server import hub_server
from ..tiny_models import tiny_model_directory

PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "training.rst"
FAST = (
    "--set", "optim.batch_size=8", "--set", "optim.steps=6", "--set", "optim.warmup=1",
    "--set", "run.eval_every=3", "--set", "run.device=cpu",
)  # fmt: skip
# huggingface_hub sends files in a way that its own client calls old
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(scope="module", name="data")
def fixture_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "mine"
    return write_pairs(synthetic_pairs(64, seed=1, size=32), folder)


@pytest.fixture(scope="module", name="tiny")
def fixture_tiny(tmp_path_factory):
    return tiny_model_directory(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(name="run")
def fixture_run(capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


@pytest.fixture(name="train")
def fixture_train(run, data, tiny):
    def train(*words):
        return run("train", "--data", data, "--model", tiny, *FAST, *words)

    return train


def test_train_evaluate_save_push(train, run, data, tmp_path, monkeypatch):
    code, out, err = train("run1", "--recipe", "default")
    assert code == 0, err
    assert "run:" in out
    assert re.search(r"validation top10: +[01]", out)
    assert "step 6 of 6, loss " in err
    assert " left\n" in err
    again = train("run1", "--recipe", "default")
    assert again[0] == 0
    assert again[1] == out

    code, out, err = run("evaluate", "run1", data, "--records", "records")
    assert code == 0, err
    assert "proposals: 3\n" in out or "proposals:" in out
    assert "\ntop10 " in out
    assert (tmp_path / "records" / "metrics.ecsv").is_file()
    code, out, _ = run("evaluate", "run1", data, "--output", "figures.json")
    assert code == 0

    code, out, err = run(
        "model", "save", "run1", "mine", "--licence", "mit", "--name", "Mine",
        "--metrics", "figures.json", "--split", "test", "--half",
    )  # fmt: skip
    assert code == 0, err
    assert float(re.search(r"lowest cosine: (\S+)", out)[1]) > 0.99
    card = Path("mine/README.md").read_text()
    assert "| top10 |" in card
    assert "Split: test." in card
    code, out, _ = run("model", "push", "mine", "me/mine", "--dry-run")
    assert code == 0
    assert "left out:   nothing\n" in out

    from huggingface_hub import constants

    from paperclip.training import push

    monkeypatch.setattr(push, "_WAIT", 0.0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with hub_server() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE",
            hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        )  # fmt: skip
        code, out, err = run("model", "push", "mine", "me/mine")
        assert code == 0, err
        assert "difference: 0" in out
        assert hub.private == {"me/mine"}
        code, _, err = run("model", "push", "mine", "me/mine")
        assert code == 1
        assert "'me/mine' exists; publish with exist_ok=True (--update)" in err
        with Path("mine/README.md").open("a") as stream:
            stream.write("\nMade with care.\n")
        assert run("model", "push", "mine", "me/mine", "--update")[0] == 0
        assert len(hub.repos["me/mine"]) == 3


def test_interrupted_commands_say_what_is_kept(run, data, tiny, tmp_path):
    """Ctrl-C is 130 for the shell."""
    words = ["train", "run3", "--data", data, "--model", tiny, *FAST]
    words += ["--set", "optim.steps=100000", "--set", "run.patience=none"]
    command = [sys.executable, "-m", "paperclip", *map(str, words)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    first = next(line for line in process.stderr if line.startswith("step"))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert "step 3 of 100000, loss" in first
    assert process.returncode == 130
    assert "goes on from the last checkpoint in run3" in err
    assert "Traceback" not in err
    code, _, err = run("evaluate", "run3", data)
    assert code == 1
    assert "the run in run3 has no model yet; finish it with 'paperclip train'" in err


def test_a_file_of_settings(train, run, tmp_path):
    code, out, _ = run("train", "--recipe", "head", "--set", "optim.lr=3e-4", "--show")
    assert code == 0
    assert "lr = 0.0003\n" in out
    (tmp_path / "head.toml").write_text(out)
    code, out, err = train("head.toml", "run2")
    assert code == 0, err
    text = (tmp_path / "run2" / "config.toml").read_text()
    assert 'recipe = "head"' in text
    assert "lr = 0.0003" in text


def test_a_run_is_not_overwritten(train):
    assert train("run1", "--set", "optim.lr=1e-4")[0] == 0
    code, _, err = train("run1", "--set", "optim.lr=2e-4")
    assert code == 1
    assert "optim.lr (0.0001 then, 0.0002 now)" in err
    code, _, err = train("run1", "--no-resume")
    assert code == 1
    assert "holds a run of 6 steps already" in err


def test_no_validation_pairs(train, run, tiny, tmp_path):
    from astropy.table import Table

    path = write_pairs(synthetic_pairs(32, seed=1, size=32), tmp_path / "all")
    rows = Table.read(path, format="ascii.csv")
    rows["split"] = "train"
    rows.write(path, format="ascii.csv", overwrite=True)
    words = ("train", "run1", "--data", path, "--model", tiny, *FAST)
    code, out, err = run(*words)
    assert code == 0, err
    assert "no figures while training, and the last step is the result" in err
    assert "validation top10" not in out


def test_groups_in_two_splits_are_told(run, tiny, tmp_path):
    from astropy.table import Table

    path = write_pairs(synthetic_pairs(32, seed=1, size=32), tmp_path / "all")
    rows = Table.read(path, format="ascii.csv")
    rows["split"] = ["train", "validation"] * 16
    rows.write(path, format="ascii.csv", overwrite=True)
    words = ("train", "run1", "--data", path, "--model", tiny, *FAST)
    code, _, err = run(*words)
    assert code == 0, err
    assert "warning: 8 groups are in training and in validation" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["train"], 2, "name a directory for the run"),
        (["train", "out"], 2, "name what to train on"),
        (["train", "a.toml", "b.yaml"], 2, "give one file of settings"),
        (["train", "a", "--output", "b"], 2, "give one directory for the run"),
        (["train", "a.toml", "--recipe", "head"], 2, "--recipe is named in a.toml"),
        (["train", "o", "--set", "lr=1"], 2, "must read group.name=value"),
        (["train", "o", "--set", "optim.lrr=1"], 1, "did you mean 'optim.lr'"),
        (["train", "o", "--recipe", "papr"], 1, "did you mean 'recipe paper'|paper"),
        (["train", "a.toml", "o"], 1, "cannot be read: No such file"),
        (["train", "o", "--data", "x.csv"], 1, "no such data set or table"),
        (["evaluate", "builtin", "x.csv"], 1, "no such data set or table"),
        (["model", "save", "a", "b"], 2, "--licence"),
        (["model", "save", "a", "b", "--licence", "mit"], 1, "no model|'a'"),
        (["model", "push", "a"], 2, "ORG/NAME"),
        (["model", "push", "a", "b"], 1, "repo must have the form 'org/name'"),
        (["model", "push", "a", "b/c"], 1, "no directory 'a'"),
    ],
)
def test_errors(run, words, code, message):
    found, _, err = run(*words)
    assert (found, bool(re.search(message, err))) == (code, True), err


def test_push_offline(run, tmp_path):
    with conf.set_temp("offline", True):
        code, _, err = run("model", "push", "a", "b/c")
    assert code == 1
    assert "cannot be published while downloads and uploads are switched off" in err


# ---- the page


def page_blocks():
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"^\.\. code-block:: (\w+)\n\n((?:    .*\n|\n)+)", text, re.M)
    return [(lang, re.sub("^    ", "", block, flags=re.M)) for lang, block in found]


def commands(block):
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def test_the_tutorial_runs(run, tiny, tmp_path):
    """Run the page up to publishing, with a model that takes seconds."""
    done = 0
    for language, block in page_blocks():
        if language == "python" and "# on" not in block:
            exec(compile(block, str(PAGE), "exec"), {})
            done += 1
        for words in commands(block) if language == "bash" else ():
            if words[0] != "paperclip" or words[1:3] == ["model", "push"]:
                continue
            if words[1] == "train":
                words += ["--model", str(tiny), *FAST]
                words += ["--set", "model.image_size=32"]
            code, _, err = run(*words[1:])
            assert code == 0, (words, err)
            done += 1
    assert done >= 6
    assert Path("mymodel/README.md").is_file()
    assert json.loads(Path("mymodel/training.json").read_text())["metrics"]
