"""What keeps embeddings apart without negatives. Owns VICReg's variance and covariance terms (arXiv 2105.04906)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from methods.losses.precision import full_precision, without_autocast


@full_precision
def variance_term(v: Tensor, gamma: float = 1.0, variance_eps: float = 1e-4) -> Tensor:
    """Mean over dimensions of relu(gamma - sqrt(var_j + eps)) (VICReg, equations 1 and 2): (..., N, D) -> (...)."""
    x = v - v.mean(-2, keepdim=True)
    return _hinge(x.square().sum(-2) / (v.shape[-2] - 1), gamma, variance_eps)


@full_precision
def covariance_term(v: Tensor) -> Tensor:
    """(1 / D) sum_{i != j} C_ij^2, C normalised by n - 1 (VICReg, equations 3 and 4): (..., N, D) -> (...)."""
    squares: Tensor = _SecondMoments.apply(v)[1]
    return squares / v.shape[-1]


@full_precision
def both_terms(v: Tensor, weights: tuple[float, float], gamma: float = 1.0, variance_eps: float = 1e-4) -> Tensor:
    """weights[0] x mean variance term + weights[1] x mean covariance term, sharing one pass over v: a scalar."""
    variances, squares = _SecondMoments.apply(v)
    hinge = _hinge(variances, gamma, variance_eps).mean()
    total: Tensor = weights[0] * hinge + weights[1] * squares.mean() / v.shape[-1]
    return total


def variance_covariance(
    v: Tensor,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    *,
    variance_views: Literal["sum", "mean"] = "sum",
    gamma: float = 1.0,
    variance_eps: float = 1e-4,
) -> Tensor:
    """variance_weight [v(Z) + v(Z')] + covariance_weight [c(Z) + c(Z')] (VICReg, equation 6), averaged over pairs of
    the views of v (d, N, D). Without a covariance weight no matrix is made.

    For d views the mean over pairs of a sum of two is twice the mean over views.

    Args:
        variance_views: the variance term of a pair: the sum over its views, as in the paper, or their mean, as in the
            authors' code. The covariance term is the sum in both.
    """
    variance = variance_weight * (2 if variance_views == "sum" else 1)
    if not covariance_weight:
        return variance * variance_term(v, gamma, variance_eps).mean()
    return both_terms(v, (variance, 2 * covariance_weight), gamma, variance_eps)


def _hinge(variances: Tensor, gamma: float, eps: float) -> Tensor:
    return torch.relu(gamma - (variances + eps).sqrt()).mean(-1)


class _SecondMoments(torch.autograd.Function):
    """Variances (..., D) and the sum of squared covariances sum_{i != j} C_ij^2 (...) of v (..., N, D), in one pass.

    With fewer images than dimensions the sum comes from K = X X^T / (n - 1), which has the norm of C. The gradient of
    |C|_F^2 is 4 X C / (n - 1) = 4 K X / (n - 1).
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor]:
        images, size = v.shape[-2:]
        x = v - v.mean(-2, keepdim=True)
        ctx.small = images < size
        if ctx.small:
            variances = x.square().sum(-2) / (images - 1)
            matrix = (x @ x.mT) / (images - 1)
            squares = matrix.square().sum((-2, -1)) - variances.square().sum(-1)
        else:
            matrix = (x.mT @ x) / (images - 1)
            diagonal = matrix.diagonal(dim1=-2, dim2=-1)
            variances = diagonal.clone()
            diagonal.zero_()
            squares = matrix.square().sum((-2, -1))
        ctx.save_for_backward(x, variances, matrix)
        return variances, squares

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, variances_grad: Tensor, squares_grad: Tensor) -> Tensor:
        x: Tensor
        x, variances, matrix = ctx.saved_tensors
        per_square = squares_grad[..., None, None]
        along = 2 * variances_grad.unsqueeze(-2)
        if ctx.small:
            along = along - 4 * per_square * variances.unsqueeze(-2)
        with without_autocast(x.device):
            weighted = 4 * per_square * matrix
            grad: Tensor = weighted @ x if ctx.small else x @ weighted
        return grad.addcmul_(x, along).div_(x.shape[-2] - 1)
