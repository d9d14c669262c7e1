# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
An image tower that shows its projection several depths of the network at once.

The last layer of a network that was trained on photographs knows objects; what
a star field or the texture of a nebula looks like is told by earlier ones, and
a few bright points by how much a map varies rather than by its mean. The towers
here hand on mean, standard deviation and maximum over the picture of each of
the last stages. They are models of timm with a name of their own, so that
open_clip builds them from an ordinary ``vision_cfg`` once `register_towers` was
called, which `~paperclip.models.load_encoder` does.
"""

import functools

__all__ = ["TOWERS", "efficientnet_lite0_stages", "register_towers"]

TOWERS = ("efficientnet_lite0_stages",)
"""Names of towers that timm does not know by itself."""

_FROM = 3  # first stage of EfficientNet-Lite0 that is looked at, of 0 to 6
_FLAT = 1e-6  # added to variances: the root of 0 has no gradient


def register_towers():
    """
    Tell timm, and with it open_clip, the names of the towers of this module.

    Notes
    -----
    `~timm.models.register_model`; only the first call does something.
    """
    _register()


@functools.cache
def _register():
    from timm.models import register_model

    register_model(efficientnet_lite0_stages)


def efficientnet_lite0_stages(pretrained=False, **options):
    """
    Build EfficientNet-Lite0 with statistics of its last stages as features.

    Parameters
    ----------
    pretrained : bool, optional
        Must be False: weights come from a model directory.
    **options
        Of ``timm.create_model("tf_efficientnet_lite0")``.

    Returns
    -------
    tower : `torch.nn.Module`
        From pictures (n, 3, height, width) to features (n, 5952): over the
        picture, the means of the stages 3 to 6 (80, 112, 192 and 320 channels)
        and of the last layer (1280), then the standard deviations of the same
        1984 channels, then their maxima.

    Raises
    ------
    ValueError
        If ``pretrained`` is set.

    References
    ----------
    .. [1] Tan, M. and Le, Q. V. 2019, ICML, arXiv:1905.11946 (EfficientNet)
    .. [2] Hariharan, B. et al. 2015, CVPR, arXiv:1411.5752 (features of
       several depths, there per pixel)
    """
    import timm

    if pretrained:
        msg = (
            "pretrained must be False for efficientnet_lite0_stages, got "
            f"{pretrained!r}; weights come from a model directory"
        )
        raise ValueError(msg)
    for name in ("num_classes", "global_pool", "pretrained_cfg", "cache_dir"):
        options.pop(name, None)  # the projection is that of open_clip
    net = timm.create_model("tf_efficientnet_lite0", num_classes=0, **options)
    return _pooled_class()(net, _FROM)


@functools.cache
def _pooled_class():
    """Return the class; it is made late, as torch is heavy."""
    import torch
    from torch import nn

    class StageStatistics(nn.Module):
        def __init__(self, net, first):
            super().__init__()
            self.net, self.first = net, first
            channels = [block[-1].conv_pwl.out_channels for block in net.blocks[first:]]
            self.num_features = 3 * (sum(channels) + net.num_features)
            self.default_cfg = net.default_cfg

        def forward(self, x):
            net, maps = self.net, []
            x = net.bn1(net.conv_stem(x))
            for number, stage in enumerate(net.blocks):
                x = stage(x)
                if number >= self.first:
                    maps.append(x)
            maps.append(net.bn2(net.conv_head(x)))
            kinds = zip(*map(_statistics, maps), strict=True)
            return torch.cat([torch.cat(kind, 1) for kind in kinds], 1).to(x.dtype)

        def reset_classifier(self, num_classes, global_pool=None):
            if num_classes:
                msg = f"num_classes must be 0 for this tower, got {num_classes}"
                raise ValueError(msg)

        def group_matcher(self, coarse=False):
            inner = self.net.group_matcher(coarse=coarse)
            return {name: _inside_net(rule) for name, rule in inner.items()}

        def set_grad_checkpointing(self, enable=True):
            self.net.set_grad_checkpointing(enable)

    return StageStatistics


def _statistics(maps):
    """Return mean, standard deviation and maximum of maps, each (n, channels)."""
    values = maps.flatten(2).float()
    mean = values.mean(2)
    variance = (values - mean[..., None]).square().mean(2)
    return mean, (variance + _FLAT).sqrt(), values.amax(2)


def _inside_net(rule):
    """Let a rule of timm, by which it groups parameters, begin with ``net.``."""
    if isinstance(rule, str):
        return rf"^net\.(?:{rule.removeprefix('^')})"
    return [(_inside_net(first), second) for first, second in rule]
