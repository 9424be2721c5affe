"""Collapse diagnostics of a set of features. Owns the formulas, in float64; never extracts features, decides when to
look or calls a run collapsed (`harness.spec.collapse`).

Every diagnostic is a finite number whatever the input. Rows that are not finite are left out and counted. Where a
formula has no value (fewer than two rows, no variation, all zero), the diagnostic takes the value of complete collapse:
std 0, correlation 1, RankMe and participation ratio 0 (no direction at all), alignment and uniformity 0; and
alpha-ReQ is 0 where there are too few eigenvalues to fit.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

SPECTRUM_KEPT = 64  # leading eigenvalues that are stored
ALPHA_RANKS = (4, 100)  # eigenvalue ranks of the power-law fit, first and last
BLOCK = 1024  # rows of a pairwise matrix held at once


@dataclass(frozen=True)
class Collapse:
    """Diagnostics of features (n, D)."""

    dimensions: int
    """D."""
    nonfinite_rows: int
    """Rows left out."""
    scale: float
    """Root mean square of the centred features: shrinks to 0 where they vanish, which no scale-free measure sees."""
    std: float
    """Mean per-dimension standard deviation of the L2-normalised features, times sqrt(D): 1 isotropic, 0 collapsed
    (SimSiam, arXiv 2011.10566)."""
    correlation: float
    """Mean |correlation| over pairs of different dimensions, among those that vary."""
    rankme: float
    """exp of the entropy of the normalised singular values of the features, not centred (arXiv 2210.02885, without its
    1e-7). Compares runs of one method only."""
    participation_ratio: float
    """(sum of covariance eigenvalues)^2 / sum of their squares."""
    alpha_req: float
    """Decay alpha of covariance eigenvalues ~ rank^-alpha (arXiv 2202.05808), fitted as its authors' code does: least
    squares in log-log over ranks 4 to 100, weighted by 1 / rank."""
    uniformity: float
    """log of the mean of exp(-2 |x - y|^2) over pairs of different images, L2-normalised (arXiv 2005.10242, t = 2)."""
    alignment: float | None
    """Mean |x - x'|^2 over images seen in two augmented views, L2-normalised (the same); None without views."""
    spectrum: tuple[float, ...]
    """Leading eigenvalues of the covariance (n - 1), descending, at most 64 of the D."""

    def values(self, prefix: str) -> dict[str, float]:
        """The numbers, named `<prefix>_std` and so on: for curves and the rule of collapse."""
        return {f"{prefix}_{k}": float(v) for k, v in asdict(self).items() if k != "spectrum" and v is not None}


@torch.no_grad()
def diagnose(features: Tensor, views: tuple[Tensor, Tensor] | None = None) -> Collapse:
    """Diagnostics of features (n, D); `views` are features (m, D) of m images in two augmented views."""
    finite = features.isfinite().all(1)
    x = features[finite].double()
    spectrum = covariance_spectrum(x)
    unit = normalize(x)
    return Collapse(
        dimensions=features.shape[1],
        nonfinite_rows=int((~finite).sum()),
        scale=centred_scale(x),
        std=normalised_std(unit),
        correlation=mean_correlation(x),
        rankme=rankme(x),
        participation_ratio=participation_ratio(spectrum),
        alpha_req=alpha_req(spectrum),
        uniformity=uniformity(unit),
        alignment=None if views is None else alignment(*views),
        spectrum=tuple(spectrum[:SPECTRUM_KEPT].tolist()),
    )


def centred_scale(x: Tensor) -> float:
    """Root mean square of x (n, D) less its mean over rows; 0 without rows."""
    return float((x - x.mean(0)).square().mean().sqrt()) if len(x) else 0.0


def normalised_std(unit: Tensor) -> float:
    """Mean over dimensions of the population std of unit rows (n, D), times sqrt(D)."""
    if len(unit) < 2:
        return 0.0
    return float(unit.std(0, correction=0).mean()) * math.sqrt(unit.shape[1])


def mean_correlation(x: Tensor) -> float:
    """Mean |correlation| over pairs of different dimensions of x (n, D) that vary; 1 if fewer than two do."""
    if len(x) < 2:
        return 1.0
    centred = x - x.mean(0)
    # A constant column's mean may be off by rounding: what is left then is no variation.
    varies = x.amax(0) > x.amin(0)
    z = normalize(centred[:, varies], dim=0)  # (n, K)
    dimensions = z.shape[1]
    if dimensions < 2:
        return 1.0
    total = 0.0
    for start in range(0, dimensions, BLOCK):
        total += float((z[:, start : start + BLOCK].T @ z).abs().sum())
    return (total - float(z.square().sum())) / (dimensions * (dimensions - 1))


def covariance_spectrum(x: Tensor) -> Tensor:
    """Eigenvalues (D,) of the covariance (n - 1) of x (n, D), descending."""
    spectrum = x.new_zeros(x.shape[1])
    if len(x) > 1 and bool((x.amax(0) > x.amin(0)).any()):
        singular = torch.linalg.svdvals(x - x.mean(0))
        spectrum[: len(singular)] = singular.square() / (len(x) - 1)
    return spectrum


def rankme(x: Tensor) -> float:
    """exp of the entropy of the normalised singular values of x (n, D); 0 where all are zero."""
    if not bool((x != 0).any()):
        return 0.0
    singular = torch.linalg.svdvals(x)
    p = singular / singular.sum()
    return float(torch.special.entr(p).sum().exp())


def participation_ratio(spectrum: Tensor) -> float:
    """(sum)^2 / sum of squares of eigenvalues (D,), descending; 0 where all are zero."""
    if len(spectrum) == 0 or spectrum[0] <= 0:
        return 0.0
    p = spectrum / spectrum[0]
    return float(p.sum().square() / p.square().sum())


def alpha_req(spectrum: Tensor) -> float:
    """Minus the weighted slope of log eigenvalue over log rank, over ranks 4 to 100 among eigenvalues (D,), descending,
    above rounding; 0 where fewer than two are."""
    first, last = ALPHA_RANKS
    floor = spectrum[:1] * torch.finfo(spectrum.dtype).eps * max(1, len(spectrum))
    y = spectrum[first - 1 : last]
    y = y[y > floor].log()
    if len(y) < 2:
        return 0.0
    rank = torch.arange(first, first + len(y), dtype=spectrum.dtype, device=spectrum.device)
    weight = rank.reciprocal() / rank.reciprocal().sum()
    t = rank.log()
    t = t - (weight * t).sum()
    return float(-(weight * t * y).sum() / (weight * t.square()).sum())


def uniformity(unit: Tensor, t: float = 2.0) -> float:
    """log mean exp(-t |x - y|^2) over pairs of different rows of unit (n, D); 0 where there is no pair."""
    rows = len(unit)
    if rows < 2:
        return 0.0
    squares = unit.square().sum(1)
    total = 0.0
    for start in range(0, rows, BLOCK):
        part = slice(start, start + BLOCK)
        distances = squares[part, None] + squares - 2 * unit[part] @ unit.T
        kernel = distances.clamp_min_(0).mul_(-t).exp_()
        total += float(kernel.sum() - kernel.diagonal(start).sum())
    return math.log(total / (rows * (rows - 1)))


def alignment(first: Tensor, second: Tensor) -> float:
    """Mean |x - x'|^2 of L2-normalised rows (m, D) of two views, where both are finite; 0 without rows."""
    both = first.isfinite().all(1) & second.isfinite().all(1)
    if not bool(both.any()):
        return 0.0
    difference = normalize(first[both].double()) - normalize(second[both].double())
    return float(difference.square().sum(1).mean())
