# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Configurations: typos, types and ranges; files; recipes; changes."""

import json
import pickle
import tomllib
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paperclip.exceptions import InvalidQueryError
from paperclip.training import (
    AugmentSettings,
    CaptionSettings,
    OptimSettings,
    TrainingConfig,
)

RECIPES = ["default", "paper", "head"]


@pytest.mark.parametrize("suffix", ["toml", "yaml", "yml", "json"])
@pytest.mark.parametrize("name", RECIPES)
def test_file_reads_back_equal(tmp_path, name, suffix):
    config = TrainingConfig.recipe(name).replace(
        "run.output=runs/a b \u00e9\"'\\",
        'data.path=["x", "y"]',
        "optim.eps=1e-12",
        "run.log=tensorboard",
        "optim.epochs=2.5",
        "captions.sources.my source=0.25",
    )
    path = tmp_path / f"config.{suffix}"
    config.to_file(path)
    again = TrainingConfig.from_file(path)
    assert again == config
    assert again.hash == config.hash
    assert hash(again) == hash(config)
    assert again.optim.steps is None
    assert list(tmp_path.iterdir()) == [path]


def test_stored_values_do_not_depend_on_the_recipe_of_today(tmp_path, monkeypatch):
    from paperclip.training import recipes

    path = tmp_path / "config.toml"
    config = TrainingConfig.recipe("default").replace("optim.epochs=3")
    config.to_file(path)
    monkeypatch.setitem(recipes.RECIPES, "default", {"optim": {"lr": 1.0, "steps": 7}})
    assert TrainingConfig.from_file(path) == config


def test_text_of_configurations():
    config = TrainingConfig.recipe("paper")
    values = tomllib.loads(config.to_toml())
    assert values["recipe"] == "paper"
    assert values["optim"]["lr"] == 1e-5
    assert values["optim"]["epochs"] == "none"
    assert json.loads(config.to_json()) == config.to_dict()
    assert TrainingConfig.from_dict(values) == config


def test_recipe_of_the_paper():
    config = TrainingConfig.recipe("paper")
    optim = config.optim
    assert (optim.steps, optim.warmup, optim.batch_size) == (20_000, 2000, 32)
    assert (optim.lr, optim.weight_decay) == (1e-5, 1e-3)
    assert (config.loss.kind, config.loss.positives) == ("paper", "none")
    assert config.augment.crop == (0.2, 0.2)
    assert config.augment.rotate == "quarter"
    assert config.augment.shared
    assert not config.data.unique_groups
    assert (config.captions.window, config.captions.category) == ("words", True)


def test_other_recipes_have_none_of_its_faults():
    for name in ("default", "head"):
        config = TrainingConfig.recipe(name)
        assert config.loss.kind == "softmax"
        assert config.loss.positives != "none"
        assert config.data.unique_groups
        assert not config.augment.shared
        assert not config.captions.category
        assert config.captions.window == "sentences"
        assert config.model.mode == ("full" if name == "default" else "head")


