"""What keeps embeddings apart without negatives. Owns VICReg's variance and covariance terms (arXiv 2105.04906)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor

from methods.method import Settings
from methods.parts import full_precision, gram

NonNegative = Annotated[float, Field(ge=0.0)]


@full_precision
def variance_term(v: Tensor, gamma: float = 1.0, variance_eps: float = 1e-4) -> Tensor:
    """Mean over dimensions of relu(gamma - sqrt(var_j + eps)) (VICReg, equation 1): (..., N, D) -> (...)."""
    return torch.relu(gamma - (v.var(-2) + variance_eps).sqrt()).mean(-1)


@full_precision
def covariance_term(v: Tensor) -> Tensor:
    """(1 / D) sum_{i != j} C_ij^2, C normalised by n - 1 (VICReg, equations 3 and 4): (..., N, D) -> (...).

    With fewer images than dimensions the sum comes from the Gram matrix K = X X^T / (n - 1): |C|_F^2 = |K|_F^2.
    """
    images, size = v.shape[-2:]
    x = v - v.mean(-2, keepdim=True)
    if images < size:
        squares = (gram(x) / (images - 1)).square().sum((-2, -1))
        variances = x.square().sum(-2) / (images - 1)
        return (squares - variances.square().sum(-1)) / size
    covariance = gram(x.mT) / (images - 1)
    off_diagonal = covariance - torch.diag_embed(covariance.diagonal(dim1=-2, dim2=-1))
    return off_diagonal.square().sum((-2, -1)) / size


class VarianceCovariance(Settings):
    """variance_weight [v(Z) + v(Z')] + covariance_weight [c(Z) + c(Z')] (VICReg, equation 6), averaged over pairs of
    views.

    For d views the mean over pairs of a sum of two is twice the mean over views.
    """

    variance_weight: NonNegative = 25.0
    covariance_weight: NonNegative = 1.0
    variance_views: Literal["sum", "mean"] = "sum"
    """The variance term of a pair: the sum over its views, as in the paper, or their mean, as in the authors' code. The
    covariance term is the sum in both."""
    gamma: PositiveFloat = 1.0
    """Standard deviation below which a dimension is pushed apart."""
    variance_eps: PositiveFloat = 1e-4
    """Added to the variance under the root."""

    def __call__(self, v: Tensor) -> Tensor:
        """Scalar regularisation of embeddings (d, N, D). A term of weight zero is not computed."""
        total = torch.zeros((), device=v.device)
        if self.variance_weight:
            views = 2 if self.variance_views == "sum" else 1
            total = total + self.variance_weight * views * variance_term(v, self.gamma, self.variance_eps).mean()
        if self.covariance_weight:
            total = total + self.covariance_weight * 2 * covariance_term(v).mean()
        return total
