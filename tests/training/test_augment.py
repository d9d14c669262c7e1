# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Augmentation: exact turns, right areas, no black corners, no hidden state."""

import math
import time

import numpy as np
import pytest

from paperclip.exceptions import InvalidQueryError
from paperclip.training import (
    Augmentation,
    AugmentSettings,
    TrainingConfig,
    sample_rng,
)


def picture(height=60, width=90, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def still(**options):
    return AugmentSettings(**{"rotate": "none", "flip": False, "crop": 1.0, **options})


def results(augment, rgb, n=64):
    return [augment.apply(rgb, sample_rng(0, 0, index)) for index in range(n)]


def test_nothing_to_change_changes_nothing():
    rgb = picture()
    found = Augmentation(still()).apply(rgb, sample_rng(0, 0, 0))
    np.testing.assert_array_equal(found, rgb)
    assert found is not rgb
    assert not np.shares_memory(found, rgb)
    assert found.flags.c_contiguous
    assert found.flags.writeable


@pytest.mark.parametrize("size", [None, 60])
def test_quarter_turns_and_mirror_images_are_exact(size):
    rgb = picture(60, 60)
    expected = {
        np.rot90(image, turns).tobytes()
        for image in (rgb, rgb[:, ::-1])
        for turns in range(4)
    }
    augment = Augmentation(still(rotate="quarter", flip=True), size=size)
    found = {result.tobytes() for result in results(augment, rgb)}
    assert found == expected


@pytest.mark.parametrize("size", [None, 64])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.83])
@pytest.mark.parametrize("shape", ["same", "square"])
def test_area_of_the_part_is_right(share, size, shape):
    settings = still(crop=share, crop_shape=shape)
    height, width = (300, 320)
    for index in range(50):
        view = Augmentation(settings, size=size).draw(
            (height, width), sample_rng(0, 0, index)
        )
        assert math.prod(view.size) == pytest.approx(share * height * width)
        (x, y), (w, h) = view.center, view.size
        assert -1e-9 <= x - w / 2 <= x + w / 2 <= width + 1e-9
        assert -1e-9 <= y - h / 2 <= y + h / 2 <= height + 1e-9
    if size is None:
        found = Augmentation(settings).apply(
            picture(height, width), sample_rng(0, 0, 1)
        )
        area = found.shape[0] * found.shape[1]
        assert area == pytest.approx(share * height * width, rel=0.01)


def test_part_comes_from_where_it_was_drawn():
    y, x = np.mgrid[:256, :256]
    rgb = np.stack([x, y, 0 * x], axis=2).astype(np.uint8)  # levels are coordinates
    for rotate in ("none", "any"):
        augment = Augmentation(still(rotate=rotate, crop=0.2))
        resized = Augmentation(still(rotate=rotate, crop=0.2), size=40)
        for index in range(20):
            view = augment.draw(rgb.shape, sample_rng(0, 0, index))
            for change in (augment, resized):
                found = change.apply(rgb, sample_rng(0, 0, index))
                found = np.rot90(found, -view.turns).astype(float)
                middle = found.reshape(-1, 3).mean(axis=0)[:2] + 0.5
                np.testing.assert_allclose(middle, view.center, atol=1.0)
                cos, sin = math.cos(view.angle), math.sin(view.angle)
                across = found[0, -1, :2] - found[0, 0, :2]
                n = found.shape[1]
                expected = np.array([cos, sin]) * view.size[0] * (n - 1) / n
                np.testing.assert_allclose(across, expected, atol=2.5)


@pytest.mark.parametrize("shape", ["same", "square"])
@pytest.mark.parametrize("crop", [0.2, (0.5, 1.0), 1.0])
@pytest.mark.parametrize("size", [None, 80])
def test_no_black_corners_at_any_angle(shape, crop, size):
    rgb = np.full((120, 120, 3), 200, dtype=np.uint8)
    settings = AugmentSettings(rotate="any", crop=crop, crop_shape=shape)
    for found in results(Augmentation(settings, size=size), rgb, 100):
        assert found.min() >= 199


def test_corners_can_be_filled():
    rgb = np.full((100, 100, 3), 200, dtype=np.uint8)
    settings = AugmentSettings(rotate="any", crop=1.0, corners="fill")
    found = np.stack(results(Augmentation(settings, size=50, fill=7), rgb))
    share = (found == 7).mean(axis=(1, 2, 3))
    # the mean of the corners of a square that is turned by up to 45 degrees
    assert 0.08 < share.mean() < 0.16
    view = Augmentation(settings).draw((100, 100), sample_rng(0, 0, 0))
    assert view.size == (100, 100)


def test_area_is_kept_at_any_angle_where_it_fits():
    augment = Augmentation(AugmentSettings(rotate="any", crop=0.45))
    for index in range(100):
        view = augment.draw((100, 100), sample_rng(0, 0, index))
        assert math.prod(view.size) == pytest.approx(4500)


