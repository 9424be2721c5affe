"""Linear probe: one layer, cross-entropy, Adam, exponential decay per epoch, the last epoch's accuracy."""

from __future__ import annotations

from pydantic import PositiveFloat, PositiveInt

from harness.evaluation.probes import Answer, Labelled, Metric, ProbeEntry
from harness.spec.identity import Frozen
from harness.spec.models import NonNegative

TOP5_CLASSES = 5  # with so many classes or fewer top-5 is 100 whatever the features are


class LinearSettings(Frozen):
    """The W-MSE paper's probe (arXiv 2007.06346, released code)."""

    epochs: PositiveInt = 500
    batch_size: PositiveInt = 1000
    lr: PositiveFloat = 1e-2
    final_lr: PositiveFloat = 1e-6
    weight_decay: NonNegative = 5e-6


def metrics(settings: LinearSettings, classes: int | None) -> tuple[Metric, ...]:
    top5 = (Metric("top5", "linear top-5 %"),) if classes is None or classes > TOP5_CLASSES else ()
    return (Metric("top1", "linear top-1 %"), *top5)


def run(settings: LinearSettings, train: Labelled, scored: Labelled, classes: int, seed: int) -> Answer:
    """`seed` draws the initial weights and the order of images. Raises ValueError where training overflows."""
    from harness.evaluation.linear import Probe, train_probes

    device = train.features.device
    weights = train_probes(train.features, train.labels.to(device), classes, [Probe(seed, settings)], order_seed=seed)
    logits, truth = weights.logits(scored.features)[0], scored.labels.to(device)
    hits = {"top1": logits.argmax(1) == truth}
    if classes > TOP5_CLASSES:
        hits["top5"] = (logits.topk(5, 1).indices == truth[:, None]).any(1)
    return Answer(hits)


PROBE = ProbeEntry(
    name="linear",
    summary="one linear layer trained by Adam, as the W-MSE paper has it",
    settings=LinearSettings,
    metrics=metrics,
    run=run,
    draws=True,
)
