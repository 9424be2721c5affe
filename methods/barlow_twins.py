"""Barlow Twins: the cross-correlation of two views is driven to the identity."""

from __future__ import annotations

from torch import Tensor

from methods.composed import Composed
from methods.composition import Composition, Projector
from methods.method import MethodEntry
from methods.pair_losses import CrossCorrelation, PairLoss, cross_correlation
from methods.parts import Scope


class BarlowTwinsSettings(Composition):
    """lambda 0.0051 on a projector of three layers: 2048 wide for small images, where the paper has 8192 for
    ImageNet. As in the authors' code (facebookresearch/barlowtwins): no biases in it, every view on its own."""

    projector: Projector = Projector(hidden=(2048, 2048), embedding_size=2048, bias=False, output_bias=False)
    head_scope: Scope = "per_view"
    pair_loss: PairLoss = CrossCorrelation(off_diagonal_weight=0.0051)


def barlow_twins_loss(v: Tensor, off_diagonal_weight: float = 0.0051) -> Tensor:
    """sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2 with C the cross-correlation of two views (Barlow Twins,
    equations 1 and 2), averaged over pairs of views of v (d, N, D)."""
    return cross_correlation(v, v, off_diagonal_weight)


METHOD = MethodEntry(
    name="barlow_twins",
    summary="Barlow Twins: the views' cross-correlation matrix is driven to the identity",
    source="Zbontar et al., arXiv 2103.03230, equations 1 and 2",
    settings=BarlowTwinsSettings,
    build=Composed,
)
