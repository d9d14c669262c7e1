# Licensed under a 3-clause BSD style license - see LICENSE.rst
import json
import logging
import threading

import numpy as np
import pytest
from PIL import Image

from paperclip import conf
from paperclip.exceptions import ImageConversionError, InvalidQueryError
from paperclip.models import load_encoder

from ..tiny_models import tiny_model_directory


def pictures(n, seed=0):
    rng = np.random.default_rng(seed)
    shapes = rng.integers(20, 90, (n, 2))
    return [rng.integers(0, 256, (ny, nx, 3), dtype=np.uint8) for ny, nx in shapes]


@pytest.fixture(name="paths")
def fixture_paths(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(11)]
    for path, image in zip(paths, pictures(11), strict=True):
        Image.fromarray(image).save(path)
    return paths


def test_facts(encoder):
    assert encoder.image_size == 32
    assert encoder.dimension == 24
    assert encoder.context_length == 32
    assert encoder.logit_scale == pytest.approx(1 / 0.07, rel=1e-3)
    assert encoder.revision is None
    assert encoder.preprocess_config["resize_mode"] == "longest"
    assert encoder.preprocessing.size == (32, 32)
    assert encoder.fingerprint in repr(encoder)


def test_images_equal_open_clip(directories, native):
    import open_clip
    import torch

    model, transform = open_clip.create_model_from_pretrained(
        f"local-dir:{directories['native']}"
    )
    images = pictures(6)
    batch = torch.stack([transform(Image.fromarray(image)) for image in images])
    with torch.inference_mode():
        theirs = model.eval().encode_image(batch, normalize=True).numpy()
    # resized pictures may differ by one level of 255
    assert (native.encode_images(images) * theirs).sum(axis=1).min() > 0.9999
    exact = [np.asarray(Image.fromarray(image).resize((32, 32))) for image in images]
    batch = torch.stack([transform(Image.fromarray(image)) for image in exact])
    with torch.inference_mode():
        theirs = model.encode_image(batch, normalize=True).numpy()
    np.testing.assert_allclose(native.encode_images(exact), theirs, atol=1e-5)


def test_rows_are_unit_float32_in_order(encoder):
    images = pictures(10)
    together = encoder.encode_images(images, batch_size=4)
    assert together.dtype == np.float32
    assert together.shape == (10, 24)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    alone = np.concatenate([encoder.encode_images([image]) for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_every_way_to_give_pictures(native, paths):
    arrays = [np.asarray(Image.open(path)) for path in paths]
    expected = native.encode_images(arrays)
    ways = [
        native.encode_images([Image.fromarray(array) for array in arrays]),
        native.encode_images(array for array in arrays),
        native.encode_images([lambda p=path: Image.open(p) for path in paths]),
        native.encode_images(paths, load=Image.open, batch_size=3),
        native.encode_images(np.stack([arrays[0]] * 2)),
    ]
    for vectors in ways[:-1]:
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(ways[-1], expected[[0, 0]], atol=1e-5)


def test_prepared_pictures(native):
    images = pictures(5)
    frames = np.stack([native.prepare(image) for image in images])
    frames.flags.writeable = False
    vectors = native.encode_prepared(frames)
    np.testing.assert_allclose(vectors, native.encode_images(images), atol=1e-6)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 31, 32, 3), np.uint8),
        np.zeros((2, 32, 32, 3)),
        np.zeros(3, np.uint8),
    ],
)
def test_frames_of_another_shape(native, frames):
    with pytest.raises(ImageConversionError, match=r"uint8 of shape \(n, 32, 32, 3\)"):
        native.encode_prepared(frames)


def test_no_pictures(encoder):
    assert encoder.encode_images([]).shape == (0, 24)
    assert encoder.encode_prepared(np.empty((0, 32, 32, 3), np.uint8)).shape == (0, 24)


def test_a_bad_picture_is_named(native):
    images = [*pictures(5), np.zeros((4, 4))]
    with pytest.raises(ImageConversionError, match=r"images\[5\]: a picture must be"):
        native.encode_images(images, batch_size=2)


