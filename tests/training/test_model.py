# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Which parameters learn, at what rate, and what happens to sick ones."""

import numpy as np
import pytest
import torch  # noqa: TID253

from paperclip.exceptions import ModelLoadError, TrainingError
from paperclip.models.heads import HEADS_NAME
from paperclip.models.hub import resolve
from paperclip.models.loading import load_encoder
from paperclip.training import (
    LossSettings,
    ModelSettings,
    OptimSettings,
    TrainingConfig,
    finetune,
)
from paperclip.training._optim import Average, layer_factors, make_optimizer, rate
from paperclip.training._process import find_process
from paperclip.training._steps import Stepper
from paperclip.training.loader import Batch
from paperclip.training.model import build_trainable

from ..tiny_models import tiny_model_directory
from .tiny_runs import tiny_config, tiny_pairs


@pytest.fixture(scope="module", name="base")
def fixture_base(tmp_path_factory):
    return tiny_model_directory(tmp_path_factory.mktemp("model") / "base")


def build(base, seed=0, loss=None, **settings):
    loss = loss or LossSettings()
    return build_trainable(resolve(base), ModelSettings(**settings), loss, seed=seed)


def batch(model, n=6):
    rng = np.random.default_rng(0)
    side = model.preprocessing.size[0]
    frames = rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    rows = [model.reader.ids(f"a star of number {i}") for i in range(n)]
    ids = np.zeros((n, max(map(len, rows))), dtype=np.int64)
    for out, row in zip(ids, rows, strict=True):
        out[: len(row)] = row
    labels = np.stack([np.arange(n)] * 2, axis=1)
    return Batch(0, 0, np.arange(n), frames, ids, labels, [])


def stepper(model, **optim):
    optim = {"warmup": 0, "steps": 10, **optim}
    config = TrainingConfig(model=model.settings, optim=OptimSettings(**optim))
    optimizer = make_optimizer(model, config.optim)
    return Stepper(config, model, find_process("cpu"), optimizer)


@pytest.mark.parametrize("mode", ["full", "head", "linear", "lock-image", "lock-text"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradient_reaches_every_parameter_and_no_other(base, mode, accumulate):
    model = build(base, mode=mode, hidden=8)
    before = {n: t.clone() for n, t in model.clip.state_dict().items()}
    step = stepper(model, accumulate=accumulate)
    model.train()
    step(1, batch(model), [str(i) for i in range(6)])
    learnable = model.learnable()
    for name, parameter in learnable.items():
        assert parameter.grad is not None, name
        if "embedding" not in name:  # rows of words that are not there
            assert parameter.grad.abs().sum() > 0, name
    for name, tensor in model.clip.state_dict().items():
        assert torch.equal(tensor, before[name]) == (name not in learnable), name


def test_norms_and_scale_do_not_decay(base):
    model = build(base)
    optimizer = make_optimizer(model, OptimSettings(weight_decay=0.5))
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            assert group["weight_decay"] == (0.5 if parameter.ndim > 1 else 0), name


def test_layers_learn_slower_further_down(base):
    model = build(base, layer_decay=0.5)
    above = layer_factors(model)
    assert above["visual.proj"] == above["logit_scale"] == 0
    assert above["visual.transformer.resblocks.0.attn.in_proj_weight"] == 1
    assert above["visual.conv1.weight"] == 2
    assert above["text.transformer.resblocks.1.ln_1.weight"] == 1
    assert above["text.transformer.resblocks.0.ln_1.weight"] == 2
    assert above["text.token_embedding.weight"] == 3
    groups = make_optimizer(model, OptimSettings(lr=0.1)).param_groups
    rates = {n: group["base"] for group in groups for n in group["names"]}
    assert rates["visual.conv1.weight"] == pytest.approx(0.025)


def test_layers_of_the_builtin_model():
    model = build("builtin", layer_decay=0.8)
    above = layer_factors(model)
    assert above["visual.head.proj.weight"] == 0
    assert above["visual.trunk.net.conv_stem.weight"] == max(above.values())
    assert above["visual.trunk.net.conv_head.weight"] == 1
    model.train()
    norms = [m for m in model.clip.modules() if hasattr(m, "running_mean")]
    assert norms
    assert not any(m.training for m in norms)


def test_new_layers_and_text_have_rates_of_their_own(base):
    optim = OptimSettings(lr=0.1, head_lr=0.2, text_lr=0.3)
    model = build(base, random_image=True)
    groups = make_optimizer(model, optim).param_groups
    rates = {n: group["base"] for group in groups for n in group["names"]}
    assert rates["visual.conv1.weight"] == 0.2
    assert rates["text.token_embedding.weight"] == 0.3
    assert rates["logit_scale"] == 0.1


def test_random_towers_depend_on_the_seed_only(base):
    one, same, other = (build(base, s, random_image=True) for s in (1, 1, 2))
    name = "visual.conv1.weight"
    first, second, third = (m.clip.state_dict()[name] for m in (one, same, other))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    text = "text.token_embedding.weight"
    assert torch.equal(one.clip.state_dict()[text], other.clip.state_dict()[text])


def test_schedule():
    optim = OptimSettings(warmup=4, steps=12)
    factors = [rate(optim, 12, step) for step in range(1, 13)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == 1
    assert np.all(np.diff(factors[4:]) < 0)
    assert 0 < factors[-1] < 0.1
    constant = OptimSettings(warmup=0, steps=12, schedule="constant")
    assert rate(constant, 12, 9) == 1


def test_average_follows_and_swaps(base):
    model = build(base)
    average = Average(model, 0.5)
    with torch.no_grad():
        model.log_scale.fill_(3.0)
    start = float(average.tensors["logit_scale"])
    average.update(model, 100)
    assert float(average.tensors["logit_scale"]) == pytest.approx((start + 3) / 2)
    average.swap(model)
    assert float(model.log_scale.detach()) == pytest.approx((start + 3) / 2)
    assert float(average.tensors["logit_scale"]) == 3


def test_culprits_are_named(base):
    model = build(base)
    step, sick = stepper(model), batch(model)
    word = int(model.reader.ids("nebula")[1])
    with torch.no_grad():
        model.clip.text.token_embedding.weight[word] = float("nan")
    sick.ids[4, 1] = word
    before = model.clip.state_dict()["visual.conv1.weight"].clone()
    keys = [f"pair {i}" for i in range(6)]
    with pytest.raises(TrainingError, match="not finite for 'pair 4'") as seen:
        step(7, sick, keys)
    assert (seen.value.step, seen.value.keys) == (7, ["pair 4"])
    assert torch.equal(before, model.clip.state_dict()["visual.conv1.weight"])


def test_damaged_heads_are_refused(base, tmp_path):
    config = tiny_config(base, tmp_path, {"model.mode": "head", "optim.steps": 2})
    result = finetune(config, pairs=tiny_pairs())
    (result.model / HEADS_NAME).write_bytes(b"nothing")
    with pytest.raises(ModelLoadError, match="does not hold the heads"):
        load_encoder(result.model)
    (result.model / HEADS_NAME).unlink()
    with pytest.raises(ModelLoadError, match="paperclip_heads"):
        load_encoder(result.model)


def test_towers_below_trained_projections_have_no_dropout(tmp_path):
    base = tiny_model_directory(tmp_path / "base", kind="bert")
    model = build(base, mode="linear")
    model.train()
    ids = torch.from_numpy(batch(model).ids)
    one, other = (model.towers(None, ids)[1] for _ in range(2))
    assert torch.equal(one, other)
    assert model.clip.text.proj.training
