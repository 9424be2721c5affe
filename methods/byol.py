"""BYOL: predict a momentum target's embedding of another view; asymmetry prevents collapse."""

from __future__ import annotations

from methods.composition import Composition, MomentumTarget, NormalisedMse, PairLoss, Predictor, Projector, Scope
from methods.entry import MethodEntry


class ByolSettings(Composition):
    """BYOL as the W-MSE paper's comparison runs it: its head and predictor are 1024 wide, a pair's two directions are
    summed, tau starts at 0.99, and every view has BatchNorm statistics of its own in head and predictor."""

    projector: Projector = Projector(hidden=(1024,), embedding_size=64)
    head_scope: Scope = "per_view"
    predictor: Predictor | None = Predictor(predictor_hidden=1024)
    target: MomentumTarget | None = MomentumTarget(target_momentum=0.99)
    stop_gradient: bool = True
    pair_loss: PairLoss = NormalisedMse(directions="sum")


METHOD = MethodEntry(
    name="byol",
    summary="BYOL: a predictor chases a momentum target",
    source="Grill et al., arXiv 2006.07733, equations 1 and 2; sizes and tau of arXiv 2007.06346's released code",
    settings=ByolSettings,
    build="methods.composed:Composed",
)
