# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Contrastive losses: they see features and a scale, never a model.

All of them take unit rows, compute in float32 or better, and accept several
right answers for a picture, because the pictures of a proposal share a text.
"""

import functools
import math

from paperclip.exceptions import InvalidQueryError

__all__ = [
    "clamp_log_scale",
    "gather_features",
    "paper_loss",
    "positive_mask",
    "sigmoid_loss",
    "softmax_loss",
]


def positive_mask(*labels):
    """
    Tell which texts are right answers for which pictures.

    Parameters
    ----------
    *labels : `torch.Tensor`, shape (n,), integer
        For example the groups of the pairs and the codes of their captions
        (`~paperclip.training.group_codes`, `~paperclip.training.stable_codes`).
        Negative labels equal nothing.

    Returns
    -------
    mask : `torch.Tensor`, shape (n, n), bool
        True where two pairs agree in any of the labels, and on the diagonal.

    Raises
    ------
    InvalidQueryError
        If the labels are no integers or differ in length.
    """
    import torch

    if not labels:
        msg = "positive_mask needs at least one tensor of labels"
        raise InvalidQueryError(msg)
    n = labels[0].shape[0] if labels[0].ndim else 0
    mask = torch.eye(n, dtype=torch.bool, device=labels[0].device)
    for label in labels:
        if label.shape != (n,) or label.is_floating_point() or label.is_complex():
            msg = (
                f"labels must be integers of shape ({n},), got {label.dtype} of shape "
                f"{tuple(label.shape)}"
            )
            raise InvalidQueryError(msg)
        mask |= (label[:, None] == label[None, :]) & (label[:, None] >= 0)
    return mask


def softmax_loss(image, text, log_scale, positives=None, label_smoothing=0.0):
    r"""
    Symmetric cross entropy of pictures and texts, with several right answers.

    Parameters
    ----------
    image, text : `torch.Tensor`, shape (n, d)
        Unit rows; row by row they belong together.
    log_scale : `torch.Tensor` or float
        Natural logarithm of the factor on the cosines (inverse temperature).
    positives : `torch.Tensor`, optional
        Labels of shape (n,), integer, equal for pairs that are right answers
        for each other and negative for none; or a bool matrix of shape (n, n),
        see `positive_mask`. By default only the own text is right.
    label_smoothing : float, optional
        Share of the target that is spread over all texts, from 0 to below 1.

    Returns
    -------
    loss : `torch.Tensor`, shape ()
        Mean of both directions in nats; ``log(n)`` is chance.

    Raises
    ------
    InvalidQueryError
        If shapes do not fit or ``label_smoothing`` is out of range.

    Notes
    -----
    Without ``positives`` this is the loss of CLIP [1]_ (section 2.3). With
    them, the target of picture :math:`i` is shared equally by its right texts
    :math:`P(i)`, as in Eq. 2 of [2]_ (sum outside of the logarithm):

    .. math::

        L_i = -\frac{1}{|P(i)|} \sum_{p \in P(i)}
              \log \frac{e^{s\,x_i \cdot y_p}}{\sum_j e^{s\,x_i \cdot y_j}}

    The smallest value is then :math:`\log |P(i)|`, not 0.

    References
    ----------
    .. [1] Radford, A. et al. 2021, arXiv:2103.00020
    .. [2] Khosla, P. et al. 2020, arXiv:2004.11362

    Examples
    --------
    >>> import torch
    >>> from paperclip.training import softmax_loss
    >>> same = torch.ones(8, 1)
    >>> round(float(softmax_loss(same, same, 0.0)), 4)  # log(8)
    2.0794
    """
    image, text = _features(image, text)
    return _softmax(image @ text.T * _exp(log_scale), positives, label_smoothing)


def paper_loss(image, text, log_scale):
    """
    Softmax loss with the fault of the published PAPERCLIP runs.

    The factor on the cosines is ``log_scale`` itself; the exponential was
    forgotten, so that the runs trained at a temperature near 0.22 instead of
    0.01. Only the recipe ``"paper"`` uses it, for comparison.

    Parameters
    ----------
    image, text : `torch.Tensor`, shape (n, d)
        Unit rows; row by row they belong together.
    log_scale : `torch.Tensor` or float
        The factor; 4.6 = ln(100) in CLIP.

    Returns
    -------
    loss : `torch.Tensor`, shape ()
        Mean of both directions in nats.

    References
    ----------
    .. [1] Mishra-Sharma, S., Song, Y., & Thaler, J. 2024, arXiv:2403.08851
    """
    image, text = _features(image, text)
    return _softmax(image @ text.T * log_scale, None, 0.0)


def sigmoid_loss(image, text, log_scale, bias, positives=None):
    r"""
    Pairwise logistic loss of pictures and texts.

    Parameters
    ----------
    image, text : `torch.Tensor`, shape (n, d)
        Unit rows; row by row they belong together.
    log_scale : `torch.Tensor` or float
        Natural logarithm of the factor on the cosines; the source begins at
        ln(10).
    bias : `torch.Tensor` or float
        Added to the logits; the source begins at -10, as nearly all pairs are
        wrong ones.
    positives : `torch.Tensor`, optional
        As for `softmax_loss`.

    Returns
    -------
    loss : `torch.Tensor`, shape ()
        Sum over all n x n pairs divided by n, in nats; it is ``n * log(2)``
        if all logits are 0.

    Raises
    ------
    InvalidQueryError
        If shapes do not fit.

    Notes
    -----
    Eq. 1 of [1]_, with :math:`z_{ij} = 1` for right pairs and -1 for others:

    .. math::

        L = -\frac{1}{n} \sum_{i,j} \log \sigma\left(z_{ij}
            (e^{t'} x_i \cdot y_j + b)\right)

    The sign of the bias is that of its Algorithm 1.

    References
    ----------
    .. [1] Zhai, X. et al. 2023, arXiv:2303.15343
    """
    from torch.nn.functional import logsigmoid

    image, text = _features(image, text)
    logits = image @ text.T * _exp(log_scale) + bias
    mask = _mask(positives, logits)
    signs = 2.0 * mask.to(logits.dtype) - 1.0
    return -logsigmoid(signs * logits).sum() / len(logits)


def _features(image, text):
    """Check the shapes; half precision is computed in single."""
    import torch

    if image.ndim != 2 or image.shape != text.shape or not len(image):
        msg = (
            "image and text must have the same shape (n, d) with n > 0, got "
            f"{tuple(image.shape)} and {tuple(text.shape)}"
        )
        raise InvalidQueryError(msg)
    dtype = torch.promote_types(image.dtype, torch.float32)
    return image.to(dtype), text.to(dtype)


def _exp(log_scale):
    return log_scale.exp() if hasattr(log_scale, "exp") else math.exp(log_scale)


def _mask(positives, logits):
    """Return the bool matrix of right answers."""
    import torch

    if positives is None:
        return torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    if positives.ndim == 1 and len(positives) == len(logits):
        return positive_mask(positives.to(logits.device))
    if positives.shape != logits.shape or positives.dtype != torch.bool:
        msg = (
            f"positives must be integers of shape ({len(logits)},) or bool of shape "
            f"{tuple(logits.shape)}, got {positives.dtype} of shape "
            f"{tuple(positives.shape)}"
        )
        raise InvalidQueryError(msg)
    eye = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    return positives.to(logits.device) | eye


def _softmax(logits, positives, smoothing):
    import torch
    from torch.nn.functional import cross_entropy

    if not 0 <= smoothing < 1:
        msg = f"label_smoothing must be from 0 to below 1, got {smoothing!r}"
        raise InvalidQueryError(msg)
    if positives is None:
        rows = columns = torch.arange(len(logits), device=logits.device)
    else:
        mask = _mask(positives, logits).to(logits.dtype)
        rows = mask / mask.sum(1, keepdim=True)
        columns = mask.T / mask.T.sum(1, keepdim=True)
    loss = cross_entropy(logits, rows, label_smoothing=smoothing)
    return (loss + cross_entropy(logits.T, columns, label_smoothing=smoothing)) / 2


def clamp_log_scale(parameter, low=1.0, high=100.0):
    """
    Keep the factor on the cosines within limits, after a step.

    Parameters
    ----------
    parameter : `torch.Tensor`
        Natural logarithm of the factor; it is changed in place, without a
        gradient. NaN stays NaN.
    low, high : float, optional
        Limits of the factor itself, not of its logarithm; CLIP clips at 100.

    Returns
    -------
    scale : float
        The factor now, to be logged.

    Raises
    ------
    InvalidQueryError
        If not ``0 < low <= high``.

    Examples
    --------
    >>> import torch
    >>> from paperclip.training import clamp_log_scale
    >>> log_scale = torch.nn.Parameter(torch.tensor(5.0))
    >>> round(clamp_log_scale(log_scale), 3)
    100.0
    """
    import torch

    if not 0 < low <= high < math.inf:
        msg = f"low and high must be positive and in order, got {low!r} and {high!r}"
        raise InvalidQueryError(msg)
    with torch.no_grad():
        parameter.clamp_(math.log(low), math.log(high))
    return float(parameter.detach().exp().reshape(()))


def gather_features(image, text, groups=None):
    """
    Put the features of all processes together, with gradients.

    Every process then computes the loss of the whole batch, so its value does
    not depend on the number of processes. In the backward pass the gradients
    of all processes are added for each row. As
    `~torch.nn.parallel.DistributedDataParallel` divides by the number of
    processes, parameters get the gradient of one process with the same batch.
    Processes may have different numbers of rows.

    Parameters
    ----------
    image, text : `torch.Tensor`, shape (n, d)
        Features of this process.
    groups : `torch.Tensor`, shape (n,), or (n, k) for k kinds of labels
        Integers that mean the same in every process, see
        `~paperclip.training.stable_codes`.

    Returns
    -------
    image, text, groups : `torch.Tensor`
        Rows of all processes in the order of their ranks; what was given if
        there is one process only.

    Raises
    ------
    InvalidQueryError
        If the numbers of rows differ.
    """
    import torch
    from torch import distributed

    if len(image) != len(text) or (groups is not None and len(groups) != len(image)):
        lengths = [len(x) for x in (image, text, groups) if x is not None]
        msg = f"image, text and groups must have the same number of rows, got {lengths}"
        raise InvalidQueryError(msg)
    if not (distributed.is_available() and distributed.is_initialized()):
        return image, text, groups
    if distributed.get_world_size() == 1:
        return image, text, groups
    sizes = _sizes(image)
    width = image.shape[1]
    both = _gather_function().apply(torch.cat([image, text], dim=1), sizes)
    if groups is not None:
        groups = _gather(groups, sizes)
    return both[:, :width], both[:, width:], groups


def _sizes(rows):
    """Return the number of rows of every process."""
    import torch
    from torch import distributed

    mine = torch.tensor([len(rows)], device=rows.device)
    every = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, mine)
    return [int(size) for size in every]


def _gather(rows, sizes):
    """Concatenate the rows of all processes; shorter ones travel padded."""
    import torch
    from torch import distributed

    padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


@functools.cache
def _gather_function():
    """Return the autograd function; it is made late, as torch is heavy."""
    import torch
    from torch import distributed

    class Gather(torch.autograd.Function):
        @staticmethod
        def forward(ctx, rows, sizes):
            before = sum(sizes[: distributed.get_rank()])
            ctx.mine = slice(before, before + len(rows))
            return _gather(rows, sizes)

        @staticmethod
        def backward(ctx, grad):
            total = grad.to(torch.promote_types(grad.dtype, torch.float32)).contiguous()
            total = total.clone() if total is grad else total
            distributed.all_reduce(total)
            return total[ctx.mine].to(grad.dtype), None

    return Gather
