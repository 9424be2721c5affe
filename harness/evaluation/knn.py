"""Exact k nearest neighbours in bounded memory. Owns search and vote; never normalises features.

Neighbours are those of float64 arithmetic on the given float32 features, equal distances in favour of the smaller train
index, so the answer does not depend on blocks, threads or device. Speed comes from float32 matrix products; they are
trusted only where a worst-case bound on their rounding proves the k nearest apart from the rest. The other rows
(near-ties, duplicates, collapsed features) are compared again in float64, only against train rows within the bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from harness.evaluation.arithmetic import full_float32

TRAIN_BLOCK = 8192
TEST_BLOCK = 1024
PAIR_VALUES = 1 << 23  # float64 values held at once in exact comparisons: 64 MiB
SPARE = 8  # candidates kept beyond k: near-ties among them are settled without another product
GROUP = 16  # columns of which only the minimum enters a selection
ROUNDING = 2.0**-24  # float32's unit roundoff


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

    Exact as stated above, for finite float32 features. Memory beyond the features and one copy of the test set: some
    tens of MiB for distances, a block of train rows, and O(M k). Raises ValueError where k exceeds N.
    """
    if k > len(train):
        raise ValueError(f"k-NN with k={k} needs at least {k} training images, and there are {len(train)}: lower k")
    with full_float32():
        search = _Search(train, test, k)
        best, index = search.approximate()
        limits = search.limits(best[:, k - 1])  # above it no train row can be among the k nearest
        found = index[:, :k].clone()
        within = (best <= limits[:, None]).sum(1)
        doubtful = within > k
        listed = (doubtful & ((within < best.shape[1]) | (best.shape[1] == len(train)))).nonzero().squeeze(1)
        found[listed] = search.compare(listed, limits[listed], best, index)
        rest = (doubtful & (within == best.shape[1]) & (best.shape[1] < len(train))).nonzero().squeeze(1)
        found[rest] = search.scan(rest, limits[rest])
    return found.sort(1).values


