"""Barlow Twins' cross-correlation of d views, from whichever is smaller: D x D matrices or N x N ones."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from methods.losses.precision import full_precision

BATCH_NORM_EPS = 1e-5  # of nn.BatchNorm1d


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


class _Gram(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x @ x.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x: Tensor = ctx.saved_tensors[0]
        return (grad + grad.mT) @ x


def gram(x: Tensor) -> Tensor:
    """x x^T of (..., N, D), with one large product in the backward pass instead of two."""
    product: Tensor = _Gram.apply(x)
    return product
