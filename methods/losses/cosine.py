"""The mean cosine of positives over all pairs of views at once. Owns its analytic gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from methods.losses.precision import full_precision

SMALLEST_NORM = 1e-12  # of torch.nn.functional.normalize


@full_precision
def mean_cosine(online: Tensor, target: Tensor) -> Tensor:
    """Mean of cos(online_i, target_j) over images and ordered pairs of different views; inputs (..., d, N, D).

    With unit rows p_i and t_j, sum_{i != j} p_i . t_j = (sum_i p_i) . (sum_j t_j) - sum_i p_i . t_i.
    """
    mean: Tensor = _MeanCosine.apply(online, None if target is online else target)
    return mean


class _MeanCosine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, online: Tensor, target: Tensor | None) -> Tensor:
        p, p_norm = _unit(online)
        pairs: int = p_norm.numel() * (p.shape[-3] - 1)  # images x ordered pairs
        ctx.symmetric, ctx.pairs = target is None, pairs
        p_sum = p.sum(-3, keepdim=True)
        if target is None:
            ctx.save_for_backward(p, p_norm, p_sum)
            total = p_sum.square().sum() - (p_norm > SMALLEST_NORM).sum()  # |p_i|^2 is one
        else:
            t, t_norm = _unit(target)
            t_sum = t.sum(-3, keepdim=True)
            ctx.save_for_backward(p, p_norm, p_sum, t, t_norm, t_sum)
            total = (p_sum * t_sum).sum() - (p * t).sum()
        return total / pairs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        grad = grad / ctx.pairs
        if ctx.symmetric:
            p, p_norm, p_sum = ctx.saved_tensors
            return _through_norm(p_sum, p, p_norm, 2 * grad), None  # p_i itself has no part across p_i
        p, p_norm, p_sum, t, t_norm, t_sum = ctx.saved_tensors
        online_grad = _through_norm(t_sum - t, p, p_norm, grad) if ctx.needs_input_grad[0] else None
        target_grad = _through_norm(p_sum - p, t, t_norm, grad) if ctx.needs_input_grad[1] else None
        return online_grad, target_grad


def _unit(z: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of length one, and the lengths they had (..., 1)."""
    norm = torch.linalg.vector_norm(z, dim=-1, keepdim=True).clamp_min_(SMALLEST_NORM)
    return z / norm, norm


def _through_norm(grad: Tensor, unit: Tensor, norm: Tensor, scale: Tensor) -> Tensor:
    """Gradient of z from that of z / |z|: its part across z, over |z|, times a scalar."""
    along = (grad * unit).sum(-1, keepdim=True)
    return torch.addcmul(grad, unit, along, value=-1).mul_(scale / norm)
