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

from methods.losses.inverse_roots import RootVariant, inverse_root
from methods.losses.precision import at_least_float32, without_autocast
from methods.losses.slice_monitor import SliceMonitor, WhiteningError, refused, singular_by_construction

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
    """z = W (v - mean) per view and sub-batch, with W cov W^T = I, cov normalised by n - 1 (W-MSE, section 3).

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
        if variant == "cholesky":
            z, covariance, bad = _CholeskyWhitening.apply(v, index, eps)
        else:
            z, covariance, bad = _by_inverse_root(_Slices.apply(v, index), variant, eps, newton_iterations)
        if refused(covariance, bad, size, eps, monitor):
            z = z.masked_fill(bad[:, None, None], torch.nan)
    whitened: Tensor = z.view(v.shape[0], index.shape[0], *v.shape[1:])
    return whitened.transpose(0, 1)


def _sliced(v: Tensor, index: Tensor) -> Tensor:
    """The slices of every view and iteration: (d, N, D) -> (B, n, D) with B = d I S."""
    return v.index_select(1, index.flatten()).view(-1, index.shape[-1], v.shape[-1])


def _unsliced(x: Tensor, index: Tensor) -> Tensor:
    """Gradient of `_sliced`: every image's rows summed over iterations, (B, n, D) -> (d, N, D).

    Rows are gathered, not scattered: without atomics a GPU gives the same sum every time.
    """
    iterations, images = index.shape[0], index[0].numel()
    places = torch.arange(iterations * images, device=index.device).view(iterations, images)
    where = torch.empty_like(places).scatter_(1, index.view(iterations, images), places)  # of each image's row
    rows = x.view(-1, iterations * images, x.shape[-1]).index_select(1, where.flatten())
    return rows if iterations == 1 else rows.view(-1, iterations, images, x.shape[-1]).sum(1)


class _Slices(torch.autograd.Function):
    """`_sliced`, with `_unsliced` for its gradient."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        return _sliced(v, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _unsliced(grad.contiguous(), ctx.saved_tensors[0]), None


class _CholeskyWhitening(torch.autograd.Function):
    """z = L^-1 x of centred slices (B, n, D), with its analytic gradient: three products and no triangular solve.

    With W = L^-1, Z = X W^T and G the gradient of Z, the gradient of X is (G - Z M / (n - 1)) W, where M is the lower
    triangle of G^T Z mirrored: from dW = -W dL W and Murray's rule for the Cholesky factor (arXiv 1602.07527).
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor, index: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        x = _sliced(v, index)
        x.sub_(x.mean(1, keepdim=True))
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
            half = torch.ones_like(inverse[0]).tril_()
            half.diagonal().fill_(0.5)
            lower = (grad.mT @ z).mul_(half)
            centred = grad - grad.mean(1, keepdim=True)
            x_grad = centred.baddbmm_(z, lower + lower.mT, alpha=-1 / (z.shape[1] - 1)) @ inverse
        return _unsliced(x_grad, index), None, None


def _by_inverse_root(x: Tensor, variant: RootVariant, eps: float, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Whitened slices (B, n, D), their covariances, and which of these failed, differentiated by autograd."""
    x = x - x.mean(1, keepdim=True)
    covariance = _covariance(x, eps)
    known = covariance.detach()
    finite = known.isfinite().flatten(1).all(1)
    identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    root, smallest = inverse_root(torch.where(finite[:, None, None], covariance, identity), variant, steps)
    bad = _cholesky(known)[1] if smallest is None else _too_small(smallest, known)
    return x @ root.mT, known, bad | ~finite


def _covariance(x: Tensor, eps: float) -> Tensor:
    """Of centred slices (B, n, D), with n - 1, and eps on the diagonal."""
    identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return torch.baddbmm(identity, x.mT, x, beta=eps, alpha=1 / (x.shape[1] - 1))


def _cholesky(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Lower factors and, per matrix (B, D, D), whether it is numerically singular."""
    lower, info = torch.linalg.cholesky_ex(covariance)
    pivots = lower.diagonal(dim1=1, dim2=2).amin(1).square()
    return lower, (info > 0) | _too_small(pivots, covariance)


def _too_small(smallest: Tensor, covariance: Tensor) -> Tensor:
    """Whether `smallest`, a squared pivot or an eigenvalue, vanishes beside the largest variance; also true for NaN."""
    largest = covariance.diagonal(dim1=1, dim2=2).amax(1)
    return ~(smallest > torch.finfo(covariance.dtype).eps * largest)
