"""Control: W-MSE without its whitening. Nothing prevents collapse, and it must collapse."""

from __future__ import annotations

from methods.composition import Composition, NormalisedMse, PairLoss, Projector
from methods.entry import MethodEntry


class PlainMseSettings(Composition):
    """`w_mse` with the transform removed, and nothing else changed."""

    projector: Projector = Projector(hidden=(1024,), embedding_size=64)
    pair_loss: PairLoss = NormalisedMse()


METHOD = MethodEntry(
    name="plain_mse",
    summary="the W-MSE loss without whitening: must collapse",
    source="control: what W-MSE (arXiv 2007.06346) is without its constraint",
    settings=PlainMseSettings,
    build="methods.composed:Composed",
    kind="control",
)
