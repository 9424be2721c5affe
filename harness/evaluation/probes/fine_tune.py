"""Fine-tuning: the encoder and a linear layer on it, trained by SGD on random crops and flips. The encoder that is
evaluated stays as it is: a copy is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import PositiveFloat, PositiveInt

from harness.evaluation.accuracy import top_hits, top_metrics
from harness.evaluation.probes import Answer, ProbeEntry
from harness.evaluation.probes.sgd import SgdSettings
from harness.spec.models import NonNegative

if TYPE_CHECKING:
    from harness.evaluation.split import PrivateEncoder, Split


class FineTuneSettings(SgdSettings):
    """VICReg's on 1 % of ImageNet's labels (arXiv 2105.04906, its released code); with 10 % it has `lr: 0.1` and
    `encoder_lr: 0.01`."""

    epochs: PositiveInt = 20
    lr: PositiveFloat = 0.08
    """Of the layer, at the first step; along half a cosine to 0."""
    encoder_lr: PositiveFloat = 0.03
    """Of the encoder, likewise."""
    weight_decay: NonNegative = 0.0


def run(
    settings: FineTuneSettings, encoder: Callable[[], PrivateEncoder], train: Split, scored: Split, seed: int
) -> Answer:
    """`seed` draws what it does for `sgd`, and dropout. Raises ValueError where it diverges."""
    from harness.evaluation.sgd import predict, train_on_views

    own = encoder()
    logits = predict(own, train_on_views(settings, own, train, seed, settings.encoder_lr), scored)
    return Answer(top_hits(logits, scored.labels.to(logits.device)))


PROBE = ProbeEntry(
    name="fine_tune",
    summary="encoder and linear layer, trained by SGD on random crops and flips",
    settings=FineTuneSettings,
    metrics=lambda settings, classes: top_metrics("fine-tuned", classes),
    run=run,
    draws=True,
    augments=True,
)
