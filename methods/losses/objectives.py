"""Whole objectives, each a function of embeddings (or logits) alone and a few lines over the other files of this
folder. Owns no layer: projectors, predictors and the BatchNorm before NT-Xent have weights."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.losses.cross_correlation import cross_correlation
from methods.losses.distances import mse, negative_cosine, normalised_mse
from methods.losses.nt_xent import nt_xent
from methods.losses.precision import full_precision
from methods.losses.variance_covariance import variance_covariance
from methods.losses.whitening import Variant, slices, whiten

Distance = Literal["normalised_mse", "mse"]
"""2 - 2 cos, or the mean squared difference (the Euclidean variant)."""


def w_mse_loss(
    v: Tensor,
    sub_batch_size: int,
    slicing_iterations: int = 1,
    *,
    generator: torch.Generator,
    distance: Distance = "normalised_mse",
    variant: Variant = "cholesky",
    eps: float = 0.0,
) -> Tensor:
    """Mean over pairs of views, images and slicing iterations of the distance of whitened embeddings (W-MSE,
    section 3).

    Args:
        v: (d, N, D) embeddings; N divisible by `sub_batch_size`, which exceeds D unless `eps` is positive.
        generator: on the CPU; draws one permutation of the images per slicing iteration.

    Raises:
        WhiteningError: a sub-batch's covariance is singular (on CUDA: a NaN loss instead).
        ValueError: N cannot be cut into sub-batches.
    """
    index = slices(v.shape[1], sub_batch_size, slicing_iterations, generator)
    z = whiten(v, index, variant=variant, eps=eps)  # (I, d, N, D)
    return _between(z, distance)


def plain_mse_loss(v: Tensor, distance: Distance = "normalised_mse") -> Tensor:
    """W-MSE without its whitening: the mean distance over images and pairs of views of v (d, N, D). It collapses."""
    return _between(v, distance)


def contrastive_loss(v: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent (SimCLR, equation 1) of embeddings (d, N, D): each of a pair's 2N rows against its 2N - 1 candidates,
    averaged over pairs of views. The BatchNorm before it is a layer with weights, and so not part of this
    function."""
    return nt_xent(v, v, temperature)


def whitened_contrastive_loss(
    v: Tensor,
    sub_batch_size: int,
    slicing_iterations: int = 1,
    *,
    generator: torch.Generator,
    temperature: float = 0.5,
    l2_normalise: bool = True,
    variant: Variant = "cholesky",
    eps: float = 0.0,
) -> Tensor:
    """NT-Xent (SimCLR, equation 1) of the whitened embeddings, averaged over pairs of views and slicing iterations.

    Args:
        v: (d, N, D) embeddings; N divisible by `sub_batch_size`, which exceeds D unless `eps` is positive.
        generator: on the CPU; draws one permutation of the images per slicing iteration.

    Raises:
        WhiteningError: a sub-batch's covariance is singular (on CUDA: a NaN loss instead).
        ValueError: N cannot be cut into sub-batches.
    """
    index = slices(v.shape[1], sub_batch_size, slicing_iterations, generator)
    z = whiten(v, index, variant=variant, eps=eps)  # (I, d, N, D)
    return nt_xent(z, z, temperature, l2_normalise)


def byol_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """(2 - 2 cos(p_i, t_j)) + (2 - 2 cos(p_j, t_i)), averaged over images and pairs of views (BYOL, equation 2).

    Args:
        predictions: (d, N, D) of the online network.
        targets: (d, N, D) of the momentum network; taken as constants.
    """
    return normalised_mse(predictions, targets.detach(), directions="sum")


def simsiam_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """-(cos(p_i, z_j) + cos(p_j, z_i)) / 2, averaged over images and pairs of views (SimSiam, equation 4).

    Args:
        predictions: (d, N, D), the predictor's outputs.
        targets: (d, N, D), the projector's; taken as constants.
    """
    return negative_cosine(predictions, targets.detach())


def vicreg_loss(
    v: Tensor,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    variance_views: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """invariance MSE(z, z') + variance [v(Z) + v(Z')] + covariance [c(Z) + c(Z')] (VICReg, equation 6), averaged over
    pairs.

    Args:
        v: (d, N, D) embeddings.
        variance_views: the variance term as the sum over a pair's views (paper) or their mean (the authors' code).
    """
    apart = variance_covariance(v, variance_weight, covariance_weight, variance_views=variance_views)
    return invariance_weight * mse(v, v) + apart


def barlow_twins_loss(v: Tensor, off_diagonal_weight: float = 0.0051) -> Tensor:
    """sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2 with C the cross-correlation of two views (Barlow Twins,
    equations 1 and 2), averaged over pairs of views of v (d, N, D)."""
    return cross_correlation(v, v, off_diagonal_weight)


@full_precision
def supervised_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (d, N, classes) against labels (N,) int64, averaged over images and views."""
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat(logits.shape[0]))


def _between(z: Tensor, distance: Distance) -> Tensor:
    return normalised_mse(z, z) if distance == "normalised_mse" else mse(z, z)