def test_pictures_are_fitted_like_the_encoder_does():
    from paperclip.models.preprocess import Preprocessing, letterbox

    y, x = np.mgrid[:200, :300]
    rgb = np.stack([x // 2, y, (x + y) // 2], axis=2).astype(np.uint8)
    frame = Preprocessing((128, 128), (0.5,) * 3, (0.5,) * 3, "bicubic", 9)
    found = Augmentation(still(), size=128, fill=9).apply(rgb, sample_rng(0, 0, 0))
    expected = letterbox(rgb, frame)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_levels():
    rgb = np.full((40, 40, 3), 100, dtype=np.uint8)
    rgb[:20] = 140
    for found in results(Augmentation(still(invert=1.0)), rgb, 4):
        np.testing.assert_array_equal(found, 255 - rgb)
    levels = [x[0, 0, 0] for x in results(Augmentation(still(brightness=0.5)), rgb)]
    assert 84 <= min(levels) < 95
    assert 205 < max(levels) <= 231
    for found in results(Augmentation(still(contrast=1.0)), rgb):
        assert found.mean() == pytest.approx(120, abs=1)
    spread = [np.ptp(x) for x in results(Augmentation(still(contrast=1.0)), rgb)]
    assert min(spread) < 20 < 80 < max(spread)
    grey = Augmentation(still(grey=1.0)).apply(picture(), sample_rng(0, 0, 0))
    assert (grey == grey[:, :, :1]).all()
    spread = [x[:10].std() for x in results(Augmentation(still(noise=20.0)), rgb)]
    assert min(spread) < 2
    assert 17 < max(spread) < 21


def test_a_sample_depends_on_its_place_only():
    rgb, settings = picture(), AugmentSettings(rotate="any", noise=9, grey=0.5)
    first, again = Augmentation(settings, size=32), Augmentation(settings, size=32)
    forward = {i: first.apply(rgb, sample_rng(0, 1, i)) for i in range(20)}
    for index in reversed(range(20)):  # another worker, in another order
        found = again.apply(rgb, sample_rng(0, 1, index))
        np.testing.assert_array_equal(found, forward[index])
    assert len({found.tobytes() for found in forward.values()}) == 20
    for seed, epoch in ((1, 1), (0, 0)):
        other = first.apply(rgb, sample_rng(seed, epoch, 3))
        assert (other != forward[3]).any()


def test_a_batch_can_be_changed_alike():
    settings = TrainingConfig.recipe("paper").augment
    assert settings.shared
    augment = Augmentation(settings)
    views = {augment.draw((512, 512), sample_rng(0, 0, 64)) for _ in range(5)}
    assert len(views) == 1
    assert math.prod(views.pop().size) == pytest.approx(0.2 * 512**2)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (700, 2, 3)])
@pytest.mark.parametrize("rotate", ["quarter", "any"])
@pytest.mark.parametrize("size", [None, 1, 33])
def test_odd_shapes(shape, rotate, size):
    settings = AugmentSettings(rotate=rotate, crop=(0.01, 1.0), grey=0.5, contrast=0.1)
    for found in results(Augmentation(settings, size=size), picture(*shape[:2]), 20):
        assert found.dtype == np.uint8
        assert 0 not in found.shape
        assert size is None or found.shape == (size, size, 3)


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((0, 4, 3), dtype=np.uint8),
        "a.jpg",
    ],
)
def test_bad_pictures(rgb):
    match = r"rgb must be a uint8 array of shape \(ny, nx, 3\), got"
    with pytest.raises(InvalidQueryError, match=match):
        Augmentation(AugmentSettings()).apply(rgb, sample_rng(0, 0, 0))


def test_bad_options():
    with pytest.raises(InvalidQueryError, match="size must be at least 1, got 0"):
        Augmentation(AugmentSettings(), size=0)
    with pytest.raises(InvalidQueryError, match="fill must be at most 255, got 256"):
        Augmentation(AugmentSettings(), fill=256)


def test_costs_little_more_than_one_resize():
    from PIL import Image

    rgb, augment = picture(320, 320), Augmentation(AugmentSettings(), size=320)
    box, best = (10.3, 10.7, 300.1, 301.2), [math.inf, math.inf]
    for epoch in range(9):
        start = time.process_time()
        for index in range(20):
            augment.apply(rgb, sample_rng(0, epoch, index))
        middle = time.process_time()
        for _ in range(20):
            resized = Image.fromarray(rgb).resize((320, 320), Image.BICUBIC, box=box)
            np.array(resized)
        spent = middle - start, time.process_time() - middle
        best = [min(pair) for pair in zip(best, spent, strict=True)]
    assert best[0] < 2.5 * best[1]  # about 1.3
