"""Distances between the views' embeddings, as settings that are called. Owns the reduction over images and pairs.

Every loss takes (online, target), each (..., d, N, D), and gives a scalar: the mean over images, leading dimensions
and the d (d - 1) / 2 pairs of views. Where both are the same tensor the gradient reaches every view; sums over views
stand in for loops over pairs wherever these are equal.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat
from torch import Tensor
from torch.autograd.function import once_differentiable

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


@full_precision
def cross_correlation(online: Tensor, target: Tensor, off_diagonal_weight: float) -> Tensor:
    """sum_i (1 - C_ii)^2 + weight sum_{i != j} C_ij^2 with C = bn(online_i)^T bn(target_j) / N (Barlow Twins, equations
    1 and 2), averaged over pairs of views; inputs (..., d, N, D).

    |C|_F^2 = <K_i, K_j> with K = bn(z) bn(z)^T / N, N x N, whose sums over views replace the D x D matrices of the
    pairs when the batch is smaller than the embedding. Only the diagonals are left to do pair by pair.
    """
    groups = online.reshape(-1, *online.shape[-3:])
    against = [None] * len(groups) if target is online else target.reshape(groups.shape)
    losses = [_of_one_group(z, t, off_diagonal_weight) for z, t in zip(groups, against, strict=True)]
    return torch.stack(losses).mean()


def _of_one_group(online: Tensor, target: Tensor | None, weight: float) -> Tensor:
    """`cross_correlation` of (d, N, D); None where the target is the same tensor, and the two directions are equal."""
    images, size = online.shape[1:]
    z = [_standardised(view) for view in online]
    t = z if target is None else [_standardised(view) for view in target]
    of_views = range(len(z))
    pairs = list(itertools.combinations(of_views, 2) if target is None else itertools.permutations(of_views, 2))
    if images < size:
        diagonals = [(z[i] * t[j]).mean(0) for i, j in pairs]
        k = torch.stack([gram(view) for view in z]) / images  # (d, N, N)
        other = k if target is None else torch.stack([gram(view) for view in t]) / images
        squares = (k.sum(0) * other.sum(0)).sum() - (k * other).sum()
        squares = squares / 2 if target is None else squares  # ordered pairs to pairs
    else:
        matrices = [z[i].mT @ t[j] / images for i, j in pairs]
        diagonals = [matrix.diagonal() for matrix in matrices]
        squares = torch.stack([matrix.square().sum() for matrix in matrices]).sum()
    c = torch.stack(diagonals)
    return ((1 - c).square().sum() - weight * c.square().sum() + weight * squares) / len(pairs)


def _standardised(view: Tensor) -> Tensor:
    """One view (N, D) through BatchNorm1d without scale and shift: biased variance over its images."""
    return F.batch_norm(view, None, None, training=True, eps=BATCH_NORM_EPS)


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