class _Search:
    """Train rows y and test rows x, centred and scaled (neither changes an order), with the score |y|^2 - 2 x.y, which
    is the squared distance less |x|^2, as one product: [x, 1] . [-2 y, |y|^2]."""

    def __init__(self, train: Tensor, test: Tensor, k: int) -> None:
        self.train, self.test, self.k = train, test, k
        # Any centre is correct, and one near the mean loses least to cancellation: a spread sample's will do.
        self.centre = train[:: max(1, len(train) // TRAIN_BLOCK)].mean(0, dtype=torch.float64).float()
        largest = max(
            float((rows[part] - self.centre).abs().max())
            for rows in (train, test)
            for part in _slices(len(rows), TRAIN_BLOCK)
        )
        # A power of two scales without rounding; squares then neither overflow nor vanish.
        self.scale = math.ldexp(1.0, -max(-120, min(120, math.frexp(largest)[1])))
        self.left = torch.ones(len(test), test.shape[1] + 1, device=test.device)
        torch.sub(test, self.centre, out=self.left[:, :-1]).mul_(self.scale)
        self.left_norm = torch.cat(
            [self.left[part, :-1].double().norm(dim=1) for part in _slices(len(test), TRAIN_BLOCK)]
        )  # (M,)

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        """(first train row, [-2 y, |y|^2] of a block)."""
        for part in _slices(len(self.train), TRAIN_BLOCK):
            block = (self.train[part] - self.centre).mul_(self.scale)
            yield part.start, torch.cat([-2 * block, block.double().square().sum(1, keepdim=True).float()], 1)

    def approximate(self) -> tuple[Tensor, Tensor]:
        """The k + 8 smallest float32 scores (or as many as there are train rows), ascending, and their train rows."""
        keep = min(self.k + SPARE, len(self.train))
        device = self.test.device
        best = torch.full((len(self.test), keep), torch.inf, device=device)
        index = torch.zeros(len(self.test), keep, dtype=torch.int64, device=device)
        buffer = torch.empty(TEST_BLOCK * TRAIN_BLOCK, device=device)
        for start, right in self._blocks():
            for part in _slices(len(self.test), TEST_BLOCK):
                left = self.left[part]
                scores = buffer[: len(left) * len(right)].view(len(left), len(right))
                torch.mm(left, right.T, out=scores)
                values, columns = _smallest(scores, keep)
                values, pick = torch.cat([best[part], values], 1).topk(keep, 1, largest=False)
                index[part] = torch.cat([index[part], columns + start], 1).gather(1, pick)
                best[part] = values
        return best, index

    def limits(self, kth: Tensor) -> Tensor:
        """Bounds (M,) on the float32 scores of the k nearest, given the k-th smallest float32 score (M,).

        A dot product of K terms errs by at most K u sum|terms| (Higham 2002, section 3.1), |y| <= |x| + distance for a
        row y that matters, and rounding in centring adds a few u; the factors leave room for the error of `kth` itself.
        The k-th smallest true score exceeds `kth` by at most that, and a float32 score the true one by that once more.
        """
        distance = (kth.double() + self.left_norm.square()).clamp_min(0).sqrt()
        terms = self.left.shape[1] + 8
        error = terms * ROUNDING * (2.3 * self.left_norm + 1.3 * distance).square() + 1e-30
        above = torch.full_like(kth, torch.inf)
        return (kth.double() + 2 * error).float().nextafter(above)

    def compare(self, rows: Tensor, limits: Tensor, best: Tensor, index: Tensor) -> Tensor:
        """The k nearest (U, k) of test `rows` (U,) in float64, among their listed train rows within `limits` (U,)."""
        found = _Pairs(self.k, rows.device)
        columns, order = index[rows].sort(1)
        inside = (best[rows] <= limits[:, None]).gather(1, order)
        for pairs in torch.split(inside.nonzero(), self._pairs_at_once()):
            row = pairs[:, 0]
            self._add(found, rows, row, columns[row, pairs[:, 1]])
        return found.index.view(len(rows), self.k)

    def scan(self, rows: Tensor, limits: Tensor) -> Tensor:
        """The k nearest (U, k) of test `rows` (U,) in float64, among all train rows within `limits` (U,)."""
        unique, inverse = torch.unique(self.test[rows], dim=0, return_inverse=True)
        # Equal rows share their answer; any one of them stands for all.
        chosen = torch.empty(len(unique), dtype=torch.int64, device=rows.device)
        chosen.scatter_(0, inverse, torch.arange(len(rows), device=rows.device))
        answers = [self._scan_block(rows[part], limits[part]) for part in torch.split(chosen, TEST_BLOCK)]
        return torch.cat(answers)[inverse]

    def _scan_block(self, rows: Tensor, limits: Tensor) -> Tensor:
        found = _Pairs(self.k, rows.device)
        for start, right in self._blocks():
            inside = self.left[rows] @ right.T <= limits[:, None]
            for pairs in torch.split(inside.nonzero(), self._pairs_at_once()):
                self._add(found, rows, pairs[:, 0], pairs[:, 1] + start)
        return found.index.view(len(rows), self.k)

    def _pairs_at_once(self) -> int:
        return max(1, PAIR_VALUES // self.test.shape[1])

    def _add(self, found: _Pairs, rows: Tensor, row: Tensor, column: Tensor) -> None:
        difference = self.test[rows[row]].double().sub_(self.train[column])
        found.add(row, column, difference.square_().sum(1))


def _slices(rows: int, step: int) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, rows, step))


class _Pairs:
    """The k best (row, train index) pairs of each row so far, by (distance, index)."""

    def __init__(self, k: int, device: torch.device) -> None:
        self.k = k
        self.row = torch.empty(0, dtype=torch.int64, device=device)
        self.index = torch.empty(0, dtype=torch.int64, device=device)
        self.distance = torch.empty(0, dtype=torch.float64, device=device)

    def add(self, row: Tensor, index: Tensor, distance: Tensor) -> None:
        """Merge in pairs, whose indices come later than any before of the same row and ascend within it."""
        row, index = torch.cat([self.row, row]), torch.cat([self.index, index])
        distance = torch.cat([self.distance, distance])
        order = distance.argsort(stable=True)  # stable sorts keep the smaller index first
        order = order[row[order].argsort(stable=True)]
        row = row[order]
        rank = torch.arange(len(row), device=row.device) - torch.searchsorted(row, row)
        kept = rank < self.k
        self.row, self.index, self.distance = row[kept], index[order][kept], distance[order][kept]


def _smallest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` smallest of each row of scores (T, n) and their columns, in no order. With many columns, select among
    minima of groups first: the smallest scores lie in the groups with the smallest minima."""
    rows, columns = scores.shape
    groups = columns // GROUP
    if columns % GROUP or groups < 4 * count:
        values, index = scores.topk(min(count, columns), 1, largest=False, sorted=False)
        return values, index
    minima = scores.view(rows, GROUP, groups).amin(1)  # group g holds columns g, g + groups, ...
    chosen = minima.topk(count, 1, largest=False, sorted=False).indices  # (T, count)
    members = torch.arange(0, columns, groups, device=scores.device)
    candidates = (chosen[:, :, None] + members).view(rows, -1)  # (T, count * GROUP)
    values, pick = scores.gather(1, candidates).topk(count, 1, largest=False, sorted=False)
    return values, candidates.gather(1, pick)