def test_errors_of_load_pass_through(native, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        native.encode_images([tmp_path / "nothing.png"], load=Image.open)


def test_memory_is_bounded(native):
    """A generator is never read more than two batches ahead."""
    taken = done = 0

    def images():
        nonlocal taken
        for image in pictures(40):
            taken += 1
            assert taken - done <= 8
            yield image

    def progress(n):
        nonlocal done
        done = n

    native.encode_images(images(), batch_size=4, progress=progress)
    assert (taken, done) == (40, 40)


def test_progress_counts_pictures(native):
    seen = []
    native.encode_images(pictures(7), batch_size=3, progress=seen.append)
    assert seen == [3, 6, 7]


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "8", True])
def test_bad_batch_size(native, batch_size):
    with pytest.raises(InvalidQueryError, match="batch_size must be"):
        native.encode_images(pictures(1), batch_size=batch_size)


def test_batch_size_of_the_configuration(native):
    seen = []
    with conf.set_temp("batch_size", 2):
        native.encode_images(pictures(3), progress=seen.append)
    assert seen == [2, 3]


def test_threads_get_the_same_vectors(native):
    images, texts = pictures(8), ["galaxy", "nebula"]
    expected = native.encode_images(images), native.encode_texts(texts)
    results = [None] * 4

    def work(i):
        results[i] = native.encode_images(images), native.encode_texts(texts)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_allclose(result[0], expected[0], atol=1e-5)
        np.testing.assert_allclose(result[1], expected[1], atol=1e-5)


def test_bfloat16_stays_close(directories):
    full = load_encoder(directories["native"], device="cpu", precision="float32")
    half = load_encoder(directories["native"], device="cpu", precision="bfloat16")
    images = pictures(20)
    cosines = (full.encode_images(images) * half.encode_images(images)).sum(axis=1)
    assert cosines.min() > 0.999
    assert half.encode_images(images).dtype == np.float32
    texts = ["a spiral galaxy"]
    assert np.array_equal(full.encode_texts(texts), half.encode_texts(texts))
    assert full.fingerprint == half.fingerprint


def test_fingerprint_is_about_content(directories, tmp_path):
    first = load_encoder(directories["native"]).fingerprint
    same = load_encoder(tiny_model_directory(tmp_path / "same")).fingerprint
    other = load_encoder(tiny_model_directory(tmp_path / "other", seed=1)).fingerprint
    assert first == same != other
    assert first.startswith("model-")


@pytest.mark.parametrize(
    ("part", "change", "differs"),
    [
        ("preprocess_cfg", {"mean": [0.4, 0.4, 0.5]}, True),
        ("preprocess_cfg", {"fill_color": 9}, True),
        ("preprocess_cfg", {"interpolation": "bilinear"}, True),
        ("preprocess_cfg", {"resize_mode": "shortest"}, False),
        ("model_cfg", {"quick_gelu": True}, True),
    ],
)
def test_fingerprint_follows_the_configuration(copy, native, part, change, differs):
    path = copy()
    file = path / "open_clip_config.json"
    config = json.loads(file.read_text())
    config[part] |= change
    file.write_text(json.dumps(config))
    assert (load_encoder(path).fingerprint != native.fingerprint) == differs


def test_loading_leaves_the_process_alone(directories):
    import torch

    root = logging.getLogger()
    handlers = root.handlers[:]
    root.handlers.clear()
    random, threads = torch.random.get_rng_state(), torch.get_num_threads()
    try:
        encoder = load_encoder(directories["native"])
        encoder.encode_images(pictures(3))
        encoder.encode_texts(["galaxy"])
        assert root.handlers == []
    finally:
        root.handlers[:] = handlers
    assert torch.equal(torch.random.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert not any(p.requires_grad for p in encoder.model.parameters())
    assert not encoder.model.training


def test_encoder_objects_are_returned(native):
    assert load_encoder(native) is native


def test_other_objects_are_refused():
    with pytest.raises(InvalidQueryError, match="got list without encode_images"):
        load_encoder([])


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:1", "mps:7", "cuda:99"])
def test_bad_devices(directories, device):
    message = "device must be 'auto'|does not exist here"
    with pytest.raises(InvalidQueryError, match=message):
        load_encoder(directories["native"], device=device)


def test_device_of_the_configuration(directories):
    with (
        conf.set_temp("device", "nonsense"),
        pytest.raises(InvalidQueryError, match="got 'nonsense'"),
    ):
        load_encoder(directories["native"])


def test_bad_precision(directories):
    with pytest.raises(InvalidQueryError, match="precision must be one of"):
        load_encoder(directories["native"], precision="float16")