def test_a_file_stands_on_a_recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "recipe: paper\noptim:\n  lr: 2e-5\n  epochs: 3\nrun: {output: out, seed: 0}\n"
        "captions:\n  sources: {summary: 1}\nloss: {positives: none}\n"
    )
    config = TrainingConfig.from_file(path)
    assert config.optim.lr == 2e-5
    assert (config.optim.epochs, config.optim.steps) == (3.0, None)
    assert config.optim.weight_decay == 1e-3
    assert dict(config.captions.sources) == {"summary": 1.0}
    assert config.run.output == "out"
    path.write_text("")
    assert TrainingConfig.from_file(path) == TrainingConfig.recipe("default")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"optm": {}}, r"unknown setting 'optm'; did you mean 'optim'\?"),
        ({"optim": {"lrr": 1}}, r"'optim.lrr'; did you mean 'optim.lr'\?"),
        ({"optim": {"Steps": 1}}, r"'optim.Steps'; did you mean 'optim.steps'\?"),
        ({"run": {"x" * 10**6: 1}}, r"unknown setting 'run.x{96}'\. Choose from"),
        ({"recipe": "papr"}, r"'recipe papr'; did you mean 'recipe paper'\?"),
        ({"recipe": ["paper"]}, "unknown setting"),
        ({"optim": 3}, "optim must be a mapping of settings, got int"),
        ({"optim": {"lr": "fast"}}, "optim.lr must be a number above 0 to 10, got 'f"),
        ({"optim": {"lr": 0}}, "optim.lr must be a number above 0 to 10, got 0"),
        ({"optim": {"lr": float("nan")}}, "optim.lr must be a number .*got nan"),
        ({"optim": {"lr": True}}, "optim.lr must be a number .*got True"),
        ({"optim": {"lr": None}}, "optim.lr must be a number .*got None"),
        ({"optim": {"betas": 0.9}}, "optim.betas must be two numbers above 0"),
        ({"optim": {"betas": [0.9, 1.0]}}, r"optim.betas must be .*got \[0.9, 1.0\]"),
        (
            {"optim": {"batch_size": 1}},
            "optim.batch_size must be a whole number fr",
        ),
        ({"optim": {"batch_size": 8.5}}, "optim.batch_size must be a whole number"),
        ({"optim": {"steps": 5, "epochs": 1}}, "either optim.steps or optim.epochs"),
        ({"optim": {"steps": 5, "warmup": 6}}, "optim.warmup must be at most optim.st"),
        (
            {"optim": {"batch_size": 4, "accumulate": 5}},
            "optim.accumulate must be at most optim.batch_size, 4, got 5",
        ),
        (
            {"model": {"mode": "ful"}},
            r"model.mode must be one of .*did you mean 'full'",
        ),
        ({"model": {"mode": 1}}, "model.mode must be one of 'full', .*, got 1"),
        ({"model": {"base": " "}}, "model.base must be a text that is not blank"),
        ({"model": {"random_text": "no"}}, "model.random_text must be true or false"),
        (
            {"model": {"image_size": 8}},
            "model.image_size must be .* or none, got 8",
        ),
        ({"data": {"path": [""]}}, "data.path must be a text, or a list of texts"),
        ({"data": {"path": {"a": 1}}}, "data.path must be a text, or a list of texts"),
        ({"captions": {"sources": {}}}, "captions.sources must be names with weights"),
        ({"captions": {"sources": {"a": 0}}}, "captions.sources must be names with w"),
        (
            {"captions": {"sources": {"a": -1}}},
            "captions.sources.a must be a number",
        ),
        ({"captions": {"sources": {1: 1}}}, "captions.sources must be names with weig"),
        ({"augment": {"crop": [0.9, 0.1]}}, "augment.crop must be two numbers .*in or"),
        ({"augment": {"crop": 1.5}}, "augment.crop must be two numbers above 0 to 1"),
        ({"loss": {"kind": "paper"}}, "loss.positives must be 'none' with loss.kind"),
        (
            {"loss": {"kind": "sigmoid", "label_smoothing": 0.1}},
            "loss.label_smoothing must be 0 with loss.kind 'sigmoid', got 0.1",
        ),
        ({"loss": {"scale_min": 200}}, "loss.scale_min must be at most loss.scale_max"),
        ({"loss": {"scale_init": 200}}, "loss.scale_init must be from loss.scale_min"),
        ({"run": {"log": ["wandbb"]}}, "run.log must be one of .*did you mean 'wandb'"),
        ({"run": {"log": 3}}, "run.log must be a list of words"),
        (
            {"run": {"metric": "median_rank"}},
            "run.metric_mode must be 'min' .*'median_rank', of which smaller",
        ),
        ({"run": {"metric_mode": "min"}}, "run.metric_mode must be 'max' with run.me"),
        ({"run": {"metric": "top11"}}, "run.metric must be .*did you mean 'top1'"),
        (
            {"data": {"validation": "validatoin"}},
            "data.validation must be one of .*did you mean 'validation'",
        ),
        ({"run": {"seed": -1}}, "run.seed must be a whole number from 0"),
        ({"run": {"output": "a\0b"}}, "run.output must be a text that is not blank or"),
        ([], "a configuration must be a mapping, got list"),
    ],
)
def test_what_is_refused(values, match):
    with pytest.raises(InvalidQueryError, match=match):
        TrainingConfig.from_dict(values)


def test_groups_refuse_typos_themselves():
    with pytest.raises(
        InvalidQueryError, match=r"'augment.crp'; did you mean 'augment.c"
    ):
        AugmentSettings(crp=1)
    with pytest.raises(InvalidQueryError, match="'modl'; did you mean 'model'"):
        TrainingConfig(modl={})
    with pytest.raises(InvalidQueryError, match="optim must be a OptimSettings or a m"):
        TrainingConfig(optim=AugmentSettings())
    assert TrainingConfig(optim={"lr": 1}).optim == OptimSettings(lr=1)


def test_values_are_brought_to_one_form():
    assert AugmentSettings(crop=1).crop == (1.0, 1.0)
    assert OptimSettings(steps=10.0, warmup=0).steps == 10
    assert OptimSettings(epochs=2).steps is None
    assert OptimSettings().steps == 2000
    config = TrainingConfig(data={"path": Path("a")}, run={"log": "wandb"})
    assert config.data.path == ("a",)
    assert config.run.log == ("wandb",)


def test_nothing_can_be_changed_in_place():
    config = TrainingConfig()
    with pytest.raises(FrozenInstanceError):
        config.optim = None
    with pytest.raises(FrozenInstanceError):
        config.optim.lr = 1.0
    with pytest.raises(TypeError):
        config.captions.sources["title"] = 1


