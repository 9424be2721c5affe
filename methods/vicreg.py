"""VICReg: invariance by MSE; variance and covariance terms prevent collapse."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat
from torch import Tensor

from methods.composed import Composed
from methods.composition import Composition, Projector
from methods.method import MethodEntry
from methods.pair_losses import Mse, PairLoss
from methods.parts import Scope
from methods.regularisers import VarianceCovariance


class VicRegSettings(Composition):
    """The paper's 25, 25, 1 on an expander of three layers: 2048 wide for small images, where the paper has 8192 for
    ImageNet. As in the authors' code (facebookresearch/vicreg): no bias in the last layer, every view on its own."""

    projector: Projector = Projector(hidden=(2048, 2048), embedding_size=2048, output_bias=False)
    head_scope: Scope = "per_view"
    pair_loss: PairLoss = Mse()
    pair_weight: NonNegativeFloat = 25.0
    regulariser: VarianceCovariance | None = VarianceCovariance(variance_weight=25.0, covariance_weight=1.0)


def vicreg_loss(
    v: Tensor,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    variance_views: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """invariance MSE(z, z') + variance [v(Z) + v(Z')] + covariance [c(Z) + c(Z')] (VICReg, equation 6), averaged over
    pairs.

    Args:
        v: (d, N, D) embeddings.
        variance_views: the variance term as the sum over a pair's views (paper) or their mean (the authors' code).
    """
    regulariser = VarianceCovariance(
        variance_weight=variance_weight, covariance_weight=covariance_weight, variance_views=variance_views
    )
    return invariance_weight * Mse()(v, v) + regulariser(v)


METHOD = MethodEntry(
    name="vicreg",
    summary="VICReg: views agree, every dimension keeps its variance, no two are correlated",
    source="Bardes et al., arXiv 2105.04906, equations 1 to 6",
    settings=VicRegSettings,
    build=Composed,
)
