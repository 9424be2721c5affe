"""W-MSE: whitened embeddings of one image's views are pulled together; whitening alone prevents collapse."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.composed import Composed
from methods.composition import Composition, Projector, Transform, WhiteningTransform
from methods.method import MethodEntry
from methods.pair_losses import Mse, NormalisedMse, PairLoss
from methods.whitening import Variant, slices, whiten


class WMseSettings(Composition):
    """W-MSE's choices: whitening per view and sub-batch, no predictor, no target network, no stop-gradient. The head
    runs once over all views. `pair_loss: {kind: mse}` is the Euclidean variant."""

    projector: Projector = Projector(hidden=(1024,), embedding_size=64)
    transform: Transform | None = WhiteningTransform(sub_batch_size=128, slicing_iterations=1)
    pair_loss: PairLoss = NormalisedMse()


def w_mse_loss(
    v: Tensor,
    sub_batch_size: int,
    slicing_iterations: int = 1,
    *,
    generator: torch.Generator,
    pair_loss: NormalisedMse | Mse = NormalisedMse(),  # noqa: B008 - frozen
    variant: Variant = "cholesky",
    eps: float = 0.0,
) -> Tensor:
    """Mean over pairs of views, images and slicing iterations of the distance of whitened embeddings (W-MSE,
    section 3).

    Args:
        v: (d, N, D) embeddings; N divisible by `sub_batch_size`, which exceeds D unless `eps` is positive.
        generator: on the CPU; draws one permutation of the images per slicing iteration.
        pair_loss: `NormalisedMse()`, 2 - 2 cos, or `Mse()`, the Euclidean variant.

    Raises:
        WhiteningError: a sub-batch's covariance is singular (on CUDA: a NaN loss instead).
        ValueError: N cannot be cut into sub-batches.
    """
    index = slices(v.shape[1], sub_batch_size, slicing_iterations, generator)
    z = whiten(v, index, variant=variant, eps=eps)  # (I, d, N, D)
    return pair_loss(z, z)


METHOD = MethodEntry(
    name="w_mse",
    summary="whitening MSE: positives pulled together, the batch's covariance held at the identity",
    source="Ermolov et al., Whitening for Self-Supervised Representation Learning, arXiv 2007.06346, section 3",
    settings=WMseSettings,
    build=Composed,
)
