"""Batch slicing and whitening of embeddings (W-MSE, arXiv 2007.06346, section 3). Owns every covariance that is
factored.

Whitening runs over all views, sub-batches and slicing iterations at once, in float32 or better whatever the autocast.
Pure functions: no parameters, no running statistics. `slice_monitor.py` words the failures.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from methods.inverse_roots import RootVariant, inverse_root
from methods.parts import at_least_float32, without_autocast
from methods.slice_monitor import SliceMonitor, WhiteningError, refused, singular_by_construction

__all__ = ["SliceMonitor", "Variant", "WhiteningError", "slices", "whiten"]

Variant = Literal["cholesky", "zca", "pca", "newton"]
"""How W with W cov W^T = I is chosen; see `whiten`."""


def slices(images: int, sub_batch_size: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Which image goes into which sub-batch: (iterations, images / sub_batch_size, sub_batch_size) int64, on the CPU.

    One permutation of the images per iteration; all views share it.

    Raises:
        ValueError: `images` cannot be divided into sub-batches of that size.
    """
    if images % sub_batch_size:
        raise ValueError(f"a batch of {images} images cannot be cut into sub-batches of {sub_batch_size}")
    permutations = [torch.randperm(images, generator=generator) for _ in range(iterations)]
    return torch.stack(permutations).view(iterations, -1, sub_batch_size)


def whiten(
    v: Tensor,
    index: Tensor,
    *,
    variant: Variant = "cholesky",
    eps: float = 0.0,
    newton_iterations: int = 5,
    monitor: SliceMonitor | None = None,
) -> Tensor:
    """z = W (v - mean) per view and sub-batch, with W cov W^T = I and cov normalised by n - 1 (W-MSE, equations 4 and
    5).

    W is L^-1 with cov + eps I = L L^T (`cholesky`), the symmetric (cov + eps I)^-1/2 (`zca`), Lambda^-1/2 U^T (`pca`:
    largest eigenvalue first, the largest component of every eigenvector positive) or Newton-Schulz's approach to
    `zca` (`newton`).

    Args:
        v: (d, N, D) embeddings.
        index: (I, S, n) of `slices`, S n = N; on any device.
        eps: added to the covariance's diagonal, in its units.
        newton_iterations: `newton` only.
        monitor: keeps the covariances for diagnostics, and on CUDA the first that failed.

    Returns:
        (I, d, N, D), float32 or v's own wider type. Row s n + r of iteration i is image index[i, s, r], in every view.

    Raises:
        WhiteningError: a covariance is numerically singular. On CUDA nothing waits for the device: that sub-batch
            becomes NaN instead, and `monitor.failure()` explains.
    """
    size, embedding = index.shape[-1], v.shape[-1]
    if eps == 0.0 and size <= embedding:
        raise WhiteningError(singular_by_construction(size, embedding))
    if index.device.type == "cpu" and v.is_cuda:
        index = index.pin_memory()
    index = index.to(v.device, non_blocking=True)
    with without_autocast(v.device):
        v = at_least_float32(v)
        z: Tensor
        if variant == "cholesky":
            z, covariance, bad = _CholeskyWhitening.apply(v, index, eps)
        else:
            z, covariance, bad = _by_inverse_root(v, index, variant, eps, newton_iterations)
        if refused(covariance, bad, size, eps, monitor):
            z = z.masked_fill(bad[..., None, None], torch.nan)
    z = z.flatten(2, 3).transpose(0, 1)  # (d, I, S, n, D) -> (I, d, N, D)
    return z


def _centred(v: Tensor, index: Tensor) -> Tensor:
    x = v[:, index]  # (d, I, S, n, D)
    return x - x.mean(-2, keepdim=True)


def _covariance(x: Tensor, eps: float) -> Tensor:
    covariance = (x.mT @ x) / (x.shape[-2] - 1)
    if eps:
        covariance = covariance + eps * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return covariance


def _too_small(smallest: Tensor, covariance: Tensor) -> Tensor:
    """Whether `smallest`, a squared pivot or an eigenvalue, vanishes beside the largest variance; also true for NaN."""
    largest = covariance.diagonal(dim1=-2, dim2=-1).amax(-1)
    return ~(smallest > torch.finfo(covariance.dtype).eps * largest)


def _cholesky(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Lower factor and, per matrix, whether it is numerically singular."""
    lower, info = torch.linalg.cholesky_ex(covariance)
    pivots = lower.diagonal(dim1=-2, dim2=-1).amin(-1).square()
    return lower, (info > 0) | _too_small(pivots, covariance)


class _CholeskyWhitening(torch.autograd.Function):
    """z = L^-1 (v - mean) with its analytic gradient: three products, no triangular solve and no copy of the graph.

    With W = L^-1, Z = X W^T and G the gradient of Z, the gradient of X is (G - Z M / (n - 1)) W, where M is the lower
    triangle of G^T Z mirrored: from dW = -W dL W and Murray's rule for the Cholesky factor (arXiv 1602.07527).
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor, index: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        x = _centred(v, index)
        covariance = _covariance(x, eps)
        lower, bad = _cholesky(covariance)
        identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).expand_as(lower)
        inverse = torch.linalg.solve_triangular(lower, identity, upper=False)
        z = x @ inverse.mT
        ctx.save_for_backward(z, inverse, index)
        ctx.mark_non_differentiable(covariance, bad)
        ctx.set_materialize_grads(False)
        return z, covariance, bad

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        z, inverse, index = ctx.saved_tensors
        with without_autocast(z.device):
            grad = grad - grad.mean(-2, keepdim=True)
            product = (grad.mT @ z).tril_()
            mirrored = product + product.tril(-1).mT
            x_grad = (grad - (z @ mirrored) / (z.shape[-2] - 1)) @ inverse
        return _scattered(x_grad, index), None, None


def _scattered(x_grad: Tensor, index: Tensor) -> Tensor:
    """Gradient of `v[:, index]`: every iteration's rows put back in image order and summed; no atomics, so
    deterministic."""
    iterations = index.shape[0]
    back = index.view(iterations, -1).argsort(-1)  # (I, N)
    rows = x_grad.flatten(2, 3)  # (d, I, N, D)
    grad = rows[:, 0].index_select(1, back[0])
    for i in range(1, iterations):
        grad += rows[:, i].index_select(1, back[i])
    return grad


def _by_inverse_root(
    v: Tensor, index: Tensor, variant: RootVariant, eps: float, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Whitened slices, their covariances, and which of these failed, for the variants that autograd differentiates."""
    x = _centred(v, index)
    covariance = _covariance(x, eps)
    known = covariance.detach()
    finite = known.isfinite().flatten(-2).all(-1)
    usable = torch.where(finite[..., None, None], covariance, torch.eye(v.shape[-1], dtype=v.dtype, device=v.device))
    root, smallest = inverse_root(usable, variant, steps)
    bad = _cholesky(known)[1] if smallest is None else _too_small(smallest, known)
    return x @ root.mT, known, bad | ~finite
