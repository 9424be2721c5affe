"""Barlow Twins: the cross-correlation of two views is driven to the identity."""

from __future__ import annotations

from methods.composition import Composition, CrossCorrelation, PairLoss, Projector, Scope
from methods.entry import MethodEntry


class BarlowTwinsSettings(Composition):
    """lambda 0.0051 on a projector of three layers: 2048 wide for small images, where the paper has 8192 for
    ImageNet. As in the authors' code (facebookresearch/barlowtwins): no biases in it, every view on its own."""

    projector: Projector = Projector(hidden=(2048, 2048), embedding_size=2048, bias=False, output_bias=False)
    head_scope: Scope = "per_view"
    pair_loss: PairLoss = CrossCorrelation(off_diagonal_weight=0.0051)


METHOD = MethodEntry(
    name="barlow_twins",
    summary="Barlow Twins: the views' cross-correlation matrix is driven to the identity",
    source="Zbontar et al., arXiv 2103.03230, equations 1 and 2",
    settings=BarlowTwinsSettings,
    build="methods.composed:Composed",
)
