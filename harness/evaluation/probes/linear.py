"""Linear probe: one layer, cross-entropy, Adam, exponential decay per epoch, the last epoch's accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import PositiveFloat, PositiveInt

from harness.evaluation.accuracy import top_hits, top_metrics
from harness.evaluation.probes import Answer, ProbeEntry
from harness.spec.identity import Frozen
from harness.spec.models import NonNegative

if TYPE_CHECKING:
    from harness.evaluation.split import Split


class LinearSettings(Frozen):
    """The W-MSE paper's probe (arXiv 2007.06346, released code)."""

    epochs: PositiveInt = 500
    batch_size: PositiveInt = 1000
    lr: PositiveFloat = 1e-2
    final_lr: PositiveFloat = 1e-6
    weight_decay: NonNegative = 5e-6


def run(settings: LinearSettings, encoder: Any, train: Split, scored: Split, seed: int) -> Answer:
    """`seed` draws the initial weights and the order of images. Raises ValueError where training overflows."""
    from harness.evaluation.linear import Probe, train_probes

    features, classes = train.features(), len(train.classes)
    labels = train.labels.to(features.device)
    weights = train_probes(features, labels, classes, [Probe(seed, settings)], order_seed=seed)
    return Answer(top_hits(weights.logits(scored.features())[0], scored.labels.to(features.device)))


PROBE = ProbeEntry(
    name="linear",
    summary="one linear layer trained by Adam, as the W-MSE paper has it",
    settings=LinearSettings,
    metrics=lambda settings, classes: top_metrics("linear", classes),
    run=run,
    draws=True,
)
