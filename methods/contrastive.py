"""Contrastive learning with NT-Xent (SimCLR), as the W-MSE paper's comparison runs it."""

from __future__ import annotations

from torch import Tensor

from methods.composed import Composed
from methods.composition import BatchNormTransform, Composition, Projector, Transform
from methods.method import MethodEntry
from methods.nt_xent import nt_xent
from methods.pair_losses import NtXent, PairLoss


class ContrastiveSettings(Composition):
    """The head W-MSE has, an affine BatchNorm on v, then NT-Xent at temperature 0.5. Head and BatchNorm run once over
    all views."""

    projector: Projector = Projector(hidden=(1024,), embedding_size=64)
    transform: Transform | None = BatchNormTransform()
    pair_loss: PairLoss = NtXent(temperature=0.5)


def contrastive_loss(v: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent (SimCLR, equation 1) of embeddings (d, N, D): each of a pair's 2N rows against its 2N - 1 candidates,
    averaged over pairs of views. The BatchNorm before it is a layer with weights, and so not part of this
    function."""
    return nt_xent(v, v, temperature)


METHOD = MethodEntry(
    name="contrastive",
    summary="NT-Xent (SimCLR): the other images of the batch are negatives",
    source="Chen et al., arXiv 2002.05709, equation 1; head and BatchNorm of arXiv 2007.06346's released code",
    settings=ContrastiveSettings,
    build=Composed,
)