def test_changes():
    config = TrainingConfig.recipe("default")
    changed = config.replace(
        "optim.lr=1e-4",
        "model.base=org/name@main",
        "run.output=None",
        "data.unique_groups=False",
        {"optim.epochs": 4, "augment.crop": [0.3, 0.4]},
        "captions.sources.title=0",
        "captions.sources.label=0.5",
    )
    assert changed.optim.lr == 1e-4
    assert changed.model.base == "org/name@main"
    assert changed.run.output is None
    assert changed.data.unique_groups is False
    assert (changed.optim.epochs, changed.optim.steps) == (4.0, None)
    assert changed.augment.crop == (0.3, 0.4)
    assert changed.captions.sources["title"] == 0
    assert changed.captions.sources["label"] == 0.5
    assert changed.captions.sources["abstract"] == 0.5
    assert changed.replace("optim.steps=500").optim.epochs is None
    assert changed.recipe_name == "default"
    assert config == TrainingConfig.recipe("default")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("optim.lr", "a change must read 'group.name=value', got 'optim.lr'"),
        (3, "a change must read"),
        ("lr=1", r"unknown setting 'lr'\. Choose from|did you mean"),
        ("optm.lr=1", r"unknown setting 'optm.lr'; did you mean 'optim.lr'\?"),
        ("optim.l=1", r"unknown setting 'optim.l'; did you mean 'optim.lr'\?"),
        ("optim=1", "unknown setting 'optim'"),
        ("optim.lr.x=1", r"unknown setting 'optim.lr.x'; did you mean 'optim.lr'\?"),
        ("optim.lr=quick", "optim.lr must be a number .*got 'quick'"),
    ],
)
def test_bad_changes(change, match):
    with pytest.raises(InvalidQueryError, match=match):
        TrainingConfig.recipe().replace(change)


def test_hash_tells_what_shapes_the_result():
    config = TrainingConfig.recipe()
    assert len(config.hash) == 16
    same = config.replace(
        "run.output=a", "run.workers=7", "run.keep=3", "run.log=wandb"
    )
    assert same.hash == config.hash
    for change in ("run.seed=1", "optim.lr=2e-4", "data.path=a", "run.patience=9"):
        assert config.replace(change).hash != config.hash


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.toml", b"[optim\n", "a.toml: this is not valid TOML: .*line 1"),
        ("a.toml", b"[optim]\nlr = 1\nlr = 2\n", "not valid TOML: .*overwrite"),
        ("a.json", b"{", "a.json: this is not valid JSON: .*line 1"),
        ("a.json", b'{"optim": {"lr": 1, "lr": 2}}', "JSON: 'lr' is given twice"),
        ("a.json", b"[" * 10**5, "not valid JSON"),
        ("a.yaml", b"optim:\n lr: 1\n lr: 2\n", "YAML: 'lr' is given twice"),
        ("a.yaml", b"optim: [1\n", "not valid YAML: .*line 2"),
        ("a.yaml", b"!!python/object/apply:os.getcwd []", "YAML: .*constructor"),
        ("a.yaml", b"? [a]\n: 1\n", "YAML|unknown setting"),
        ("a.yaml", b"just text", "a configuration must be a mapping, got str"),
        ("a.yaml", b"\xff\xfe\xff", "a.yaml: this is not valid YAML"),
        ("a.yaml", b"optim: {lr: fast}", "a.yaml: optim.lr must be a number"),
        ("a.ini", b"", r"must end in one of .*got '.ini'"),
        ("a.json", b" " * (1 << 21), "must have at most 1048576 bytes"),
    ],
)
def test_bad_files(tmp_path, name, content, match):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidQueryError, match=match):
        TrainingConfig.from_file(path)


def test_file_that_is_missing(tmp_path):
    with pytest.raises(InvalidQueryError, match=r"cannot be read: No such file"):
        TrainingConfig.from_file(tmp_path / "a.toml")
    with pytest.raises(InvalidQueryError, match=r"must end in one of"):
        TrainingConfig().to_file(tmp_path / "a.txt")


def test_hostile_yaml_ends_quickly(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join([*lines, "optim: {lr: *a11}"]))
    with pytest.raises(InvalidQueryError, match="unknown setting 'a0'"):
        TrainingConfig.from_file(path)
    lines = [f"  {line}" for line in lines]
    path.write_text("\n".join(["captions:", *lines]))
    with pytest.raises(InvalidQueryError, match=r"unknown setting 'captions.a0'"):
        TrainingConfig.from_file(path)


@given(st.text(min_size=1, max_size=30).filter(lambda t: t.strip() and "\0" not in t))
@settings(deadline=None, max_examples=100)
def test_any_text_survives_toml(text):
    if text.lower() in ("none", "null"):
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    config = TrainingConfig(run={"output": text}, data={"path": [text, "b"]})
    assert TrainingConfig.from_dict(tomllib.loads(config.to_toml())) == config


def test_every_setting_is_documented_and_picklable():
    config = TrainingConfig.recipe("paper")
    assert pickle.loads(pickle.dumps(config)) == config
    for group in fields(config)[1:]:
        kind = type(getattr(config, group.name))
        for item in fields(kind):
            assert item.name in kind.__doc__, f"{group.name}.{item.name}"
            assert "check" in item.metadata


def test_weights_of_sources_look_like_a_dict():
    sources = CaptionSettings(sources={"b": 1, "a": 2}).sources
    assert repr(sources) == "{'b': 1.0, 'a': 2.0}"
    assert sources == {"a": 2, "b": 1}
    assert hash(sources) == hash(CaptionSettings(sources={"a": 2, "b": 1}).sources)
