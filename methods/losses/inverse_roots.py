"""Matrices W with W C W^T = I for batches of covariances C, by eigendecomposition or iteration, with gradients that
stay finite. Owns the numerics of the whitening variants other than Cholesky; knows nothing of views or slices."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

RootVariant = Literal["zca", "pca", "newton"]


def inverse_root(matrix: Tensor, variant: RootVariant, newton_iterations: int) -> tuple[Tensor, Tensor | None]:
    """W (..., D, D) for symmetric positive matrices (..., D, D), and their smallest eigenvalues where these are
    computed.

    `zca`: C^-1/2, symmetric. `pca`: Lambda^-1/2 U^T, largest eigenvalue first, each eigenvector's largest component
    positive. `newton`: C^-1/2 approached by Newton-Schulz steps, as IterNorm does (arXiv 1904.03441, algorithm 1).
    """
    if variant == "newton":
        return _newton_schulz(matrix, newton_iterations), None
    function = _InverseRoot if variant == "zca" else _PrincipalRoot
    root, smallest = function.apply(matrix)
    return root, smallest


def _newton_schulz(matrix: Tensor, iterations: int) -> Tensor:
    """The coupled iteration: the same iterates as IterNorm's, and stable where its own form loses symmetry to
    rounding."""
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    trace = matrix.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    square, inverse = matrix / trace, identity  # approach (C / trace)^1/2 and (C / trace)^-1/2
    for _ in range(iterations):
        step = (3 * identity - inverse @ square) / 2
        square, inverse = square @ step, step @ inverse
    return inverse * trace.rsqrt()


class _InverseRoot(torch.autograd.Function):
    """C^-1/2. Its gradient (Daleckii and Krein) divides by no difference of eigenvalues, so equal ones are harmless:
    (f(a) - f(b)) / (a - b) = -1 / (sqrt(a) sqrt(b) (sqrt(a) + sqrt(b))) for f = x^-1/2."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrix)
        smallest = values[..., 0].clone()
        ctx.save_for_backward(values, vectors)
        ctx.mark_non_differentiable(smallest)
        return (vectors * values.rsqrt().unsqueeze(-2)) @ vectors.mT, smallest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> Tensor:
        values: Tensor
        vectors: Tensor
        values, vectors = ctx.saved_tensors
        root = values.sqrt()
        quotient = -1 / (root.unsqueeze(-1) * root.unsqueeze(-2) * (root.unsqueeze(-1) + root.unsqueeze(-2)))
        inner = vectors.mT @ ((grad + grad.mT) / 2) @ vectors
        return vectors @ (quotient * inner) @ vectors.mT


class _PrincipalRoot(torch.autograd.Function):
    """Lambda^-1/2 U^T. The gradient of eigenvectors divides by eigenvalue gaps and has no limit where two are equal:
    a gap below t = sqrt(machine epsilon) x largest eigenvalue counts as gap / (gap^2 + t^2), which is finite."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrix)
        values, vectors = values.flip(-1), vectors.flip(-1)
        largest = vectors.gather(-2, vectors.abs().argmax(-2, keepdim=True))
        vectors = vectors * largest.sign()
        smallest = values[..., -1].clone()
        ctx.save_for_backward(values, vectors)
        ctx.mark_non_differentiable(smallest)
        return values.rsqrt().unsqueeze(-1) * vectors.mT, smallest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> Tensor:
        values: Tensor
        vectors: Tensor
        values, vectors = ctx.saved_tensors
        gap = values.unsqueeze(-2) - values.unsqueeze(-1)  # [i, j]: value j - value i
        threshold = torch.finfo(values.dtype).eps ** 0.5 * values[..., :1, None]
        of_vectors = vectors.mT @ (grad.mT * values.rsqrt().unsqueeze(-2))  # U^T times the gradient of U
        of_values = -0.5 * values.pow(-1.5) * (grad @ vectors).diagonal(dim1=-2, dim2=-1)
        inner: Tensor = of_vectors * gap / (gap.square() + threshold.square()) + torch.diag_embed(of_values)
        return vectors @ ((inner + inner.mT) / 2) @ vectors.mT
