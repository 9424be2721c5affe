"""SimSiam: BYOL without the momentum target; predictor and stop-gradient prevent collapse."""

from __future__ import annotations

from methods.composition import Composition, NegativeCosine, PairLoss, Predictor, Projector, Scope
from methods.entry import MethodEntry


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


METHOD = MethodEntry(
    name="simsiam",
    summary="SimSiam: a predictor chases its own network's output, held constant",
    source="Chen and He, arXiv 2011.10566, equation 4 and appendix D",
    settings=SimSiamSettings,
    build="methods.composed:Composed",
)
