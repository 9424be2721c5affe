"""Control: W-MSE without its whitening. Nothing prevents collapse, and it must collapse."""

from __future__ import annotations

from torch import Tensor

from methods.composed import Composed
from methods.composition import Composition, Projector
from methods.method import MethodEntry
from methods.pair_losses import Mse, NormalisedMse, PairLoss


class PlainMseSettings(Composition):
    """`w_mse` with the transform removed, and nothing else changed."""

    projector: Projector = Projector(hidden=(1024,), embedding_size=64)
    pair_loss: PairLoss = NormalisedMse()


def plain_mse_loss(v: Tensor, pair_loss: NormalisedMse | Mse = NormalisedMse()) -> Tensor:  # noqa: B008 - frozen
    """2 - 2 cos(v_i, v_j), or with `Mse()` the plain MSE, averaged over images and pairs of views of v (d, N, D)."""
    return pair_loss(v, v)


METHOD = MethodEntry(
    name="plain_mse",
    summary="the W-MSE loss without whitening: must collapse",
    source="control: what W-MSE (arXiv 2007.06346) is without its constraint",
    settings=PlainMseSettings,
    build=Composed,
    kind="control",
)
