"""Distances between the views' embeddings, as settings that are called. Owns the reduction over images and pairs.

Every loss takes (online, target), each (..., d, N, D), and gives a scalar: the mean over images, leading dimensions
and the d (d - 1) / 2 pairs of views. Where both are the same tensor the gradient reaches every view; sums over views
stand in for loops over pairs wherever these are equal.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field, PositiveFloat
from torch import Tensor

from methods.cosine import mean_cosine
from methods.method import Settings
from methods.nt_xent import nt_xent
from methods.parts import full_precision, gram

BATCH_NORM_EPS = 1e-5  # of nn.BatchNorm1d


@full_precision
def mean_squared_distance(online: Tensor, target: Tensor) -> Tensor:
    """Mean of |online_i - target_j|^2 over images and ordered pairs of different views; inputs (..., d, N, D).

    From sum_ij |p_i - t_j|^2 = d sum_i |p_i - m|^2 + d sum_j |t_j - m|^2 with m the targets' mean, less the terms i =
    j: differences are taken before squaring, so that equal views give zero.
    """
    views = online.shape[-3]
    centre = target.mean(-3, keepdim=True)
    if target is online:
        total = 2 * views * (online - centre).square().sum()
    else:
        total = views * ((online - centre).square().sum() + (target - centre).square().sum())
        total = total - (online - target).square().sum()
    return total / (online[..., 0].numel() * (views - 1))


@full_precision
def cross_correlation(online: Tensor, target: Tensor, off_diagonal_weight: float) -> Tensor:
    """sum_i (1 - C_ii)^2 + weight sum_{i != j} C_ij^2 with C = bn(online_i)^T bn(target_j) / N (Barlow Twins,
    equations 1 and 2), averaged over ordered pairs of views.

    |C|_F^2 = <K_i, K_j> / N^2 with the N x N Gram matrices K, whose sum over views replaces the D x D matrices of the
    pairs when the batch is smaller than the embedding.
    """
    images, size = online.shape[-2:]
    z = _standardised(online.reshape(-1, *online.shape[-3:]))  # (I, d, N, D)
    t = z if target is online else _standardised(target.reshape(-1, *target.shape[-3:]))
    views = z.shape[1]
    ordered = views * (views - 1)
    diagonals, total = z.new_zeros(()), z.new_zeros(())
    for shift in range(1, views):  # view i against view i + shift, all i at once
        other = t.roll(-shift, 1)
        c = (z * other).mean(-2)  # (I, d, D)
        diagonals = diagonals + ((1 - c).square() - off_diagonal_weight * c.square()).sum()
        if images >= size:
            total = total + ((z.mT @ other) / images).square().sum()
    if images < size:
        k = gram(z) / images
        l = k if t is z else gram(t) / images  # noqa: E741
        total = (k.sum(1) * l.sum(1)).sum() - (k * l).sum()
    return (diagonals + off_diagonal_weight * total) / (z.shape[0] * ordered)


def _standardised(z: Tensor) -> Tensor:
    """Every view (I, d, N, D) through BatchNorm1d without scale and shift: biased variance over its own N images."""
    rows = z.permute(2, 0, 1, 3)
    normed = F.batch_norm(rows.flatten(1), None, None, training=True, eps=BATCH_NORM_EPS)
    return normed.view(rows.shape).permute(1, 2, 0, 3)


class NormalisedMse(Settings):
    """2 - 2 cos(z_i, z_j) (W-MSE, section 3; BYOL, equation 2)."""

    kind: Literal["normalised_mse"] = "normalised_mse"
    directions: Literal["mean", "sum"] = "mean"
    """A pair's two directions (online i against target j, and the reverse) averaged, as W-MSE counts a pair, or
    summed, as BYOL does."""

    def __call__(self, online: Tensor, target: Tensor) -> Tensor:
        return (2 - 2 * mean_cosine(online, target)) * (1 if self.directions == "mean" else 2)


class Mse(Settings):
    """Mean over elements of (z_i - z_j)^2: the Euclidean W-MSE, and VICReg's invariance term (its equation 5)."""

    kind: Literal["mse"] = "mse"

    def __call__(self, online: Tensor, target: Tensor) -> Tensor:
        return mean_squared_distance(online, target) / online.shape[-1]


class NegativeCosine(Settings):
    """-cos(p_i, z_j), the mean of both directions (SimSiam, equations 1 to 4)."""

    kind: Literal["negative_cosine"] = "negative_cosine"

    def __call__(self, online: Tensor, target: Tensor) -> Tensor:
        return -mean_cosine(online, target)


class NtXent(Settings):
    """Cross-entropy of every row over the 2N - 1 other rows of its pair of views (SimCLR, arXiv 2002.05709, equation
    1)."""

    kind: Literal["nt_xent"] = "nt_xent"
    temperature: PositiveFloat = 0.5
    l2_normalise: bool = True
    """Whether similarities are cosines; otherwise plain inner products."""

    def __call__(self, online: Tensor, target: Tensor) -> Tensor:
        return nt_xent(online, target, self.temperature, self.l2_normalise)


class CrossCorrelation(Settings):
    """The cross-correlation of two views driven to the identity (Barlow Twins, equation 1)."""

    kind: Literal["cross_correlation"] = "cross_correlation"
    off_diagonal_weight: PositiveFloat = 0.0051
    """lambda, the weight of the off-diagonal terms."""

    def __call__(self, online: Tensor, target: Tensor) -> Tensor:
        return cross_correlation(online, target, self.off_diagonal_weight)


PairLoss = Annotated[
    NormalisedMse | Mse | NegativeCosine | NtXent | CrossCorrelation,
    Field(discriminator="kind"),
]
