"""Exact k nearest neighbours in bounded memory. Owns search and vote; never normalises features.

Neighbours are those of float64 differences of the given float32 features, equal distances in favour of the smaller
train index, so the answer does not depend on blocks, threads or device. A float64 product finds them; where its
rounding could matter (near-ties, duplicates, collapsed features) the differences themselves are compared.
"""

from __future__ import annotations

import torch
from torch import Tensor

VALUES = 1 << 23  # float64 values held at once: 64 MiB
ROUNDING = 2.0**-53  # float64's unit roundoff


def knn_predict(train: Tensor, labels: Tensor, test: Tensor, k: int) -> Tensor:
    """Predicted labels (M,) int64: unweighted majority of the k nearest train rows, a tie goes to the smallest label.

    Args:
        train: (N, F) float32; labels: (N,) int64 >= 0, classes may be missing; test: (M, F) float32.

    Raises:
        ValueError: k greater than N.
    """
    votes = labels[nearest(train, test, k)]  # (M, k)
    counts = (votes[:, :, None] == votes[:, None, :]).sum(2)
    beaten = counts < counts.amax(1, keepdim=True)
    return votes.masked_fill(beaten, torch.iinfo(torch.int64).max).amin(1)


@torch.no_grad()
def nearest(train: Tensor, test: Tensor, k: int) -> Tensor:
    """Indices (M, k), ascending, of the k train rows (N, F) nearest to each test row (M, F) by Euclidean distance.

    Exact as stated above, for finite float32 features. Memory beyond the features: some 64 MiB a step, and O(M k).
    Raises ValueError where k exceeds N.
    """
    if k > len(train):
        raise ValueError(f"k-NN with k={k} needs at least {k} training images, and there are {len(train)}: lower k")
    centre = test.mean(0, dtype=torch.float64)  # any is correct; one among the features loses least to cancellation
    scores = torch.full((len(test), k + 1), torch.inf, dtype=torch.float64, device=test.device)
    indices = torch.zeros(len(test), k + 1, dtype=torch.int64, device=test.device)
    at_once = max(k + 1, VALUES // 1024)
    for first in range(0, len(train), at_once):
        y = train[first : first + at_once].double() - centre
        for rows in torch.split(torch.arange(len(test), device=test.device), max(1, VALUES // len(y))):
            new = _scores(test[rows].double() - centre, y)
            new, columns = new.topk(min(k + 1, len(y)), 1, largest=False)
            scores[rows], best = torch.cat([scores[rows], new], 1).topk(k + 1, 1, largest=False)
            indices[rows] = torch.cat([indices[rows], columns + first], 1).gather(1, best)
    nearest_rows, limits = indices[:, :k].contiguous(), _limits(test.double() - centre, scores[:, k - 1])
    doubtful = (scores[:, k] <= limits).nonzero().squeeze(1)
    if len(doubtful):
        different, which = torch.unique(test[doubtful], dim=0, return_inverse=True)  # equal rows share their answer
        settled = [
            _by_differences(train, rows, k, centre) for rows in torch.split(different, max(1, VALUES // len(train)))
        ]
        nearest_rows[doubtful] = torch.cat(settled)[which]
    return nearest_rows.sort(1).values


def _scores(x: Tensor, y: Tensor) -> Tensor:
    """|y|^2 - 2 x.y (M, N): squared distances less |x|^2."""
    scores: Tensor = torch.addmm(y.square().sum(1), x, y.T, alpha=-2)
    return scores


def _limits(x: Tensor, kth: Tensor) -> Tensor:
    """The scores (M,) above which no row can be among the nearest, given the k-th smallest score (M,).

    A sum of F terms errs by at most F u sum|terms| (Higham 2002, section 3.1), and |y| <= |x| + distance for a row y
    that matters; the factors leave room for centring and for the error of `kth` itself.
    """
    size = x.norm(dim=1)
    distance = (kth + size.square()).clamp_min(0).sqrt()
    limits: Tensor = kth + 4 * (x.shape[1] + 8) * ROUNDING * (2.3 * size + 1.3 * distance).square() + 1e-290
    return limits


def _by_differences(train: Tensor, test: Tensor, k: int, centre: Tensor) -> Tensor:
    """`nearest` (M, k), of the train rows whose score is within the limits by the differences themselves."""
    x = test.double() - centre
    parts = torch.split(train, max(1, VALUES // train.shape[1]))
    scores = torch.cat([_scores(x, part.double() - centre) for part in parts], 1)
    limits = _limits(x, torch.kthvalue(scores, k, 1).values)
    row, column = (scores <= limits[:, None]).nonzero(as_tuple=True)
    at_once = max(1, VALUES // train.shape[1])
    distances = torch.cat(
        [
            (test[r].double() - train[c]).square().sum(1)
            for r, c in zip(torch.split(row, at_once), torch.split(column, at_once), strict=True)
        ]
    )
    order = distances.argsort(stable=True)  # stable sorts keep the smaller index first
    order = order[row[order].argsort(stable=True)]
    first = torch.searchsorted(row, torch.arange(len(test), device=row.device))
    rank = torch.arange(k, device=row.device)
    return column[order][first[:, None] + rank]
