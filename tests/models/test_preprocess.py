# Licensed under a 3-clause BSD style license - see LICENSE.rst
import io

import numpy as np
import pytest
from PIL import Image

from paperclip.exceptions import ImageConversionError
from paperclip.models import preprocess
from paperclip.models.preprocess import Preprocessing, as_rgb, letterbox

FRAME = Preprocessing((32, 32), (0.45, 0.4, 0.5), (0.25, 0.3, 0.2))


def picture(ny, nx, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (ny // 4 + 2, nx // 4 + 2, 3), dtype=np.uint8)
    return np.asarray(
        Image.fromarray(small).resize((nx, ny), Image.Resampling.BILINEAR)
    )


SHAPES = [
    (32, 32),
    (50, 30),
    (30, 50),
    (7, 5),
    (1, 9),
    (255, 200),
    (101, 255),
    (20, 250),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_equals_the_transform_of_open_clip(native, shape, interpolation):
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = {**native.preprocess_config, "interpolation": interpolation}
    config = {key: config[key] for key in ("size", "mean", "std", "interpolation")}
    reference = image_transform_v2(
        PreprocessCfg(**config, resize_mode="longest", fill_color=7), is_train=False
    )
    image = picture(*shape)
    frame = letterbox(
        image,
        Preprocessing((32, 32), FRAME.mean, FRAME.std, interpolation, 7),
    )
    assert frame.shape == (32, 32, 3)
    assert frame.dtype == np.uint8
    ours = native.to_tensor(frame[np.newaxis])[0]
    level = 1.01 / 255 / min(FRAME.std)  # one step of 8 bits, after scaling
    torch.testing.assert_close(
        ours, reference(Image.fromarray(image)), atol=level, rtol=0
    )


@pytest.mark.parametrize("size", [(24, 48), (48, 24)])
def test_frames_that_are_not_square(size):
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = PreprocessCfg(size, mean=(0, 0, 0), std=(1, 1, 1), resize_mode="longest")
    image = picture(70, 60)
    frame = letterbox(image, Preprocessing(size, (0, 0, 0), (1, 1, 1)))
    reference = image_transform_v2(config, is_train=False)(Image.fromarray(image))
    np.testing.assert_allclose(
        frame.transpose(2, 0, 1) / 255, reference.numpy(), atol=1.01 / 255
    )


def test_nothing_is_cropped():
    image = np.zeros((100, 40, 3), np.uint8)
    for corner in ((0, 0), (0, -8), (-8, 0), (-8, -8)):
        y, x = corner
        image[y : y + 8 or None, x : x + 8 or None] = 255
    frame = letterbox(image, FRAME)
    lit = np.argwhere(frame[:, :, 0] > 128)
    assert lit[:, 0].min() == 0
    assert lit[:, 0].max() == 31
    assert np.ptp(lit[:, 1]) == 12
    assert not frame[:, :9].any()


def test_row_zero_stays_on_top():
    image = np.zeros((60, 60, 3), np.uint8)
    image[:20] = 255
    frame = letterbox(image, FRAME)
    assert frame[:8].min() == 255
    assert frame[-8:].max() == 0


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (3, 1000)])
def test_extreme_shapes(shape):
    frame = letterbox(np.full((*shape, 3), 200, np.uint8), FRAME)
    assert frame.max() == 200
    assert frame.shape == (32, 32, 3)


@pytest.mark.parametrize("shape", [(1000, 700), (3000, 3000), (5000, 8), (9, 2)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_one_level_from_pillow(shape, interpolation):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    ratio = max(shape) / 32
    inner = tuple(max(1, round(n / ratio)) for n in shape)
    kernel = Image.Resampling[interpolation.upper()]
    plain = np.asarray(Image.fromarray(image).resize(inner[::-1], kernel))
    frame = letterbox(image, Preprocessing((32, 32), (0,) * 3, (1,) * 3, interpolation))
    top, left = ((32 - n) // 2 for n in inner)
    frame = frame[top : top + inner[0], left : left + inner[1]]
    assert np.abs(frame.astype(int) - plain.astype(int)).max() <= 1


def test_input_is_left_alone():
    image = picture(50, 40)
    image.flags.writeable = False
    before = image.copy()
    letterbox(image, FRAME)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr"])
def test_pil_modes(mode):
    image = Image.fromarray(picture(40, 30)).convert(
        "L" if mode in {"PA", "LA"} else "RGB"
    )
    image = image.convert(mode)
    assert as_rgb(image).shape == (40, 30, 3)
    assert letterbox(image, FRAME).shape == (32, 32, 3)


def test_grey_is_repeated_over_the_channels():
    grey = picture(40, 30)[:, :, 0]
    from_array = letterbox(grey, FRAME)
    from_image = letterbox(Image.fromarray(grey), FRAME)
    assert np.array_equal(from_array, from_image)
    assert np.array_equal(from_array[..., 0], from_array[..., 2])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8, 3)),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((8,), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.uint16),
        [[0, 1], [2, 3]],
        "picture.png",
        None,
    ],
)
def test_not_a_picture(image):
    with pytest.raises(ImageConversionError, match=r"uint8 array .*to_rgb makes one"):
        letterbox(image, FRAME)


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_deep_pil_images_are_refused(mode):
    with pytest.raises(ImageConversionError, match="8 bits per channel, got mode"):
        letterbox(Image.new(mode, (8, 8)), FRAME)


@pytest.mark.parametrize("shape", [(0, 8, 3), (8, 0, 3), (0, 0)])
def test_no_pixels(shape):
    with pytest.raises(ImageConversionError, match="must have 1 to"):
        letterbox(np.zeros(shape, np.uint8), FRAME)


def test_too_many_pixels_are_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(preprocess, "MAX_PIXELS", 1000)
    stream = io.BytesIO()
    Image.new("RGB", (40, 40)).save(stream, "PNG")
    image = Image.open(stream)
    with pytest.raises(ImageConversionError, match="got 40 x 40; reduce it first"):
        letterbox(image, FRAME)
    assert image._im is None  # nothing was decoded


def test_damaged_file():
    stream = io.BytesIO()
    Image.fromarray(picture(80, 80)).save(stream, "JPEG")
    image = Image.open(io.BytesIO(stream.getvalue()[:900]))
    with pytest.raises(ImageConversionError, match="cannot be decoded"):
        letterbox(image, FRAME)


def test_centre_crop_in_the_configuration_becomes_a_letterbox():
    config = {"mean": [0.5] * 3, "std": [0.5] * 3, "fill_color": 9}
    crop = Preprocessing.from_config({**config, "resize_mode": "shortest"}, size=32)
    whole = Preprocessing.from_config({**config, "resize_mode": "longest"}, size=32)
    assert (crop.fill, whole.fill) == (0, 9)
    assert crop.as_dict()["resize_mode"] == "longest"
    assert crop.size == (32, 32)
