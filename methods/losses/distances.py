"""Distances between the embeddings of one image's views. Owns the reduction over images and pairs of views.

Each takes (online, target), both (..., d, N, D), and gives a scalar: the mean over images, leading dimensions and the
d (d - 1) / 2 pairs of views. Where both are the same tensor the gradient reaches every view; sums over views stand in
for loops over pairs.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from methods.losses.cosine import mean_cosine
from methods.losses.precision import full_precision


def normalised_mse(online: Tensor, target: Tensor, directions: Literal["mean", "sum"] = "mean") -> Tensor:
    """2 - 2 cos(online_i, target_j) (W-MSE, section 3; BYOL, equation 2).

    Args:
        directions: a pair's two directions averaged, as W-MSE counts a pair, or summed, as BYOL does.
    """
    return (2 - 2 * mean_cosine(online, target)) * (1 if directions == "mean" else 2)


def mse(online: Tensor, target: Tensor) -> Tensor:
    """Mean over elements of (online_i - target_j)^2: the Euclidean W-MSE, and VICReg's invariance term (its equation
    5)."""
    return mean_squared_distance(online, target) / online.shape[-1]


def negative_cosine(online: Tensor, target: Tensor) -> Tensor:
    """-cos(online_i, target_j), the mean of both directions (SimSiam, equations 1 to 4)."""
    return -mean_cosine(online, target)


@full_precision
def mean_squared_distance(online: Tensor, target: Tensor) -> Tensor:
    """Mean of |online_i - target_j|^2 over images and ordered pairs of different views; inputs (..., d, N, D).

    From sum_ij |p_i - t_j|^2 = d sum_i |p_i - m|^2 + d sum_j |t_j - m|^2 with m the targets' mean, less the terms i =
    j: differences are taken before squaring, so that equal views give zero.
    """
    views = online.shape[-3]
    total: Tensor
    if target is online:
        total = 2 * views * _Scatter.apply(online)
    else:
        centre = target.mean(-3, keepdim=True)
        total = views * ((online - centre).square().sum() + (target - centre).square().sum())
        total = total - (online - target).square().sum()
    return total / (online[..., 0].numel() * (views - 1))


class _Scatter(torch.autograd.Function):
    """sum_i |z_i - m|^2 with m the mean over views; the gradient of m cancels, so it is 2 (z_i - m)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        x = z - z.mean(-3, keepdim=True)
        ctx.save_for_backward(x)
        return x.square().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x: Tensor = ctx.saved_tensors[0]
        return x * (2 * grad)
