"""W-MSE: whitened embeddings of one image's views are pulled together; whitening alone prevents collapse."""

from __future__ import annotations

from methods.composition import Composition, NormalisedMse, PairLoss, Projector, Transform, WhiteningTransform
from methods.entry import MethodEntry


class WMseSettings(Composition):
    """W-MSE's choices: whitening per view and sub-batch, no predictor, no target network, no stop-gradient. The head
    runs once over all views. `pair_loss: {kind: mse}` is the Euclidean variant."""

    projector: Projector = Projector(hidden=(1024,), embedding_size=64)
    transform: Transform | None = WhiteningTransform(sub_batch_size=128, slicing_iterations=1)
    pair_loss: PairLoss = NormalisedMse()


METHOD = MethodEntry(
    name="w_mse",
    summary="whitening MSE: positives pulled together, the batch's covariance held at the identity",
    source="Ermolov et al., Whitening for Self-Supervised Representation Learning, arXiv 2007.06346, section 3",
    settings=WMseSettings,
    build="methods.composed:Composed",
)
