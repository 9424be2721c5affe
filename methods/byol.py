"""BYOL: predict a momentum target's embedding of another view; asymmetry prevents collapse."""

from __future__ import annotations

from torch import Tensor

from methods.composed import Composed
from methods.composition import Composition, MomentumTarget, Predictor, Projector
from methods.method import MethodEntry
from methods.pair_losses import NormalisedMse, PairLoss
from methods.parts import Scope


class ByolSettings(Composition):
    """BYOL as the W-MSE paper's comparison runs it: its head and predictor are 1024 wide, a pair's two directions are
    summed, tau starts at 0.99, and every view has BatchNorm statistics of its own in head and predictor."""

    projector: Projector = Projector(hidden=(1024,), embedding_size=64)
    head_scope: Scope = "per_view"
    predictor: Predictor | None = Predictor(predictor_hidden=1024)
    target: MomentumTarget | None = MomentumTarget(target_momentum=0.99)
    stop_gradient: bool = True
    pair_loss: PairLoss = NormalisedMse(directions="sum")


def byol_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """(2 - 2 cos(p_i, t_j)) + (2 - 2 cos(p_j, t_i)), averaged over images and pairs of views (BYOL, equation 2).

    Args:
        predictions: (d, N, D) of the online network.
        targets: (d, N, D) of the momentum network; taken as constants.
    """
    return NormalisedMse(directions="sum")(predictions, targets.detach())


METHOD = MethodEntry(
    name="byol",
    summary="BYOL: a predictor chases a momentum target",
    source="Grill et al., arXiv 2006.07733, equations 1 and 2; sizes and tau of arXiv 2007.06346's released code",
    settings=ByolSettings,
    build=Composed,
)
