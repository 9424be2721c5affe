"""Ablation: NT-Xent on whitened embeddings. Does whitening alone help when negatives are there?

The W-MSE paper reports the experiment and released no code for it: this is a reconstruction.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.composed import Composed
from methods.composition import Composition, Projector, Transform, WhiteningTransform
from methods.method import MethodEntry
from methods.nt_xent import nt_xent
from methods.pair_losses import NtXent, PairLoss
from methods.whitening import Variant, slices, whiten


class WhitenedContrastiveSettings(Composition):
    """`contrastive` with W-MSE's whitening, per view and sub-batch, in place of the BatchNorm on v. Negatives come
    from the whole batch. `pair_loss.l2_normalise: false` compares by inner product."""

    projector: Projector = Projector(hidden=(1024,), embedding_size=64)
    transform: Transform | None = WhiteningTransform(sub_batch_size=128, slicing_iterations=1)
    pair_loss: PairLoss = NtXent(temperature=0.5)


def whitened_contrastive_loss(
    v: Tensor,
    sub_batch_size: int,
    slicing_iterations: int = 1,
    *,
    generator: torch.Generator,
    temperature: float = 0.5,
    l2_normalise: bool = True,
    variant: Variant = "cholesky",
    eps: float = 0.0,
) -> Tensor:
    """NT-Xent (SimCLR, equation 1) of the whitened embeddings, averaged over pairs of views and slicing iterations.

    Args:
        v: (d, N, D) embeddings; N divisible by `sub_batch_size`, which exceeds D unless `eps` is positive.
        generator: on the CPU; draws one permutation of the images per slicing iteration.

    Raises:
        WhiteningError: a sub-batch's covariance is singular (on CUDA: a NaN loss instead).
        ValueError: N cannot be cut into sub-batches.
    """
    index = slices(v.shape[1], sub_batch_size, slicing_iterations, generator)
    z = whiten(v, index, variant=variant, eps=eps)  # (I, d, N, D)
    return nt_xent(z, z, temperature, l2_normalise)


METHOD = MethodEntry(
    name="whitened_contrastive",
    summary="NT-Xent on whitened embeddings (a reconstruction: no code was released)",
    source="Ermolov et al., arXiv 2007.06346, contrastive loss with whitening; NT-Xent of arXiv 2002.05709",
    settings=WhitenedContrastiveSettings,
    build=Composed,
)
