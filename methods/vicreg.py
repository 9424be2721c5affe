"""VICReg: invariance by MSE; variance and covariance terms prevent collapse."""

from __future__ import annotations

from pydantic import NonNegativeFloat

from methods.composition import Composition, Mse, PairLoss, Projector, Scope, VarianceCovariance
from methods.entry import MethodEntry


class VicRegSettings(Composition):
    """The paper's 25, 25, 1 on an expander of three layers: 2048 wide for small images, where the paper has 8192 for
    ImageNet. As in the authors' code (facebookresearch/vicreg): no bias in the last layer, every view on its own."""

    projector: Projector = Projector(hidden=(2048, 2048), embedding_size=2048, output_bias=False)
    head_scope: Scope = "per_view"
    pair_loss: PairLoss = Mse()
    pair_weight: NonNegativeFloat = 25.0
    regulariser: VarianceCovariance | None = VarianceCovariance(variance_weight=25.0, covariance_weight=1.0)


METHOD = MethodEntry(
    name="vicreg",
    summary="VICReg: views agree, every dimension keeps its variance, no two are correlated",
    source="Bardes et al., arXiv 2105.04906, equations 1 to 6",
    settings=VicRegSettings,
    build="methods.composed:Composed",
)
