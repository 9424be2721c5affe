"""The losses as public code writes them: a loop over slices and views, a loop over pairs, D x D matrices. Owns the
plain side of every comparison of values and speed; shares no code with `methods`. All take v (d, N, D), on any device.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def whiten_slice(x: Tensor, eps: float = 0.0) -> Tensor:
    """One sub-batch (n, D) of one view: z = L^-1 (x - mean), with L^-1 applied as the 1 x 1 convolution that the
    released code of W-MSE, and libraries after it, make of it."""
    size = x.shape[1]
    x = x.unsqueeze(2).unsqueeze(3)
    x = x - x.mean(0, keepdim=True)
    rows = x.permute(1, 0, 2, 3).contiguous().view(size, -1)
    identity = torch.eye(size, dtype=x.dtype, device=x.device)
    covariance = rows @ rows.T / (rows.shape[1] - 1) + eps * identity
    inverse = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), identity, upper=False)
    return F.conv2d(x, inverse.contiguous().view(size, size, 1, 1)).squeeze(3).squeeze(2)


def whiten_slice_lean(x: Tensor, eps: float = 0.0) -> Tensor:
    """The same in as few operations as a slice takes: L^-1 is never made, and there is no convolution."""
    x = x - x.mean(0)
    covariance = x.T @ x / (len(x) - 1)
    if eps:
        covariance = covariance + eps * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    z: Tensor = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), x.T, upper=False)
    return z.T


WhitenSlice = Callable[[Tensor, float], Tensor]


def whiten(v: Tensor, index: Tensor, eps: float = 0.0, one: WhitenSlice = whiten_slice) -> Tensor:
    """Slices (S, n) of the images whitened one by one, rows in image order: (d, N, D)."""
    z = torch.empty_like(v)
    for images in index:
        for i in range(len(v)):
            z[i, images] = one(v[i, images], eps)
    return z


def pairs(views: int) -> list[tuple[int, int]]:
    """Each two of the views once."""
    return list(itertools.combinations(range(views), 2))


def normalised_mse(x: Tensor, y: Tensor) -> Tensor:
    """2 - 2 cos, the mean over images."""
    return (2 - 2 * F.cosine_similarity(x, y, dim=-1)).mean()


def w_mse(v: Tensor, indices: Tensor, euclidean: bool = False, one: WhitenSlice = whiten_slice) -> Tensor:
    """Slicing iterations `indices` (I, S, n); `one` whitens a slice."""
    loss, distance = v.new_zeros(()), F.mse_loss if euclidean else normalised_mse
    for index in indices:
        z = whiten(v, index, one=one)
        for i, j in pairs(len(v)):
            loss = loss + distance(z[i], z[j])
    return loss / (len(indices) * len(pairs(len(v))))


def nt_xent_pair(x: Tensor, y: Tensor, temperature: float, l2_normalise: bool = True) -> Tensor:
    """Four N x N blocks, then two cross-entropies."""
    if l2_normalise:
        x, y = F.normalize(x, dim=1), F.normalize(y, dim=1)
    own = torch.eye(len(x), dtype=torch.bool, device=x.device)
    labels = torch.arange(len(x), device=x.device)
    xx, yy = (x @ x.T / temperature).masked_fill(own, -torch.inf), (y @ y.T / temperature).masked_fill(own, -torch.inf)
    xy, yx = x @ y.T / temperature, y @ x.T / temperature
    first, second = torch.cat([xy, xx], dim=1), torch.cat([yx, yy], dim=1)
    return (F.cross_entropy(first, labels) + F.cross_entropy(second, labels)) / 2


def nt_xent(v: Tensor, temperature: float = 0.5, l2_normalise: bool = True) -> Tensor:
    """The mean over pairs."""
    losses = [nt_xent_pair(v[i], v[j], temperature, l2_normalise) for i, j in pairs(len(v))]
    return torch.stack(losses).mean()


def off_diagonal(matrix: Tensor) -> Tensor:
    """All elements of a square matrix but the diagonal's, flat."""
    return matrix.flatten()[:-1].view(len(matrix) - 1, len(matrix) + 1)[:, 1:].flatten()


def barlow_twins_pair(x: Tensor, y: Tensor, weight: float) -> Tensor:
    """The cross-correlation matrix of two views, D x D."""
    norm = torch.nn.BatchNorm1d(x.shape[1], affine=False, dtype=x.dtype, device=x.device)
    c = norm(x).T @ norm(y) / len(x)
    return (torch.diagonal(c) - 1).pow(2).sum() + weight * off_diagonal(c).pow(2).sum()


def barlow_twins(v: Tensor, weight: float = 0.0051) -> Tensor:
    """The mean over pairs."""
    return torch.stack([barlow_twins_pair(v[i], v[j], weight) for i, j in pairs(len(v))]).mean()


def variance(x: Tensor) -> Tensor:
    """VICReg's hinge on the standard deviations."""
    return F.relu(1 - torch.sqrt(x.var(dim=0) + 1e-4)).mean()


def covariance(x: Tensor) -> Tensor:
    """VICReg's squared covariances, D x D."""
    x = x - x.mean(dim=0)
    return off_diagonal(x.T @ x / (len(x) - 1)).pow(2).sum() / x.shape[1]


def vicreg_pair(x: Tensor, y: Tensor, weights: tuple[float, float, float] = (25.0, 25.0, 1.0)) -> Tensor:
    """Invariance, variance and covariance of two views."""
    invariance, of_variance, of_covariance = weights
    return (
        invariance * F.mse_loss(x, y)
        + of_variance * (variance(x) + variance(y))
        + of_covariance * (covariance(x) + covariance(y))
    )


def vicreg(v: Tensor, weights: tuple[float, float, float] = (25.0, 25.0, 1.0)) -> Tensor:
    """The mean over pairs."""
    return torch.stack([vicreg_pair(v[i], v[j], weights) for i, j in pairs(len(v))]).mean()
