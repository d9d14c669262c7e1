# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Losses: values, gradients, and the same result on two processes as on one."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from paperclip.exceptions import InvalidQueryError
from paperclip.training import (
    clamp_log_scale,
    gather_features,
    paper_loss,
    positive_mask,
    sigmoid_loss,
    softmax_loss,
)

torch = pytest.importorskip("torch")
WORKER = Path(__file__).with_name("ddp_worker.py")


def features(n=6, d=4, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(2, n, d, generator=generator, dtype=dtype)
    return torch.nn.functional.normalize(rows, dim=-1)


GROUPS = torch.tensor([0, 1, 0, -1, -1, 1])


@pytest.mark.parametrize("positives", [None, GROUPS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_of_softmax(positives, smoothing):
    image, text = (x.clone().requires_grad_() for x in features())
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)

    def loss(image, text, scale):
        return softmax_loss(image, text, scale, positives, smoothing)

    assert torch.autograd.gradcheck(loss, (image, text, scale))


@pytest.mark.parametrize("positives", [None, GROUPS])
def test_gradients_of_sigmoid(positives):
    image, text = (x.clone().requires_grad_() for x in features())
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)

    def loss(image, text, scale, bias):
        return sigmoid_loss(image, text, scale, bias, positives)

    assert torch.autograd.gradcheck(loss, (image, text, scale, bias))


def test_gradients_of_the_loss_of_the_paper():
    image, text = (x.clone().requires_grad_() for x in features())
    scale = torch.tensor(4.6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(paper_loss, (image, text, scale))


@pytest.mark.parametrize("n", [1, 2, 32, 500])
def test_chance_level(n):
    same = torch.ones(n, 1, dtype=torch.float64)
    assert float(softmax_loss(same, same, 2.0)) == pytest.approx(math.log(n))
    assert float(paper_loss(same, same, 4.6)) == pytest.approx(math.log(n))
    zero = torch.zeros(n, 1, dtype=torch.float64)
    assert float(sigmoid_loss(zero, zero, 2.0, 0.0)) == pytest.approx(n * math.log(2))


def test_values_agree_with_the_formulas():
    image, text = features(5)
    scale, groups = 1.7, [0, 1, 0, 2, 1]
    logits = (image @ text.T).numpy() * math.exp(scale)

    def one_way(logits):
        total = 0.0
        for i, row in enumerate(logits):
            right = [j for j in range(5) if groups[j] == groups[i]]
            logs = row - np.log(np.exp(row).sum())
            total -= np.mean(logs[right])
        return total / 5

    expected = (one_way(logits) + one_way(logits.T)) / 2
    found = softmax_loss(image, text, scale, torch.tensor(groups))
    assert float(found) == pytest.approx(expected, rel=1e-12)

    bias, total = -3.0, 0.0
    for i in range(5):
        for j in range(5):
            sign = 1 if groups[i] == groups[j] else -1
            total += np.log1p(np.exp(-sign * (logits[i, j] + bias)))
    found = sigmoid_loss(image, text, scale, bias, torch.tensor(groups))
    assert float(found) == pytest.approx(total / 5, rel=1e-12)


def test_softmax_without_positives_is_the_loss_of_open_clip():
    from open_clip.loss import ClipLoss

    image, text = features(8)
    scale = torch.tensor(2.0, dtype=torch.float64)
    expected = ClipLoss()(image, text, scale.exp())
    torch.testing.assert_close(softmax_loss(image, text, scale), expected)
    alone = torch.arange(8)
    torch.testing.assert_close(softmax_loss(image, text, scale, alone), expected)


def test_sigmoid_is_the_loss_of_open_clip():
    from open_clip.loss import SigLipLoss

    image, text = features(8)
    scale = torch.tensor(2.0, dtype=torch.float64)
    expected = SigLipLoss()(image, text, scale.exp(), torch.tensor(-4.0))
    torch.testing.assert_close(sigmoid_loss(image, text, scale, -4.0), expected)


def test_right_pairs_reach_the_smallest_value():
    rows = torch.eye(3, dtype=torch.float64)[[0, 0, 1, 2]]
    groups = torch.tensor([5, 5, 6, 7])
    found = float(softmax_loss(rows, rows, math.log(60), groups))
    assert found == pytest.approx(math.log(2) / 2)  # two of four rows share two texts
    # as negatives they would be pushed apart
    assert not positive_mask(torch.arange(4))[0, 1]
    assert float(sigmoid_loss(rows, rows, math.log(60), -30.0, groups)) < 1e-9


def test_scale_of_the_paper_is_not_exponentiated():
    image, text = features(8)
    found = paper_loss(image, text, torch.tensor(math.log(100)))
    torch.testing.assert_close(
        found, softmax_loss(image, text, math.log(math.log(100)))
    )


def test_half_precision_is_computed_in_single():
    image, text = features(16, 32)
    found = softmax_loss(image.bfloat16(), text.bfloat16(), 3.0)
    assert found.dtype == torch.float32
    exact = softmax_loss(image, text, 3.0)
    assert float(found) == pytest.approx(float(exact), rel=0.02)


def test_masks_of_groups_and_texts():
    groups, texts = torch.tensor([0, 0, -1, -1]), torch.tensor([8, 9, 9, 7])
    expected = np.eye(4, dtype=bool)
    expected[0, 1] = expected[1, 0] = expected[1, 2] = expected[2, 1] = True
    mask = positive_mask(groups, texts)
    np.testing.assert_array_equal(mask.numpy(), expected)
    image, text = features(4)
    by_mask = softmax_loss(image, text, 1.0, positive_mask(groups))
    assert float(by_mask) == float(softmax_loss(image, text, 1.0, groups))


def test_bad_arguments():
    image, text = features(4)
    with pytest.raises(InvalidQueryError, match=r"same shape .* got \(4, 4\) and \(3"):
        softmax_loss(image, text[:3], 1.0)
    with pytest.raises(InvalidQueryError, match="with n > 0"):
        sigmoid_loss(image[:0], text[:0], 1.0, 0.0)
    with pytest.raises(InvalidQueryError, match="label_smoothing must be from 0"):
        softmax_loss(image, text, 1.0, None, 1.0)
    with pytest.raises(InvalidQueryError, match=r"positives must be integers of shape"):
        softmax_loss(image, text, 1.0, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(InvalidQueryError, match=r"labels must be integers.*float64"):
        softmax_loss(image, text, 1.0, torch.zeros(4, dtype=torch.float64))
    with pytest.raises(InvalidQueryError, match="at least one tensor of labels"):
        positive_mask()
    with pytest.raises(InvalidQueryError, match=r"number of rows, got \[4, 3\]"):
        gather_features(image, text[:3])
    with pytest.raises(InvalidQueryError, match=r"number of rows, got \[4, 4, 2\]"):
        gather_features(image, text, torch.zeros(2))


def test_scale_is_clamped_and_told():
    log_scale = torch.nn.Parameter(torch.tensor(7.0))
    assert clamp_log_scale(log_scale) == pytest.approx(100)
    assert float(log_scale.detach()) == pytest.approx(math.log(100))
    assert clamp_log_scale(log_scale, 120, 200) == pytest.approx(120)
    assert log_scale.requires_grad
    assert math.isnan(clamp_log_scale(torch.tensor([math.nan])))
    with pytest.raises(InvalidQueryError, match="must be positive and in order, got 2"):
        clamp_log_scale(log_scale, 2, 1)


def test_one_process_gathers_nothing():
    image, text = features(4)
    assert gather_features(image, text) == (image, text, None)


def run_processes(folder, *splits):
    """Return what each of several real processes found, for each split."""
    env = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    folder.mkdir()
    command = [sys.executable, str(WORKER), str(folder), json.dumps(splits)]
    started = [
        subprocess.Popen(
            [*command, str(rank)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(len(splits[0]))
    ]
    results = []
    try:
        for process in started:
            out, err = process.communicate(timeout=240)
            assert process.returncode == 0, err
            results.append(json.loads(out))
    finally:
        for process in started:
            process.kill()
    return results


def test_two_processes_agree_with_one(tmp_path):
    (alone,) = run_processes(tmp_path / "one", [12])
    # the last batch is not shared evenly, nor are all others
    splits = [[6, 6], [5, 7], [1, 11]]
    for every in run_processes(tmp_path / "two", *splits):
        assert len(every) == 6
        for number, found in enumerate(every):
            expected = alone[number % 2]
            assert found["kind"] == expected["kind"]
            assert found["groups"] == expected["groups"]
            for key in ("losses", "gradients", "weights"):
                error = np.abs(np.subtract(found[key], expected[key]))
                assert error.max() < 1e-12, (number, key)
    assert all(found["losses"][-1] < found["losses"][0] for found in alone)
