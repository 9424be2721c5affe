"""Ablation: NT-Xent on whitened embeddings. Does whitening alone help when negatives are there?

The W-MSE paper reports the experiment and released no code for it: this is a reconstruction.
"""

from __future__ import annotations

from methods.composition import Composition, NtXent, PairLoss, Projector, Transform, WhiteningTransform
from methods.entry import MethodEntry


class WhitenedContrastiveSettings(Composition):
    """`contrastive` with W-MSE's whitening, per view and sub-batch, in place of the BatchNorm on v. Negatives come
    from the whole batch. `pair_loss.l2_normalise: false` compares by inner product."""

    projector: Projector = Projector(hidden=(1024,), embedding_size=64)
    transform: Transform | None = WhiteningTransform(sub_batch_size=128, slicing_iterations=1)
    pair_loss: PairLoss = NtXent(temperature=0.5)


METHOD = MethodEntry(
    name="whitened_contrastive",
    summary="NT-Xent on whitened embeddings (a reconstruction: no code was released)",
    source="Ermolov et al., arXiv 2007.06346, contrastive loss with whitening; NT-Xent of arXiv 2002.05709",
    settings=WhitenedContrastiveSettings,
    build="methods.composed:Composed",
)
