# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The image tower that looks at several depths of its network."""

import json

import numpy as np
import pytest

from paperclip.models import load_encoder
from paperclip.models.stages import efficientnet_lite0_stages, register_towers
from paperclip.training import TrainingConfig
from paperclip.training.model import build_trainable

from ..tiny_models import tiny_model_directory


@pytest.fixture(scope="module")
def tower():
    """One tower with random weights."""
    import torch

    torch.manual_seed(0)
    return efficientnet_lite0_stages().eval()


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A model directory whose image tower is of this kind."""
    import torch
    from open_clip.model import CustomTextCLIP
    from safetensors.torch import save_file

    path = tiny_model_directory(tmp_path_factory.mktemp("stages"))
    config = json.loads((path / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"] = {
        "timm_model_name": "efficientnet_lite0_stages",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": 64,
    }
    config["preprocess_cfg"]["size"] = 64
    (path / "open_clip_config.json").write_text(json.dumps(config))
    cfg = {k: v for k, v in config["model_cfg"].items() if k != "custom_text"}
    register_towers()
    torch.manual_seed(1)
    model = CustomTextCLIP(**cfg)
    save_file(model.state_dict(), path / "open_clip_model.safetensors")
    return path


def test_features_are_statistics_of_the_last_stages(tower):
    """Four stages and the last layer, computed apart with timm's own network."""
    import torch

    frames = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = tower(frames)
        maps = tower.net.forward_intermediates(frames, intermediates_only=True)
        last = tower.net(frames)
        head = tower.net.bn2(tower.net.conv_head(maps[-1]))
    assert found.shape == (2, tower.num_features) == (2, 3 * 1984)
    mean, deviation, largest = found.chunk(3, 1)
    torch.testing.assert_close(mean[:, -1280:], last)
    # timm shows the maps before each reduction: stages 4 and 6 are among them
    for part, (begin, end) in ((maps[-2], (80, 192)), (maps[-1], (384, 704))):
        torch.testing.assert_close(mean[:, begin:end], part.mean((2, 3)))
        std = part.flatten(2).std(2, correction=0)
        torch.testing.assert_close(deviation[:, begin:end], std, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(largest[:, begin:end], part.amax((2, 3)))
    torch.testing.assert_close(largest[:, -1280:], head.amax((2, 3)))


def test_pictures_without_any_structure_have_gradients(tower):
    """A deviation of 0 does not give a gradient that is no number."""
    import torch

    frames = torch.zeros(1, 3, 32, 32, requires_grad=True)  # last maps of one pixel
    tower(frames).sum().backward()
    assert torch.isfinite(frames.grad).all()


def test_groups_of_parameters_are_those_of_the_network(tower):
    """Layer-wise learning rates know every parameter of the tower."""
    from timm.models import group_parameters

    groups = group_parameters(tower, tower.group_matcher())
    inner = group_parameters(tower.net, tower.net.group_matcher())
    assert {
        level: [f"net.{name}" for name in names] for level, names in inner.items()
    } == groups


def test_weights_come_from_a_directory_only():
    """There is nothing to fetch, and a classifier is not ours to make."""
    with pytest.raises(ValueError, match="pretrained must be False"):
        efficientnet_lite0_stages(pretrained=True)
    with pytest.raises(ValueError, match="num_classes must be 0"):
        efficientnet_lite0_stages().reset_classifier(10)


def test_a_directory_with_it_loads_and_encodes(directory):
    """open_clip builds it; the same picture gives the same unit vector."""
    encoder = load_encoder(directory, device="cpu", precision="float32")
    picture = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    vectors = encoder.encode_images([picture, picture])
    assert vectors.shape == (2, 24)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_it_can_be_trained(directory):
    """Only the projections learn in the mode "linear"."""
    from paperclip.models.hub import resolve

    config = TrainingConfig.recipe("default").replace({"model.mode": "linear"})
    model = build_trainable(resolve(directory), config.model, config.loss)
    names = set(model.learnable())
    assert "visual.head.proj.weight" in names
    assert not any(name.startswith("visual.trunk") for name in names)
