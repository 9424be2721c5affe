"""SimSiam: BYOL without the momentum target; predictor and stop-gradient prevent collapse."""

from __future__ import annotations

from torch import Tensor

from methods.composed import Composed
from methods.composition import Composition, Predictor, Projector
from methods.method import MethodEntry
from methods.pair_losses import NegativeCosine, PairLoss
from methods.parts import Scope


class SimSiamSettings(Composition):
    """The CIFAR recipe of the paper's appendix D: two projector layers, 2048 wide, and a bottleneck of 512 in the
    predictor, whose learning rate does not decay. As in the authors' code (facebookresearch/simsiam, builder.py): no
    bias before a BatchNorm, a BatchNorm without scale and shift on the projector's output, none on the predictor's,
    and every view on its own through encoder, projector and predictor."""

    projector: Projector = Projector(
        hidden=(2048,), embedding_size=2048, bias=False, output_norm="plain", output_bias=False
    )
    head_scope: Scope = "per_view"
    predictor: Predictor | None = Predictor(predictor_hidden=512, predictor_bias=False, constant_lr=True)
    stop_gradient: bool = True
    pair_loss: PairLoss = NegativeCosine()


def simsiam_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """-(cos(p_i, z_j) + cos(p_j, z_i)) / 2, averaged over images and pairs of views (SimSiam, equation 4).

    Args:
        predictions: (d, N, D), the predictor's outputs.
        targets: (d, N, D), the projector's; taken as constants.
    """
    return NegativeCosine()(predictions, targets.detach())


METHOD = MethodEntry(
    name="simsiam",
    summary="SimSiam: a predictor chases its own network's output, held constant",
    source="Chen and He, arXiv 2011.10566, equation 4 and appendix D",
    settings=SimSiamSettings,
    build=Composed,
)
