"""Contrastive learning with NT-Xent (SimCLR), as the W-MSE paper's comparison runs it."""

from __future__ import annotations

from methods.composition import BatchNormTransform, Composition, NtXent, PairLoss, Projector, Transform
from methods.entry import MethodEntry


class ContrastiveSettings(Composition):
    """The head W-MSE has, an affine BatchNorm on v, then NT-Xent at temperature 0.5. Head and BatchNorm run once over
    all views."""

    projector: Projector = Projector(hidden=(1024,), embedding_size=64)
    transform: Transform | None = BatchNormTransform()
    pair_loss: PairLoss = NtXent(temperature=0.5)


METHOD = MethodEntry(
    name="contrastive",
    summary="NT-Xent (SimCLR): the other images of the batch are negatives",
    source="Chen et al., arXiv 2002.05709, equation 1; head and BatchNorm of arXiv 2007.06346's released code",
    settings=ContrastiveSettings,
    build="methods.composed:Composed",
)
