"""The NT-Xent loss of d views in one pass over the blocks of their similarities. Owns its analytic gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from methods.losses.precision import full_precision


@full_precision
def nt_xent(online: Tensor, target: Tensor, temperature: float = 0.5, l2_normalise: bool = True) -> Tensor:
    """Mean over pairs (i, j) of views, both directions and images n, of
    -s_ij[n, n] + log(sum_{m != n} exp s_ii[n, m] + sum_m exp s_ij[n, m]), where s_ij = online_i target_j^T /
    temperature.

    Every s_ij is made once, whichever pairs it serves; one view's rows (N x d N) are held at a time and their
    gradient is taken at once, so that memory grows with d and not with the number of pairs.

    Args:
        online, target: (..., d, N, D), of one type; the same tensor where there is no target network.
        l2_normalise: whether the rows are first normalised, so that similarities are cosines.
    """
    if l2_normalise:
        p = F.normalize(online, dim=-1)
        online, target = p, p if target is online else F.normalize(target, dim=-1)
    loss: Tensor = _NtXent.apply(online, target, temperature)
    return loss


class _NtXent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, online: Tensor, target: Tensor, temperature: float) -> Tensor:
        with_gradient = any(ctx.needs_input_grad)
        views, images, size = online.shape[-3:]
        rows, columns = online.reshape(-1, views, images, size), target.reshape(-1, views * images, size)
        scale = 1 / (temperature * rows.shape[0] * views * (views - 1) * images)
        loss = online.new_zeros(())
        rows_grad, columns_grad = torch.empty_like(rows), torch.zeros_like(columns)
        for group in range(rows.shape[0]):
            for i in range(views):
                x, y = rows[group, i], columns[group]
                part, weights = _one_view((x / temperature) @ y.mT, i, with_gradient)
                loss = loss + part
                if weights is not None:
                    torch.mm(weights, y, out=rows_grad[group, i])
                    columns_grad[group].addmm_(weights.mT, x)
        if with_gradient:
            ctx.save_for_backward(
                (rows_grad * scale).view(online.shape),
                (columns_grad * scale).view(target.shape),
            )
        return loss / (rows.shape[0] * views * (views - 1) * images)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        online_grad, target_grad = ctx.saved_tensors
        return grad * online_grad, grad * target_grad, None


def _one_view(logits: Tensor, own: int, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
    """Sum over the rows of view `own` and over the other views j of the row's cross-entropy, and its gradient.

    Args:
        logits: (N, d N), overwritten by the gradient.
    """
    images = logits.shape[0]
    blocks = logits.view(images, -1, images)  # (N, d, N): row n, view j, column m
    positives = blocks.diagonal(dim1=0, dim2=2)  # (d, N)
    total = positives.sum() - positives[own].sum()
    positives[own].fill_(-torch.inf)  # a row is no candidate of its own
    peak = blocks.amax(-1).clamp(min=torch.finfo(logits.dtype).min)  # (N, d); finite for a batch of one
    masses = blocks.sub_(peak.unsqueeze(-1)).exp_().sum(-1)
    log_mass = peak + masses.log()
    denominator = torch.logaddexp(log_mass, log_mass[:, own : own + 1])  # (N, d)
    denominator[:, own] = 0  # there is no pair (own, own)
    entropy = denominator.sum() - total
    if not with_gradient:
        return entropy, None
    denominator[:, own] = torch.inf
    share = (peak - denominator).exp()  # of block j's mass in denominator j
    share[:, own] = (peak[:, own : own + 1] - denominator).exp().sum(-1)
    blocks.mul_(share.unsqueeze(-1))
    positives.sub_(1)
    positives[own].add_(1)
    return entropy, logits
